package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// process is a running program.
type process struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

// Close ends it.
func (p *process) Close() error {
	p.WriteCloser.Close()
	return p.cmd.Process.Kill()
}

// self runs the test binary as a program that does something wrong, or nothing. Its dir is
// where it keeps its messages.
type self struct {
	*Program
	dir   string
	last  *process
	mu    sync.Mutex
	alive sync.WaitGroup
}

func (s *self) start(t *testing.T, wrong string) func(context.Context) (io.ReadWriteCloser, error) {
	return func(context.Context) (io.ReadWriteCloser, error) {
		cmd := selfCommand(t, s.dir, wrong)
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		cmd.Stdout = w
		err = cmd.Start()
		w.Close()
		if err != nil {
			return nil, err
		}
		p := &process{out, in, cmd}
		s.mu.Lock()
		s.last = p
		s.mu.Unlock()
		s.alive.Go(func() { _ = cmd.Wait(); out.Close() })
		return p, nil
	}
}

// kill ends the program as kill -9 does.
func (s *self) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.last.cmd.Process.Kill()
}

func openVice(t *testing.T, dir, wrong string) (*self, error) {
	s := &self{dir: dir}
	opts := ProgramOptions{Dir: t.TempDir(), Pause: time.Millisecond}
	opts.Start, opts.Log, opts.FirstWait = s.start(t, wrong), trace.New(nil), time.Millisecond
	if wrong != "" {
		opts.Patience, opts.Handshake = 500*time.Millisecond, 5*time.Second
	}
	if strings.HasPrefix(wrong, "start:") {
		opts.Handshake = 500 * time.Millisecond
	}
	var err error
	if s.Program, err = OpenProgram(t.Context(), opts); err != nil {
		return nil, err
	}
	t.Cleanup(func() { s.Halt(); s.alive.Wait() })
	return s, nil
}

