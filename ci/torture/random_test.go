package torture

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// injectors is how many clients there are.
const injectors = 16

// crowd offers messages until its stop is closed, and what it has begun until it is taken or
// giveUp is closed.
type crowd struct {
	d            *server
	j            *journal
	largest      int
	limit        int64 // messages, 0: as many as come
	pause        time.Duration
	stop, giveUp chan struct{}
	n            atomic.Int64
	running      sync.WaitGroup
}

func (c *crowd) start() {
	for i := range injectors {
		c.running.Go(func() { c.inject(i) })
	}
}

func (c *crowd) inject(i int) {
	for {
		n := c.n.Add(1)
		if c.limit > 0 && n > c.limit {
			return
		}
		o := randomOffer(fmt.Sprintf("%d.%d", i, n), c.largest)
		c.d.hand(c.j, o, way(i)%ways, c.giveUp)
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(rand.Float64() * 2 * float64(c.pause))):
		}
	}
}

// drain lets the daemon deliver everything, and then gives what is wrong.
func (d *server) drain(j *journal, limit time.Duration) {
	d.t.Helper()
	began, tried, seen := time.Now(), time.Now(), 0
	empty := func() bool {
		d.collect(j)
		if time.Since(tried) > 500*time.Millisecond { // what was put off need not wait
			tried = time.Now()
			_, _ = d.ctl("schedule", "all")
		}
		out, err := d.ctl("show", "queue")
		if err != nil || strings.TrimSpace(out) != "" || j.missing(d.addr, d.logged()) > 0 {
			seen = 0
			return false
		}
		seen++ // a queue that is being loaded looks empty
		return seen > 5
	}
	if !within(limit, empty) {
		out, err := d.ctl("show", "queue")
		d.t.Errorf("after %v the queue is not empty: %v\n%s", limit, err, tail(out, 10))
	}
	d.t.Logf("drained in %v", time.Since(began).Round(10*time.Millisecond))
}

// verdict stops the daemon and reports what is wrong.
func (d *server) verdict(j *journal) {
	d.t.Helper()
	d.stop()
	d.settle(j)
	mbox(j)
	wrong := j.judge(d.addr, d.logged())
	for i, text := range wrong {
		if i == 20 {
			d.t.Errorf("and %d more", len(wrong)-i)
			break
		}
		d.t.Error(text)
	}
	for _, text := range d.leftovers() {
		d.t.Errorf("I6: %s", text)
	}
	first, more := j.again()
	d.t.Logf("%d deliveries, again by window: %v, %d cut short, %d events", first, more, j.cut, len(j.events))
}

// leftovers gives the files that are in the spool when everything is delivered.
func (d *server) leftovers() (list []string) {
	for _, dir := range []string{"corrupt", "journal", "incoming", "queue/??/*"} {
		if dir[0] != 'q' {
			dir += "/*"
		}
		paths, _ := filepath.Glob(filepath.Join(d.spool, dir))
		list = append(list, paths...)
	}
	return list
}

// TestControl: without faults everything comes exactly once.
func TestControl(t *testing.T) {
	w := newWorld(t)
	w.dovecot(t)
	d := w.server(t)
	d.run()
	d.ready()
	c := &crowd{d: d, j: w.j, largest: scale(2<<20, 200<<10), limit: int64(scale(2000, 400)), stop: make(chan struct{}), giveUp: make(chan struct{})}
	c.start()
	c.running.Wait()
	d.drain(w.j, time.Minute)
	d.verdict(w.j)
	for _, l := range w.j.letters {
		for place, at := range l.got {
			if len(at) != 1+l.drops[place] {
				t.Errorf("%s came %d times to %s:\n%s", l.id, len(at), place, l.story())
			}
		}
		if l.tries > 1 {
			t.Errorf("%s was tried %d times:\n%s", l.id, l.tries, l.story())
		}
	}
}

// warm lets every part of the daemon do its work once, with some messages, and gives what it weighs when nothing is left to do.
func (d *server) warm(j *journal, messages int64) weight {
	d.t.Helper()
	first := d.weight()
	c := &crowd{d: d, j: j, largest: scale(2<<20, 200<<10), limit: messages, stop: make(chan struct{}), giveUp: make(chan struct{})}
	c.start()
	c.running.Wait()
	d.drain(j, time.Minute)
	first.descriptors, first.megabytes = 2*first.descriptors, 8*first.megabytes // these may be what they are
	return d.idle(first)
}

// TestRandom: whatever is done to the daemon, nothing is lost.
func TestRandom(t *testing.T) {
	w := newWorld(t)
	w.dovecot(t)
	d := w.server(t)
	must(t, os.Mkdir(d.spool, 0o711))
	command(t, "mount", "-t", "tmpfs", "-o", "size=256m,mode=711", "tmpfs", d.spool)
	t.Cleanup(func() { command(t, "umount", "-l", d.spool) })
	d.run()
	d.ready()
	k := &killer{w: w, d: d, rng: rand.New(rand.NewPCG(*seed, 1))}
	t.Logf("seed %d", *seed)
	warm := int64(scale(400, 100))
	before := d.warm(w.j, warm)
	c := &crowd{d: d, j: w.j, largest: scale(2<<20, 200<<10), pause: time.Second * injectors / time.Duration(*rate),
		stop: make(chan struct{}), giveUp: make(chan struct{})}
	c.n.Store(warm + injectors) // no message has the name of an earlier one
	c.start()
	length := *duration
	if testing.Short() {
		length = 20 * time.Second
	}
	k.until(time.Now().Add(length))
	close(c.stop)
	giveUp := time.AfterFunc(time.Minute, func() { close(c.giveUp) })
	c.running.Wait()
	giveUp.Stop()
	d.drain(w.j, 2*time.Minute)
	t.Logf("%d messages; processes before and after: %s, %s", len(w.j.letters), before, d.idle(before))
	d.verdict(w.j)
	slices.Sort(k.waits)
	t.Logf("done: %v; from %d restarts to the banner: half within %v, all within %v, at most %v of the processor",
		k.done, len(k.waits), k.waits[len(k.waits)/2], k.waits[len(k.waits)-1], k.spent)
	if k.spent > restartLimit {
		t.Errorf("I7: a restart took %v of the processor until the banner", k.spent)
	}
}
