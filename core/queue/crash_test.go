package queue

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// simulation cuts the power of stores again and again, in parallel.
type simulation struct {
	t     *testing.T
	limit int // what a cut at one operation may leave is tried in at most so many ways
	deep  int // of so many of these one is cut again at every operation of its recovery
	lying bool
	enc   Encoding
	ahead int
	cache bool

	jobs    chan cut
	workers sync.WaitGroup
	cuts    atomic.Int64 // that were recovered from
	whole   atomic.Int64 // operations at which every outcome was tried
	steps   atomic.Int64
	mu      sync.Mutex
	err     error // the first broken promise
}

// cut is what is left of a disk, and what has to be there.
type cut struct {
	d    *memDisk
	o    *oracle
	what string
	deep int // the power goes again at every operation of the recovery, with so many outcomes
	seed uint64
}

func newSimulation(t *testing.T, limit, deep int) *simulation {
	s := &simulation{t: t, limit: limit, deep: deep, jobs: make(chan cut, 64)}
	for range runtime.GOMAXPROCS(0) {
		s.workers.Go(func() {
			for c := range s.jobs {
				s.recover(c)
			}
		})
	}
	return s
}

func (s *simulation) wait() error {
	close(s.jobs)
	s.workers.Wait()
	return s.err
}

func (s *simulation) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *simulation) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// run runs a script and cuts the power before each of its operations and after each answer.
func (s *simulation) run(name string, do func(*script)) {
	d := newMemDisk()
	d.shared, d.lying, d.enc = newSharedFiles(s.t), s.lying, s.enc
	d.ahead, d.cache = s.ahead, s.cache
	sc := &script{d: d, o: newOracle()}
	step := 0
	at := func(d *memDisk, op, file string) {
		step++
		// who was answered too early takes it for an answer first
		for range 20 {
			runtime.Gosched()
		}
		s.cutHere(d, sc.o, step, name+": "+fmt.Sprintf("before %s %s", op, file))
	}
	d.before = func(d *memDisk, op, name string, changes bool) error {
		if changes {
			at(d, op, name)
		}
		return nil
	}
	sc.ack = func() {
		sc.d.mu.Lock()
		defer sc.d.mu.Unlock()
		at(sc.d, "the next call", "")
	}
	do(sc)
	if sc.err != nil {
		s.fail(fmt.Errorf("%s: %w", name, sc.err))
	}
}

func (s *simulation) cutHere(d *memDisk, o *oracle, step int, what string) {
	if s.failed() {
		return
	}
	known := o.clone()
	r := rand.New(rand.NewPCG(uint64(step), 4))
	n := 0
	s.steps.Add(1)
	if d.outcomes(s.limit, r, func(after *memDisk) {
		n++
		deep := 0
		if s.deep > 0 && (step+n)%s.deep == 0 {
			deep = 4
		}
		s.jobs <- cut{after, known, fmt.Sprintf("%s (step %d, outcome %d)", what, step, n), deep, uint64(step*1000 + n)}
	}) {
		s.whole.Add(1)
	}
}

// kill runs a script and kills the process at an operation: the disk goes on with what it has not
// synced. The power is cut while the next process recovers. It reports whether there was such an operation.
func (s *simulation) kill(name string, at int, do func(*script)) bool {
	d := newMemDisk()
	d.shared = newSharedFiles(s.t)
	step := 0
	d.before = func(d *memDisk, _, _ string, changes bool) error {
		if changes {
			step++
		}
		if d.off = step >= at; d.off {
			return errCrash
		}
		return nil
	}
	sc := &script{d: d, o: newOracle(), ack: func() {}}
	do(sc)
	if sc.err != nil {
		s.fail(fmt.Errorf("%s, killed at step %d: %w", name, at, sc.err))
	}
	after := sc.d.inherit()
	after.before = nil
	s.jobs <- cut{after, sc.o, fmt.Sprintf("%s: killed at step %d", name, at), 2, uint64(at)}
	return step >= at && !s.failed()
}

