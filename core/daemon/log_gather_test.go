package daemon

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/godwit-mta/godwit/core/trace"
)

// heldSink writes a line when it is let.
type heldSink struct {
	mu    sync.Mutex
	lines []string
	wrote chan string
	let   chan struct{}
}

func (s *heldSink) Log(_ trace.Level, line string) {
	s.mu.Lock()
	s.lines = append(s.lines, line)
	s.mu.Unlock()
	s.wrote <- line
	<-s.let
}

// TestGather: the first line is written at once, what comes while the log is busy is kept in its order, and
// nobody but the writer waits.
func TestGather(t *testing.T) {
	to := &heldSink{wrote: make(chan string), let: make(chan struct{})}
	s := &gatherSink{to: to}
	done := make(chan struct{})
	go func() { s.Log(trace.Info, "0"); close(done) }()
	if got := <-to.wrote; got != "0" {
		t.Fatal(got)
	}
	want := []string{"0"}
	for i := 1; i < 100; i++ { // none of these may wait for the line that is being written
		s.mu.Lock()
		s.waiting = true // as when a timer runs: this test has the time
		s.mu.Unlock()
		want = append(want, strconv.Itoa(i))
		s.Log(trace.Info, want[i])
	}
	close(to.let)
	<-done
	warned := make(chan struct{})
	go func() { s.Log(trace.Warn, "last"); close(warned) }()
	for _, w := range append(want[1:], "last") {
		if got := <-to.wrote; got != w {
			t.Fatalf("%q where %q should be", got, w)
		}
	}
	<-warned // a warning is written when Log returns
	if got := append(want, "last"); !slices.Equal(to.lines, got) {
		t.Errorf("%q", to.lines)
	}
}

// TestGatherBound: a process that logs faster than the log takes waits for it at last.
func TestGatherBound(t *testing.T) {
	to := &heldSink{wrote: make(chan string, 2*gatherLines), let: make(chan struct{})}
	close(to.let)
	s := &gatherSink{to: to, waiting: true}
	for range gatherLines - 1 {
		s.Log(trace.Info, "x")
	}
	if n := len(to.wrote); n != 0 {
		t.Fatalf("%d lines were written", n)
	}
	s.Log(trace.Info, "x")
	if n := len(to.wrote); n != gatherLines {
		t.Errorf("%d lines were written, want %d", n, gatherLines)
	}
}

// TestGatherTimer: a line that waits is written by itself.
func TestGatherTimer(t *testing.T) {
	to := &heldSink{wrote: make(chan string, 8), let: make(chan struct{})}
	close(to.let)
	s := &gatherSink{to: to}
	for i := range 3 {
		s.Log(trace.Info, strconv.Itoa(i))
	}
	for i := range 3 {
		if got := <-to.wrote; got != strconv.Itoa(i) {
			t.Errorf("%q, want %d", got, i)
		}
	}
}
