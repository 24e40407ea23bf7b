package torture

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/signals"
)

// killer does one bad thing after the other.
type killer struct {
	w     *world
	d     *server
	rng   *rand.Rand
	done  map[string]int
	waits []time.Duration // from a restart to the banner
	spent time.Duration   // of the processor, the most from a restart to the banner
}

var roles = []string{"control", "crypto", "lookup", "dispatcher", "queue", "agent"}

// until goes on until it is time.
func (k *killer) until(end time.Time) {
	k.done = make(map[string]int)
	faults := []struct {
		name string
		do   func()
	}{
		{"kill -9 of a role", k.killRole},
		{"kill -9 of a role", k.killRole},
		{"kill -9 of all", k.killAll},
		{"SIGTERM", k.restart},
		{"SIGSTOP", k.freeze},
		{"full disk", k.fill},
		{"kill -9 of the table", k.killTable},
		{"a server down", k.sinkDown},
		{"no DNS", k.noDNS},
	}
	for time.Now().Before(end) {
		time.Sleep(min(time.Duration(k.rng.ExpFloat64()*float64(seconds(3, 1))), time.Until(end)))
		f := faults[k.rng.IntN(len(faults))]
		k.done[f.name]++
		f.do()
	}
}

// dies notes in the journal and the log that something dies in do, and waits until the daemon is there again.
func (k *killer) dies(what string, do func()) {
	k.d.mark(what)
	end := k.w.j.event(k.d.addr, what)
	old := k.d.processes()
	do()
	began := time.Now()
	k.d.ready()
	k.spent = max(k.spent, k.d.spent(old))
	k.waits = append(k.waits, time.Since(began).Round(time.Millisecond))
	k.d.mark("after " + what)
	end()
}

func (k *killer) killRole() {
	role := roles[k.rng.IntN(len(roles))]
	list := k.d.find(role)
	if len(list) == 0 {
		return
	}
	p := list[k.rng.IntN(len(list))]
	k.dies("kill "+role, func() { kill(p.pid) })
}

func (k *killer) killAll() {
	k.dies("kill all", func() {
		k.d.killAll()
		k.d.again()
	})
}

func (k *killer) restart() {
	k.dies("restart", func() {
		_ = k.d.cmd.Process.Signal(signals.Terminate)
		k.d.again()
	})
}

// seconds gives how long something lasts, and how long in short mode.
func seconds(full, short int) time.Duration { return time.Duration(scale(full, short)) * time.Second }

// freeze stops a process for 5 s. Others may take it for dead.
func (k *killer) freeze() {
	role := roles[k.rng.IntN(len(roles))]
	for _, p := range k.d.find(role) {
		k.dies("stop "+role, func() {
			pid := strconv.Itoa(p.pid)
			_ = exec.Command("kill", "-STOP", pid).Run()
			time.Sleep(seconds(5, 2))
			_ = exec.Command("kill", "-CONT", pid).Run()
		})
		return
	}
}

// fill leaves no room in the spool for 3 s.
func (k *killer) fill() {
	path := filepath.Join(k.d.spool, "balloon")
	_ = exec.Command("dd", "if=/dev/zero", "of="+path, "bs=64k").Run() // until there is no room
	time.Sleep(seconds(3, 1))
	_ = os.Remove(path)
}

func (k *killer) killTable() {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		exe, _ := os.Readlink(link)
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && filepath.Base(exe) == "table-test" {
			kill(pid)
		}
	}
}

func (k *killer) sinkDown() {
	for _, s := range k.w.sinks { // in random order
		end := k.w.j.event(k.d.addr, "server down") // it may have had a message without saying so
		s.down(true)
		time.Sleep(seconds(10, 2))
		s.down(false)
		end()
		return
	}
}

func (k *killer) noDNS() {
	k.w.resolve(false)
	time.Sleep(seconds(10, 2))
	k.w.resolve(true)
}

// command runs a program to its end.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}