// recover starts a store on what is left, compares, works with it, and does so once more.
func (s *simulation) recover(c cut) {
	if s.failed() {
		return
	}
	s.cuts.Add(1)
	o := c.o.clone()
	if c.deep > 0 {
		c.d.before = s.again(c, o)
	}
	if err := goOn(c.d, o); err != nil {
		s.fail(fmt.Errorf("%s: %w", c.what, err))
	}
}

// again cuts the power while the first cut is recovered from.
func (s *simulation) again(c cut, o *oracle) func(*memDisk, string, string, bool) error {
	step := 0
	r := rand.New(rand.NewPCG(c.seed, 5))
	return func(d *memDisk, op, name string, changes bool) error {
		if step++; changes {
			known := o.clone()
			d.outcomes(c.deep, r, func(after *memDisk) {
				what := fmt.Sprintf("%s, then at step %d of the recovery before %s %s", c.what, step, op, name)
				s.recover(cut{d: after, o: known, what: what})
			})
		}
		return nil
	}
}

// goOn has a store recover and work, and looks whether everything is there afterwards.
func goOn(d *memDisk, o *oracle) error {
	s, err := open(d, Options{SegmentAge: time.Hour, Encoding: d.enc, ahead: d.ahead, cache: d.cache}, nil)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := o.sees(s); err != nil {
		return err
	}
	sc := &script{d: d, s: s, o: o, ack: func() {}}
	sc.commit([]byte("after the cut\n"), 2)
	sc.update(0, 1)
	sc.stop()
	if sc.err != nil {
		return sc.err
	}
	if s, err = open(d, Options{SegmentAge: time.Hour, Encoding: d.enc, ahead: d.ahead, cache: d.cache}, nil); err != nil {
		return err
	}
	defer s.Close()
	for _, dir := range []string{journalDir, incomingDir} {
		if names, err := d.ReadDir(dir); err != nil || len(names) > 0 {
			return fmt.Errorf("after a clean stop %s holds %d files, %w", dir, len(names), err)
		}
	}
	if err := o.sees(s); err != nil {
		return fmt.Errorf("after a clean stop: %w", err)
	}
	return nil
}

// cutsWanted is how many power cuts are to be tried: 100,000 and more in CI, which sets CUTS.
func cutsWanted(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("CUTS"))
	if err != nil {
		if os.Getenv("CUTS") != "" {
			t.Fatal(err)
		}
		return 1500
	}
	return n
}

// TestPowerCut cuts the power at every operation of every script, and after a kill at every operation.
func TestPowerCut(t *testing.T) {
	want := cutsWanted(t)
	s := newSimulation(t, max(6, want/1000), 120)
	s.ahead = 1000 // some records fit, some do not
	for name, do := range scripts {
		s.run(name, do)
		for at := 1; s.kill(name, at, do); at += max(1, 40-want/500) {
		}
	}
	err := s.wait()
	t.Logf("%d power cuts; at %d of %d operations every outcome", s.cuts.Load(), s.whole.Load(), s.steps.Load())
	if err != nil {
		t.Fatal(err)
	}
	if n := s.cuts.Load(); n < int64(want) {
		t.Errorf("only %d power cuts of %d", n, want)
	}
}

// TestPowerCutCache does so with a cache of what lies in files.
func TestPowerCutCache(t *testing.T) {
	s := newSimulation(t, max(4, cutsWanted(t)/4000), 200)
	s.cache = true
	for name, do := range scripts {
		s.run(name, do)
	}
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCutEncoded does so with a queue that is compressed and encrypted.
func TestPowerCutEncoded(t *testing.T) {
	s := newSimulation(t, 4, 200)
	s.enc = testEncodings()["zstd, encrypted"]
	for name, do := range scripts {
		s.run(name, do)
	}
	if err := s.wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d power cuts", s.cuts.Load())
}

// TestPowerCutProof runs against a disk that forgets what was synced: if that passes, the test above
// proves nothing.
func TestPowerCutProof(t *testing.T) {
	for name, do := range scripts {
		s := newSimulation(t, 16, 0)
		s.lying = true
		s.run(name, do)
		if s.wait() == nil {
			t.Errorf("%s: nothing is lost on a disk that does not sync", name)
		}
	}
}
