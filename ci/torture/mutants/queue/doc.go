// Package queue breaks the durability of core/queue on purpose, in one place at a time, and runs the
// power-cut simulation of that package against each result: it has to fail. A simulation that lets one
// of these pass would not have found the mistake either.
package queue
