// Package platform holds the facts of each operating system as data: where files lie,
// who owns them, which locks the local programs take. It does nothing.
//
// A distribution that puts things elsewhere sets the variables in override.go when it
// builds, and changes no source.
package platform

import "runtime"

// Lock is a way of locking a mailbox.
type Lock string

// The ways of locking that local programs use.
const (
	Dotlock Lock = "dotlock" // a file NAME.lock beside it
	Flock   Lock = "flock"   // flock(2), which on the BSDs excludes fcntl locks too
	Fcntl   Lock = "fcntl"   // fcntl(2) F_SETLK, or F_OFD_SETLK where it exists
)

// Users are the accounts of the daemon.
type Users struct {
	Daemon     string // owns nothing and meets strangers
	Queue      string // owns the queue
	QueueGroup string // group of smtpctl, which may speak to the control socket
}

// Facts are what differs between systems. Paths are absolute.
type Facts struct {
	ConfigFile    string
	Users         Users
	Aliases       string
	Spool         string // the queue
	ControlSocket string
	PidFile       string
	Empty         string   // root directory of processes that need no file; empty, root's
	Libexec       string   // filters and tables that are named without a path
	Helpers       []string // where packages made for OpenSMTPD put theirs, looked at after Libexec
	MailboxDir    string   // mbox files, by user name
	MailboxMode   uint32   // permissions of a new mbox
	MailboxLocks  []Lock   // in the order in which they are taken
	SendmailPath  string   // where programs expect sendmail(8)
	SyslogSockets []string
	CAFiles       []string // the first that exists holds the trusted authorities
	MailnameFile  string   // its first line is the server's name
	Service       string   // the daemon's name to the service manager
	CryptMethod   string   // sign of the best hash that crypt(3) and core/password both know
	Passwords     Passwords
}

// Current gives the facts of the system that this program was built for.
func Current() Facts {
	f, ok := For(runtime.GOOS)
	if !ok {
		f = linux() // the most common places, for systems that nobody has described
	}
	return override(f)
}

// For gives the facts of a system by the name that Go has for it.
func For(goos string) (Facts, bool) {
	switch goos {
	case "linux":
		return linux(), true
	case "openbsd":
		return openbsd(), true
	case "freebsd":
		return freebsd(), true
	case "dragonfly":
		return dragonfly(), true
	case "netbsd":
		return netbsd(), true
	case "darwin":
		return darwin(), true
	}
	return Facts{}, false
}
