// Package daemon is the wiring: which processes there are, how they are started, watched
// and stopped, and what they say to each other. What is said about mail lives in the
// packages that it calls.
//
// The parent re-executes its own program once for each role and talks to each over
// descriptor 3. It sends a hello, sockets to the peers, the listeners and the part of the
// configuration that the role needs; the role drops its privileges before it reads
// anything else. Tests run the same roles as goroutines over the same sockets.
package daemon
