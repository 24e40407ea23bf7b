package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// proc is a running process of the daemon.
type proc struct {
	pid   int
	title string // argv[0], "smtpd: queue"; that of the parent is its path
}

// role gives the name after "smtpd: ", "parent" for the parent.
func (p proc) role() string {
	if role, ok := strings.CutPrefix(p.title, "smtpd: "); ok && role != "[priv]" {
		return role
	}
	return "parent"
}

// running gives all processes of our daemon. One that is ending has lost its executable
// before its sockets; it counts until nothing is left of it.
func running() []proc {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var list []proc
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		exe, err := os.Readlink(dir + "/exe")
		if err != nil {
			if name, err := os.ReadFile(dir + "/comm"); err == nil && string(name) == "smtpd\n" {
				list = append(list, proc{pid, "smtpd: ending"})
			}
			continue
		}
		line, err := os.ReadFile(dir + "/cmdline")
		if exe == program("smtpd") && err == nil {
			title, _, _ := strings.Cut(string(line), "\x00")
			list = append(list, proc{pid, title})
		}
	}
	return list
}

func roleNames(list []proc) []string {
	names := make([]string, len(list))
	for i, p := range list {
		names[i] = p.role()
	}
	slices.Sort(names)
	return names
}

// find gives the process of a role.
func find(role string) (proc, bool) {
	for _, p := range running() {
		if p.role() == role {
			return p, true
		}
	}
	return proc{}, false
}

// kill is kill -9.
func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// status gives the fields of /proc/PID/status.
func (p proc) status(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(p.path("status"))
	if err != nil {
		t.Fatal(err)
	}
	fields := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.Join(strings.Fields(value), " ")
	}
	return fields
}

func (p proc) path(name string) string { return filepath.Join("/proc", strconv.Itoa(p.pid), name) }

func (p proc) link(t *testing.T, name string) string {
	t.Helper()
	target, err := os.Readlink(p.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// environ gives the variables that a process started with.
func (p proc) environ(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(p.path("environ"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == 0 })
}

// files gives what the descriptors of a process are: paths, "socket:[tcp]" for sockets with
// a local TCP address, "socket:[udp]", "socket:[unix]" and "socket:[netlink]".
func (p proc) files(t *testing.T) map[int]string {
	t.Helper()
	entries, err := os.ReadDir(p.path("fd"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := sockets(t)
	files := make(map[int]string)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(p.path("fd"), e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			target = "socket:[" + kinds[strings.TrimSuffix(inode, "]")] + "]"
		}
		if strings.HasPrefix(target, "pipe:[") {
			target = "pipe"
		}
		files[n] = target
	}
	return files
}

// sockets gives the kind of each socket by its inode.
func sockets(t *testing.T) map[string]string {
	t.Helper()
	kinds := make(map[string]string)
	for name, column := range map[string]int{"tcp": 9, "tcp6": 9, "udp": 9, "udp6": 9, "unix": 6, "netlink": 9} {
		text, err := os.ReadFile("/proc/net/" + name)
		if err != nil {
			continue // no such protocol here
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > column {
				kinds[f[column]] = strings.TrimSuffix(name, "6")
			}
		}
	}
	return kinds
}
