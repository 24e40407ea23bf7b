package filter

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// fake is a filter process that is a goroutine.
type fake struct {
	register string                                   // after register|; what it says in the handshake, one a line
	answer   func(f []string, out *bufio.Writer) bool // to a request; false ends it
	begin    func(out io.Writer) bool                 // instead of the handshake; false ends it

	starts atomic.Int64
	mu     sync.Mutex
	heard  []string
	ended  sync.WaitGroup
}

const everything = "report|smtp-in|*\nfilter|smtp-in|connect\nfilter|smtp-in|mail-from\nfilter|smtp-in|data-line\nfilter|smtp-in|quit"

// start is Options.Start.
func (f *fake) start(context.Context) (io.ReadWriteCloser, error) {
	ours, theirs := net.Pipe()
	f.starts.Add(1)
	f.ended.Go(func() {
		defer theirs.Close()
		f.run(bufio.NewReaderSize(theirs, 1<<17), bufio.NewWriter(theirs))
	})
	return ours, nil
}

func (f *fake) run(in *bufio.Reader, out *bufio.Writer) {
	for {
		if in.Buffered() == 0 {
			_ = out.Flush()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\n")
		f.mu.Lock()
		f.heard = append(f.heard, line)
		f.mu.Unlock()
		switch fields := strings.SplitN(line, "|", 8); {
		case line == "config|ready" && f.begin != nil:
			more := f.begin(out)
			_ = out.Flush()
			if !more {
				return
			}
		case line == "config|ready":
			for l := range strings.Lines(f.register) {
				fmt.Fprintf(out, "register|%s\n", strings.TrimSuffix(l, "\n"))
			}
			fmt.Fprintln(out, "register|ready")
			_ = out.Flush()
		case fields[0] == "filter":
			f.mu.Lock()
			answer := f.answer
			f.mu.Unlock()
			more := answer(fields, out)
			if !more {
				_ = out.Flush()
				return
			}
		}
	}
}

func (f *fake) lines() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.heard, "\n")
}

// says answers decisions with s, and gives lines back as they are.
func says(s string) func(f []string, out *bufio.Writer) bool {
	return func(f []string, out *bufio.Writer) bool {
		if f[4] == DataLine.String() {
			fmt.Fprintf(out, "filter-dataline|%s|%s|%s\n", f[5], f[6], f[7])
		} else {
			fmt.Fprintf(out, "filter-result|%s|%s|%s\n", f[5], f[6], s)
		}
		return true
	}
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Log(_ trace.Level, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.WriteString(line + "\n")
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bench has a process of a fake, and its log.
type bench struct {
	*fake
	proc *Process
	log  *lines
}

func (f *fake) options(log *lines) Options {
	return Options{Name: "fake", Config: []string{"protocol|" + Protocol}, Start: f.start, Log: trace.New(log),
		Handshake: time.Minute, Patience: time.Minute, FirstWait: time.Millisecond}
}

func run(t *testing.T, f *fake, patience time.Duration) *bench {
	t.Helper()
	b := &bench{fake: f, log: new(lines)}
	opts := f.options(b.log)
	opts.Patience = patience
	var err error
	if b.proc, err = Start(context.Background(), opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.proc.Close()
		f.ended.Wait()
	})
	return b
}

// session opens a session with the filter.
func (b *bench) session() *Link {
	s := &Session{ID: 0xabcdef}
	return NewChain(Member{Name: "fake", Process: b.proc}).Open(s, &trace.Trace{Logger: trace.New(b.log), ID: s.ID})
}

// until waits for something that a goroutine does.
func until(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("does not come: %s", what)
		}
	}
}
