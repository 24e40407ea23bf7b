package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// traced are the processes that are stopped at each step. crypto does nothing for a message
// without TLS, control nothing at all.
var traced = []string{"queue", "dispatcher", "lookup", "agent", "parent"}

// parallelSteps is how many daemons are tortured at a time: most of a case is waiting.
const parallelSteps = 4

// step is a case: at the n-th call of a role that role or everything is killed; 0 never.
type step struct {
	role string
	n    int
	all  bool
}

func (s step) String() string {
	if s.all {
		return fmt.Sprintf("all at call %d of %s", s.n, s.role)
	}
	return fmt.Sprintf("%s at its call %d", s.role, s.n)
}

// TestSteps kills each process, and all, before each call of that process that changes something
// while one message is on its way.
func TestSteps(t *testing.T) {
	w := newWorld(t)
	var cases []step
	for _, role := range traced {
		n := w.dry(t, role)
		t.Logf("%s: %d calls", role, n)
		cases = append(cases, sample(role, n, scale(n, 5))...)
	}
	t.Logf("%d cases", len(cases))
	w.parallel(t, len(cases), func(i int) { w.killAt(t, cases[i]) })
	first, more := w.j.again()
	t.Logf("%d deliveries, again by window: %v, %d cut short, %d deaths", first, more, w.j.cut, len(w.j.events))
}

// sample gives most of the steps of a role, evenly, each with the role alone and with all; 0 for every one.
func sample(role string, n, most int) (cases []step) {
	every := max(1, float64(n)/float64(most))
	for at := 1 + rand.Float64()*(every-1); int(at) <= n; at += every {
		cases = append(cases, step{role, int(at), false}, step{role, int(at), true})
	}
	return cases
}

// parallel does n things, some at a time.
func (w *world) parallel(t *testing.T, n int, do func(i int)) {
	var group sync.WaitGroup
	next := make(chan int)
	for range parallelSteps {
		group.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		if t.Failed() {
			break
		}
		next <- i
	}
	close(next)
	group.Wait()
}

// warm starts a daemon and has it deliver something, so that there is an agent. It gives the
// process of a role.
func (w *world) warm(t *testing.T, role string) (*server, proc) {
	d := w.server(t)
	d.run()
	d.ready()
	id := fmt.Sprintf("warm-%d", w.number())
	d.hand(w.j, newOffer(id, back(id), 100, "alice+ID@box.test"), plain, nil)
	var list []proc
	if !within(10*time.Second, func() bool { list = d.find(role); return len(list) > 0 }) {
		t.Errorf("no process %s", role)
		return d, proc{}
	}
	return d, list[0]
}

// dry counts the calls of a role.
func (w *world) dry(t *testing.T, role string) int {
	d, p := w.warm(t, role)
	s := trace(t, p.pid, nil)
	w.one(d)
	d.drain(w.j, time.Minute)
	s.detach()
	d.check(w.j)
	return s.calls()
}

// one hands in a message for a mailbox, a server and one who is refused.
func (w *world) one(d *server) {
	id := fmt.Sprintf("step-%d", w.number())
	d.hand(w.j, newOffer(id, back(id), 300, "alice+ID@box.test", "one+ID@s0.test", "no+ID@s2.test"), plain, nil)
}

// killAt is one case.
func (w *world) killAt(t *testing.T, c step) {
	d, p := w.warm(t, c.role)
	died := make(chan struct{})
	end := func() {}
	s := trace(t, p.pid, func(n int, call string) {
		if n != c.n {
			return
		}
		d.mark(c.String() + ": " + call)
		end = w.j.event(d.addr, c.String()+": "+call)
		if c.all {
			d.killAll()
		} else {
			kill(p.pid)
		}
		close(died)
	})
	over := make(chan struct{})
	var starter sync.WaitGroup
	if c.all || c.role == "parent" {
		starter.Go(func() {
			select {
			case <-died:
				d.again()
			case <-over:
			}
		})
	}
	w.one(d)
	within(5*time.Second, func() bool { return isClosed(died) || w.j.missing(d.addr, d.logged()) == 0 })
	if !isClosed(died) {
		s.detach() // it was fewer calls than in the dry run
	}
	close(over)
	starter.Wait()
	d.mark("after " + c.String())
	d.drain(w.j, time.Minute)
	end()
	d.check(w.j)
	<-s.ended
	if t.Failed() {
		t.Logf("case: %v", c)
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// check stops the daemon and reports what is wrong with its messages.
func (d *server) check(j *journal) {
	d.stop()
	d.settle(j)
	for _, text := range append(j.judge(d.addr, d.logged()), d.leftovers()...) {
		d.t.Error(text)
	}
}

// number gives numbers for messages.
func (w *world) number() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	return w.last
}

// failures are what the kernel can answer to the calls of a process.
var failures = []struct {
	role, calls string
	errors      []string
}{
	{"queue", "pwrite64,ftruncate", []string{"EIO", "ENOSPC"}},
	{"queue", "fsync,fdatasync", []string{"EIO", "ENOSPC"}},
	{"queue", "openat", []string{"EIO", "ENOSPC", "EMFILE"}},
	{"queue", "renameat,linkat,unlinkat,mkdirat", []string{"EIO", "ENOSPC"}},
	{"queue", "pread64,getdents64,newfstatat", []string{"EIO"}},
	{"agent", "write,writev", []string{"EIO", "ENOSPC"}},
	{"agent", "fsync,fdatasync", []string{"EIO", "ENOSPC"}},
	{"agent", "openat", []string{"EIO", "ENOSPC", "EMFILE"}},
	{"agent", "renameat,renameat2,linkat,mkdirat", []string{"EIO", "ENOSPC"}},
	{"dispatcher", "socket", []string{"EMFILE"}},
	{"dispatcher", "accept4", []string{"EMFILE"}},
	{"parent", "pipe2,socketpair", []string{"EMFILE"}}, // without threads the run time of Go cannot go on
}

// TestErrors lets calls fail for a second while a message is offered and delivered; after that
// it arrives, and nobody had to start anything again.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	type failure struct{ role, calls, how string }
	var cases []failure
	for _, f := range failures {
		for _, e := range f.errors {
			cases = append(cases, failure{f.role, f.calls, e}, failure{f.role, f.calls, e + ":when=1"}, failure{f.role, f.calls, e + ":when=2+2"})
		}
	}
	rand.Shuffle(len(cases), func(i, k int) { cases[i], cases[k] = cases[k], cases[i] })
	cases = cases[:scale(len(cases), 12)]
	slices.SortFunc(cases, func(a, b failure) int { return len(a.role) - len(b.role) })
	w.parallel(t, len(cases), func(i int) {
		c := cases[i]
		d, p := w.warm(t, c.role)
		what := fmt.Sprintf("%s of %s: %s", c.calls, c.role, c.how)
		d.mark(what)
		end := w.j.event(d.addr, what) // an agent that cannot say that it has delivered is started again
		s := trace(t, p.pid, nil, "-e", "trace="+c.calls, "-e", "inject="+c.calls+":error="+c.how)
		handed := make(chan struct{})
		go func() { w.one(d); close(handed) }()
		time.Sleep(time.Second)
		s.detach()
		<-handed
		d.mark("after " + what)
		d.drain(w.j, time.Minute)
		end()
		if d.gone() {
			t.Errorf("%s: the daemon ended", what)
		}
		d.check(w.j)
		if t.Failed() {
			t.Logf("case: %s", what)
		}
	})
	t.Logf("%d cases", len(cases))
}
