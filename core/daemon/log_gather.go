package daemon

import (
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// gatherSink writes the lines of a busy process some at a time. The log is a process of its own: one that is
// woken for each line costs as much as the rest of a session. A line that comes alone, and a warning with all
// before it, is written at once.
type gatherSink struct {
	to trace.Sink

	writing sync.Mutex // one at a time, in the order of the lines; taken before mu
	mu      sync.Mutex
	lines   []logLine
	room    []logLine // to be used again
	last    time.Time // when lines were written
	waiting bool      // a timer will write them
}

// Bounds of what waits to be written.
const (
	gatherTime  = 5 * time.Millisecond
	gatherLines = 512
)

func (s *gatherSink) Log(level trace.Level, line string) {
	s.mu.Lock()
	s.lines = append(s.lines, logLine{uint8(level), line})
	now := level >= trace.Warn || len(s.lines) >= gatherLines || !s.waiting && time.Since(s.last) >= gatherTime
	if !now && !s.waiting {
		s.waiting = true
		time.AfterFunc(gatherTime, s.flush)
	}
	s.mu.Unlock()
	if now {
		s.flush()
	}
}

// flush writes what waits.
func (s *gatherSink) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	lines := s.lines
	s.lines, s.room, s.last, s.waiting = s.room[:0], lines, time.Now(), false
	s.mu.Unlock()
	for i := range lines {
		s.to.Log(trace.Level(lines[i].Level), lines[i].Line)
		lines[i].Line = ""
	}
}
