package daemon

// Role names a process of the daemon. The parent starts all the others.
type Role string

// The roles, by the names that ps(1) shows after "smtpd: ".
const (
	Parent     Role = "[priv]"
	Control    Role = "control"
	Crypto     Role = "crypto"
	Lookup     Role = "lookup"
	Dispatcher Role = "dispatcher"
	Queue      Role = "queue"
	Agent      Role = "agent"
	Hasher     Role = "auth"
)

const titlePrefix = "smtpd: "

// Title gives the name under which a process of this role runs.
func (r Role) Title() string { return titlePrefix + string(r) }

// RoleOf gives the role that the title in argv[0] names, if it names one that the parent
// starts.
func RoleOf(argv0 string) (Role, bool) {
	for _, r := range append(members(), Agent, Hasher) {
		if argv0 == r.Title() {
			return r, true
		}
	}
	return "", false
}

// members are the roles that always run, in the order in which they are started.
func members() []Role { return []Role{Control, Crypto, Lookup, Dispatcher, Queue} }

// pairs are the roles that talk to each other without the parent.
func pairs() [][2]Role {
	return [][2]Role{
		{Control, Crypto}, {Control, Lookup}, {Control, Dispatcher}, {Control, Queue},
		{Dispatcher, Crypto}, {Dispatcher, Lookup}, {Dispatcher, Queue}, {Lookup, Queue},
	}
}

// queueUser reports whether the role runs as the owner of the queue.
func (r Role) queueUser() bool { return r == Queue }

// rootOf gives the directory in which a role is shut in; "" is the whole file system.
func (r Role) rootOf(empty, spool string) string {
	switch r {
	case Control, Crypto, Dispatcher, Hasher:
		return empty
	case Queue:
		return spool
	}
	return ""
}
