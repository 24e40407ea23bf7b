// Package sandbox takes away from a process what its role never needs. Each system has
// its own means: pledge(2) and unveil(2) on OpenBSD, Landlock on Linux, Capsicum on
// FreeBSD for the role that it fits. It comes on top of the user and the root directory
// that compat/privdrop gives, and makes up for neither.
package sandbox

import "fmt"

// Profile is what a role needs.
type Profile uint8

// The profiles. Files that are open already stay open in each of them.
const (
	// Dispatcher talks to the network over sockets that it makes or is given. No files.
	Dispatcher Profile = iota
	// Lookup reads any file that its user may read, runs getent(1), and asks name
	// servers.
	Lookup
	// Queue reads and writes below its paths and nowhere else.
	Queue
	// Control accepts connections on sockets that it is given. No files.
	Control
	// Crypto talks to its parent only. No files, no network.
	Crypto
	// Agent delivers mail of one user: it may do what this user may do.
	Agent
)

// Report says what holds now, for one line of the log.
type Report struct {
	Active bool   // something holds
	Text   string // "landlock (ABI 7)", "no sandbox on this system"
}

func (r Report) String() string { return r.Text }

func (p Profile) String() string {
	names := [...]string{"dispatcher", "lookup", "queue", "control", "crypto", "agent"}
	if int(p) < len(names) {
		return names[p]
	}
	return fmt.Sprintf("profile %d", uint8(p))
}

// Enter confines the process for the rest of its life. It is called once, after
// privdrop.Drop and before the first byte from outside is read. paths are the
// directories for Queue, as the process sees them after a chroot; without any it is all
// of its root directory. Other profiles ignore them.
//
// A kernel that cannot do it is no error: the report says so. An error means that it
// should have worked, and the process should end.
func Enter(p Profile, paths ...string) (Report, error) {
	if p > Agent {
		return Report{}, fmt.Errorf("sandbox: unknown %v", p)
	}
	if p == Queue && len(paths) == 0 {
		paths = []string{"/"}
	}
	r, err := enter(p, paths)
	if err != nil {
		return r, fmt.Errorf("sandbox: %v: %w", p, err)
	}
	return r, nil
}
