// Package program speaks with a program that keeps the queue or schedules it, in the way
// of smtpd-backends(7). It knows the lines and the life of such a program, and nothing of
// what is asked of it: core/queue and core/scheduler do.
//
// A program that dies, hangs or talks nonsense is ended and started again, later and later
// while that does not help. Whoever waits for an answer then gets an error at once, and it
// is not known whether the program did what it was asked.
package program
