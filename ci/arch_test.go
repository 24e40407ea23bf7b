package ci

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers are the top folders that hold code, from the lowest. A package imports from its
// own layer and from those below.
var layers = []string{"platform", "compat", "core", "cmd"}

// protocolPackages can be used and tested without a process; processPackages are what they
// must not know.
var (
	protocolPackages = []string{"core/smtp", "core/filter", "core/dns", "core/mda", "core/mta", "core/bounce", "core/proxy"}
	processPackages  = []string{"core/ipc", "core/daemon", "core/control", "core/config"}
)

// valuePackages know nothing but each other.
var valuePackages = []string{"core/address", "core/message", "core/envelope"}

// execPackages may start programs.
var execPackages = []string{
	"compat/auth",    // login_* of bsd_auth and the PAM helper
	"compat/child",   // prepares commands for others
	"compat/reexec",  // our own processes
	"compat/service", // the service manager's tools
	"compat/user",    // getent(1), id(1)
	"core/daemon",    // filters, tables
	"core/filter",    // filters
	"core/mda",       // users' commands
	"core/table",     // tables
}

// exitCalls end the process.
var exitCalls = []string{"os.Exit", "log.Fatal", "log.Fatalf", "log.Fatalln", "log.Panic", "log.Panicf",
	"log.Panicln", "syscall.Exit", "runtime.Goexit"}

// ours gives the folder of an imported package of this module.
func ours(imported string) (dir string, ok bool) { return strings.CutPrefix(imported, modulePath+"/") }

// within says whether a folder is one of the list or lies in one.
func within(dir string, list []string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return dir == l || strings.HasPrefix(dir, l+"/") })
}

func layer(dir string) int {
	top, _, _ := strings.Cut(dir, "/")
	return slices.Index(layers, top)
}

// TestSystems: what differs between systems has one home.
func TestSystems(t *testing.T) {
	for _, s := range sources(t) {
		if within(s.dir, []string{"compat", "platform"}) {
			continue
		}
		if s.tag != "" {
			t.Errorf("%s: build constraint %q belongs in compat", s.path, s.tag)
		}
		if systemName(s.path) {
			t.Errorf("%s: a file for one system belongs in compat", s.path)
		}
		for _, use := range []string{"runtime.GOOS", "runtime.GOARCH"} {
			if s.uses[use] {
				t.Errorf("%s: %s belongs in compat", s.path, use)
			}
		}
		for _, i := range s.imports {
			if i == "syscall" || i == "log/syslog" || i == "os/user" || strings.HasPrefix(i, "golang.org/x/sys") {
				t.Errorf("%s: import of %s belongs in compat", s.path, i)
			}
		}
	}
}

// TestLayers: imports run one way.
func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		from := layer(s.dir)
		for _, i := range s.imports {
			dir, ok := ours(i)
			if !ok || from < 0 {
				continue // ci may look at everything
			}
			if to := layer(dir); to < 0 || to > from {
				t.Errorf("%s: %s may not import %s", s.path, layers[from], dir)
			}
			if strings.HasPrefix(dir, "cmd/") {
				t.Errorf("%s: imports the program %s", s.path, dir)
			}
		}
	}
}

// TestProtocols: what speaks a protocol knows no process.
func TestProtocols(t *testing.T) {
	for _, s := range sources(t) {
		for _, i := range s.imports {
			dir, ok := ours(i)
			if !ok {
				continue
			}
			if within(s.dir, protocolPackages) && within(dir, processPackages) {
				t.Errorf("%s: a protocol package may not import %s", s.path, dir)
			}
			if within(s.dir, valuePackages) && !within(dir, valuePackages) {
				t.Errorf("%s: a value package may not import %s", s.path, dir)
			}
			if within(dir, []string{"compat/service"}) && s.dir != "cmd/smtpd-service" {
				t.Errorf("%s: only smtpd-service may import %s", s.path, dir)
			}
		}
		if slices.Contains(s.imports, "github.com/kardianos/service") && s.dir != "compat/service" {
			t.Errorf("%s: only compat/service may import github.com/kardianos/service", s.path)
		}
	}
}

// TestCalls: only programs end a process, and only the listed packages start one. The helper for PAM is
// a program with a build tag.
func TestCalls(t *testing.T) {
	for _, s := range sources(t) {
		if s.hasInit {
			t.Errorf("%s: init", s.path)
		}
		if s.test || layer(s.dir) < 0 {
			continue
		}
		if slices.Contains(s.imports, "os/exec") && !within(s.dir, execPackages) {
			t.Errorf("%s: starts programs", s.path)
		}
		for _, call := range exitCalls {
			if s.uses[call] && !within(s.dir, []string{"cmd", "compat/auth/pam"}) {
				t.Errorf("%s: %s", s.path, call)
			}
		}
	}
}

// TestPackageComments: every package says what it is.
func TestPackageComments(t *testing.T) {
	documented := make(map[string]bool)
	for _, s := range sources(t) {
		if !s.test {
			documented[s.dir] = documented[s.dir] || s.doc
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment", dir)
		}
	}
}

// TestTopFolders: nothing grows at the top of the tree.
func TestTopFolders(t *testing.T) {
	want := []string{"cmd", "core", "compat", "platform", "packaging", "ci", "bin", "dist", "run"} // the last three are ignored by git
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(want, e.Name()) {
			t.Errorf("folder %s", filepath.Join(root, e.Name()))
		}
	}
}

func TestSystemName(t *testing.T) {
	for name, want := range map[string]bool{"a_linux.go": true, "a_linux_test.go": true, "linux.go": false,
		"a_arm64.go": true, "a_freebsd_amd64.go": true, "a_other.go": false, "a_linux_x.go": false,
		"a_test.go": false} {
		if got := systemName("core/x/" + name); got != want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