func openSelf(t *testing.T, dir string) Store {
	t.Helper()
	s, err := openVice(t, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reopenSelf(t *testing.T, s Store) Store {
	t.Helper()
	closeStore(t, s)
	s.(*self).alive.Wait()
	return openSelf(t, s.(*self).dir)
}

// vice is what a program does wrong at which request, once in the life of its directory.
type vice struct {
	verb, what string
	once       string // gone: it was done
}

func newVice(s, dir string) vice {
	verb, what, _ := strings.Cut(s, ":")
	return vice{verb, what, filepath.Join(dir, "vice")}
}

func (v vice) at(verb string) bool { return v.verb == verb && os.Remove(v.once) == nil }

func (v vice) start(p *selfServer) int {
	switch v.what {
	case "exit":
		return 3
	case "silent":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("Traceback (most recent call last):")
	case "other":
		fmt.Println("register|scheduler")
	case "nothing":
		fmt.Println("register|ready")
	case "huge":
		fmt.Println(strings.Repeat("x", 1<<20))
	}
	_, _ = io.Copy(io.Discard, p.in)
	return 0
}

func (v vice) do(p *selfServer, f []string) {
	verb, id := f[0], f[1]
	switch v.what {
	case "die":
		os.Exit(7)
	case "done-and-die":
		m, err := Message{}, error(nil)
		if verb == "commit" {
			m = Message{ID: messageID(f[2]), Body: []byte("x\n"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
			err = p.store.Commit(&m)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(7)
	case "hang":
		time.Sleep(time.Hour)
	case "garbage":
		fmt.Println("\x00\xff|||")
	case "huge":
		fmt.Println(strings.Repeat("x", 1<<20))
	case "wrong-id":
		fmt.Printf("%s-result|99999|ok\n", verb)
	case "wrong-verb":
		fmt.Printf("stop-result|%s|ok\n", id)
	case "wrong-error":
		fmt.Printf("%s-result|%s|error|tired\n", verb, id)
	case "twice":
		fmt.Printf("%s-result|%s|not-found\n%[1]s-result|%[2]s|not-found\n", verb, id)
	case "half":
		fmt.Printf("%s-result|%s|ok|1000\nhalf", verb, id)
		os.Exit(0)
	case "half-hang":
		fmt.Printf("%s-result|%s|ok|1000\nhalf", verb, id)
		time.Sleep(time.Hour)
	case "negative":
		fmt.Printf("%s-result|%s|ok|-1\n", verb, id)
	case "too-many":
		fmt.Printf("%s-result|%s|ok|1000000\n", verb, id)
	case "not-ascending":
		fmt.Printf("%s-result|%s|ok|1\nenvelope|0000000000000000|0\n", verb, id)
	case "close":
		os.Stdout.Close()
		time.Sleep(time.Hour)
	}
	p.out.Flush()
}

// wrongAt marks that the vice was not shown yet.
func wrongAt(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "vice"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestProgramThatIsNeverReady(t *testing.T) {
	for _, what := range []string{"exit", "silent", "garbage", "other", "nothing", "huge"} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			wrongAt(t, dir)
			s, err := openVice(t, dir, "start:"+what)
			if err == nil {
				s.Close()
				t.Fatal("it was taken")
			}
			t.Log(err)
		})
	}
}

// TestProgramThatErrs does one thing with a program that goes wrong at it once. That is a
// temporary error; the program is started again, and then everything is as it was.
func TestProgramThatErrs(t *testing.T) {
	for verb, list := range map[string]string{
		"reserve":  "die hang garbage wrong-id negative",
		"commit":   "die done-and-die hang garbage huge wrong-id wrong-verb wrong-error close",
		"body":     "die hang half half-hang negative twice",
		"envelope": "die garbage half negative too-many",
		"list":     "die half too-many not-ascending",
		"apply":    "die hang garbage twice close",
		"discover": "die half too-many",
	} {
		for what := range strings.FieldsSeq(list) {
			t.Run(verb+" "+what, func(t *testing.T) { testVice(t, verb, what) })
		}
	}
}

func testVice(t *testing.T, verb, what string) {
	dir := t.TempDir()
	s, err := openVice(t, dir, verb+":"+what)
	if err != nil {
		t.Fatal(err)
	}
	kept := commit(t, s, []byte("kept\n"), 2)
	id := reserve(t, s)
	fresh := &Message{ID: id, Body: []byte("x\n"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	wrongAt(t, dir)
	do := map[string]func() error{
		"reserve":  func() error { _, err := s.Reserve(1); return err },
		"commit":   func() error { return s.Commit(fresh) },
		"body":     func() error { _, err := s.Body(kept.ID); return err },
		"envelope": func() error { _, err := s.Envelope(kept.Envelopes[0].ID); return err },
		"apply":    func() error { return s.Apply([]Change{{Op: Remove, ID: kept.Envelopes[1].ID}}) },
		"list":     func() error { return s.Load(func(*envelope.Envelope) error { return nil }) },
		"discover": func() error { _, err := s.Discover(kept.ID); return err },
	}
	err = do[verb]()
	if _, left := os.Stat(filepath.Join(dir, "vice")); left == nil {
		t.Fatal("nothing went wrong")
	}
	switch {
	case verb == "list" && err == nil: // it goes on when the program runs again
	case what == "twice": // the first of two answers was taken
	case !Temporary(err):
		t.Fatalf("%v is not temporary", err)
	}
	awaitProgram(t, s)
	if verb == "commit" {
		awaitForgotten(t, s, fresh)
	}
	has(t, s, kept, []byte("kept\n"))
	if err := s.Apply([]Change{{Op: Remove, ID: kept.Envelopes[1].ID}}); err != nil {
		t.Error(err)
	}
	another := commit(t, s, []byte("another\n"), 1)
	s2 := reopenSelf(t, s)
	all := loads(t, s2)
	if len(all) != 2 || all[kept.Envelopes[0].ID] == nil || all[another.Envelopes[0].ID] == nil {
		t.Errorf("%d envelopes are left: %v", len(all), all)
	}
}

// awaitProgram waits until the program answers again.
func awaitProgram(t *testing.T, s Store) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		ids, err := s.Reserve(1)
		if err == nil {
			s.Release(ids...)
			return
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// awaitForgotten waits until a message without an acknowledgement is gone, as its sender was
// told.
func awaitForgotten(t *testing.T, s *self, m *Message) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s.Program.mu.Lock()
		left := len(s.doubtful)
		s.Program.mu.Unlock()
		_, err := s.Body(m.ID)
		if left == 0 && errors.Is(err, ErrNotFound) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d doubtful, body: %v", left, err)
		}
	}
}

// TestProgramKilled commits and changes while the program is killed again and again:
// what was acknowledged is there, what was removed stays away.
func TestProgramKilled(t *testing.T) {
	dir := t.TempDir()
	opened, err := openVice(t, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	s := opened
	const workers, each = 4, 60
	done := make(chan struct{}, workers*each)
	var killer sync.WaitGroup
	killer.Go(func() { // after some messages, in the midst of others; each start waits longer
		for n := range 10 {
			for range 15 + n%7 {
				<-done
			}
			s.kill()
		}
	})
	var mu sync.Mutex
	want := map[envelope.ID]bool{}
	var group sync.WaitGroup
	for g := range workers {
		group.Go(func() {
			for n := 0; n < each; {
				m := tryCommit(s, []byte(strings.Repeat(fmt.Sprintln(g, n), 200)), n%3 == 0)
				if m == nil {
					time.Sleep(time.Millisecond)
					continue
				}
				for s.Apply([]Change{{Op: Remove, ID: m.Envelopes[0].ID}}) != nil {
					time.Sleep(time.Millisecond)
				}
				mu.Lock()
				want[m.Envelopes[1].ID] = true
				mu.Unlock()
				n++
				done <- struct{}{}
			}
		})
	}
	group.Wait()
	killer.Wait()
	awaitProgram(t, s)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		s.Program.mu.Lock()
		left := len(s.doubtful)
		s.Program.mu.Unlock()
		if left == 0 {
			break
		}
	}
	all := loads(t, reopenSelf(t, s))
	for id := range want {
		if all[id] == nil {
			t.Errorf("%v was acknowledged and is lost", id)
		}
		delete(all, id)
	}
	if len(all) > 0 {
		t.Errorf("%d envelopes are there that nobody acknowledged", len(all))
	}
}

// tryCommit commits a message with two envelopes, streamed or not; nil: it was refused.
func tryCommit(s Store, body []byte, streamed bool) *Message {
	ids, err := s.Reserve(1)
	if err != nil {
		return nil
	}
	m := &Message{ID: ids[0], Body: body, Size: int64(len(body)),
		Envelopes: []*envelope.Envelope{testEnvelope(0, 1), testEnvelope(0, 2)}}
	if streamed {
		m.Body = nil
		f, err := s.Create(m.ID)
		if err == nil {
			_, err = f.Write(body)
			f.Close()
		}
		if err != nil {
			s.Release(m.ID)
			return nil
		}
	}
	if err := s.Commit(m); err != nil {
		s.Release(m.ID)
		return nil
	}
	return m
}

// TestProgramStreams breaks off while a message is streamed: the writer is told.
func TestProgramStreams(t *testing.T) {
	s, err := openVice(t, t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	id := reserve(t, s)
	f, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("half"); err != nil {
		t.Fatal(err)
	}
	s.kill()
	awaitProgram(t, s)
	for end := time.Now().Add(20 * time.Second); err == nil; {
		if _, err = f.Write(make([]byte, 1<<16)); time.Now().After(end) {
			t.Fatal("the writer is not told")
		}
	}
	m := &Message{ID: id, Size: 4, Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	if err := s.Commit(m); err == nil {
		t.Error("committed what one life of the program had and another has not")
	}
	s.Release(id)
	if _, err := s.Create(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("a released id: %v", err)
	}
}
