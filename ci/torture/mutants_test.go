package torture

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/ci/torture/mutants"
)

// TestMutants: killing everything at the right moment finds daemons that break the contract,
// by the loss of what they acknowledged.
func TestMutants(t *testing.T) {
	inside(t)
	for _, m := range mutants.All() {
		if !m.Kill {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			w := newWorld(t)
			w.smtpd = build(t, m)
			for n := 1; n <= 40; n++ {
				if lost := w.loses(t, m.Role, n); lost > 0 {
					t.Logf("caught at call %d of %s: %d recipients of an acknowledged message are lost", n, m.Role, lost)
					return
				}
			}
			t.Error("not caught")
		})
	}
}

// build makes smtpd of a mutant.
func build(t *testing.T, m mutants.Mutant) string {
	t.Helper()
	source := os.Getenv("GODWIT_E2E_SOURCE")
	dir, err := os.MkdirTemp(filepath.Join(top(), "run"), "")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	overlay, err := m.Overlay(source, dir)
	must(t, err)
	path := filepath.Join(dir, "smtpd")
	libexec := filepath.Join(top(), "libexec")
	cmd := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-ldflags",
		"-X main.version=mutant -X github.com/godwit-mta/godwit/platform.libexec="+libexec, "-o", path, "./cmd/smtpd")
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// loses kills everything at the n-th call of a role and counts what does not come after that.
func (w *world) loses(t *testing.T, role string, n int) int {
	d, p := w.warm(t, role)
	died, over := make(chan struct{}), make(chan struct{})
	s := trace(t, p.pid, func(at int, call string) {
		if at == n {
			d.mark(call)
			d.killAll()
			close(died)
		}
	})
	go func() { w.one(d); close(over) }()
	select {
	case <-died:
		d.again()
		d.ready()
	case <-over:
		within(2*time.Second, func() bool { return isClosed(died) || w.j.missing(d.addr, d.logged()) == 0 })
		if isClosed(died) {
			d.again()
			d.ready()
		}
	}
	<-over
	arrived := within(5*time.Second, func() bool {
		d.collect(w.j)
		_, _ = d.ctl("schedule", "all")
		return w.j.missing(d.addr, d.logged()) == 0
	})
	s.detach()
	d.killAll()
	if arrived {
		return 0
	}
	return w.j.missing(d.addr, d.logged())
}
