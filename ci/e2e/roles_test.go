package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// localConf delivers to the maildirs of the users.
const localConf = `
listen on 127.0.0.1
action "local" maildir
match from any for local action "local"
match from any for domain "godwit.test" action "local"
`

// place of each role: user, root and what may be open, beside 0 to 2 and what the run time
// needs. Sockets are counted: one to the parent, one to each peer.
type surroundings struct {
	uid, groups string
	root, cwd   string
	unix, tcp   int
	files       []string // patterns of paths, below the root of the role
}

const emptyRoot = "/var/lib/smtpd/empty"

// expected is the table of processes in DESIGN.md. The daemon has one listener.
func expected(d *daemon) map[string]surroundings {
	return map[string]surroundings{
		// A socket to each of the five members and to the agent, and the control socket.
		"parent":     {uid: "0", root: "/", cwd: "/", unix: 7, tcp: 1},
		"control":    {uid: "7001", groups: "7001", root: emptyRoot, cwd: emptyRoot, unix: 6},
		"crypto":     {uid: "7001", groups: "7001", root: emptyRoot, cwd: emptyRoot, unix: 3},
		"lookup":     {uid: "7001", groups: "7001", root: "/", cwd: "/", unix: 4},
		"dispatcher": {uid: "7001", groups: "7001", root: emptyRoot, cwd: emptyRoot, unix: 5, tcp: 1},
		"queue": {uid: "7002", groups: "7002", root: d.spool, cwd: d.spool, unix: 5,
			files: []string{d.spool, d.spool + "/lock", d.spool + "/journal", d.spool + "/journal/*"}},
		// The agent stands in the home of the user. It is not shut in there, because
		// users' commands are of the system.
		"agent": {uid: "7011", groups: "7011 7100", root: "/", cwd: home("alice"), unix: 2},
	}
}

// TestRoles reads in /proc what each process may do and has.
func TestRoles(t *testing.T) {
	d := start(t, localConf)
	submit(t, "bob@godwit.test", "alice@godwit.test", "Subject: roles\n\nHello.\n")
	eventually(t, startWait, "an agent", func() bool { _, ok := find("agent"); return ok })
	newMaildir("alice").wait(t, 1, startWait)

	want := expected(d)
	names := roleNames(running())
	if len(names) != len(want) {
		t.Errorf("processes %v", names)
	}
	for _, p := range running() {
		w, ok := want[p.role()]
		if !ok {
			t.Errorf("unknown process %s", p.title)
			continue
		}
		t.Run(p.role(), func(t *testing.T) {
			checkIdentity(t, p, w)
			checkFiles(t, p, w, d)
			checkEnvironment(t, p)
		})
	}
}

func checkIdentity(t *testing.T, p proc, w surroundings) {
	t.Helper()
	st := p.status(t)
	ids := fmt.Sprintf("%[1]s %[1]s %[1]s %[1]s", w.uid) // real, effective, saved, file system
	if st["Uid"] != ids || st["Gid"] != ids {
		t.Errorf("Uid %s, Gid %s, want %s", st["Uid"], st["Gid"], ids)
	}
	if p.role() != "parent" {
		if st["Groups"] != w.groups {
			t.Errorf("Groups %q, want %q", st["Groups"], w.groups)
		}
		if st["NoNewPrivs"] != "1" {
			t.Errorf("NoNewPrivs %s", st["NoNewPrivs"])
		}
		for _, set := range []string{"CapEff", "CapPrm", "CapInh", "CapAmb"} {
			if strings.Trim(st[set], "0") != "" {
				t.Errorf("%s %s", set, st[set])
			}
		}
	}
	if root := p.link(t, "root"); root != w.root {
		t.Errorf("root %s, want %s", root, w.root)
	}
	if cwd := p.link(t, "cwd"); cwd != w.cwd {
		t.Errorf("working directory %s, want %s", cwd, w.cwd)
	}
}

func checkFiles(t *testing.T, p proc, w surroundings, d *daemon) {
	t.Helper()
	count := make(map[string]int)
	files := p.files(t)
	for n, target := range files {
		switch {
		case n <= 1 && target == "/dev/null", n == 2 && target == d.log:
		case n > 2 && slices.Contains([]string{"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}, target):
		case n > 2 && p.role() == "parent" && target == "socket:[netlink]": // tells of interfaces and addresses
		case n > 2 && strings.HasPrefix(target, "socket:["):
			count[target]++
		case n > 2 && p.role() == "parent" && target == "anon_inode:[pidfd]": // to wait for its children
		case n > 2 && p.role() == "parent" && strings.HasPrefix(target, "/sys/fs/cgroup/"): // how many processors Go may use
		case n > 2 && slices.ContainsFunc(w.files, func(pattern string) bool {
			ok, _ := filepath.Match(pattern, target)
			return ok
		}):
		default:
			t.Errorf("descriptor %d is %s", n, target)
		}
	}
	if count["socket:[unix]"] != w.unix || count["socket:[tcp]"] != w.tcp || len(count) > 2 {
		t.Errorf("sockets %v, want %d unix, %d tcp: %v", count, w.unix, w.tcp, files)
	}
}

func checkEnvironment(t *testing.T, p proc) {
	t.Helper()
	if p.role() == "parent" {
		return // what it was started with
	}
	for _, v := range p.environ(t) {
		name, _, _ := strings.Cut(v, "=")
		if !slices.Contains([]string{"PATH", "TZ", "GODEBUG", "GOMAXPROCS"}, name) {
			t.Errorf("environment has %s", v)
		}
	}
}

// TestParentKilled: nobody stays when the parent is gone.
func TestParentKilled(t *testing.T) {
	d := start(t, localConf)
	submit(t, "bob@godwit.test", "alice@godwit.test", "Subject: orphan\n\nHello.\n")
	newMaildir("alice").wait(t, 1, startWait)
	if _, ok := find("agent"); !ok {
		t.Error("no agent to be killed")
	}
	c := dial(t, listen) // somebody is talking
	c.ask("250", "EHLO client.test")
	kill(d.cmd.Process.Pid)
	if !within(2*time.Second, func() bool { return len(running()) == 0 }) {
		t.Errorf("2 s after the end of the parent: %v", roleNames(running()))
	}
}
