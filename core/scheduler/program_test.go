package scheduler

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// The test binary is the program of a scheduler when this is set: to what it does wrong, and
// the file that goes when it does.
const asProgram = "GODWIT_SCHEDULER_PROGRAM"

func TestMain(m *testing.M) {
	if wrong, ok := os.LookupEnv(asProgram); ok {
		os.Exit(serveSelf(wrong))
	}
	os.Exit(m.Run())
}

// selfEntry is an envelope as a small and correct program keeps it.
type selfEntry struct {
	kind string
	due  time.Time
}

func serveSelf(wrong string) int {
	vice, once, _ := strings.Cut(wrong, ":")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() && in.Text() != "config|ready" {
	}
	if vice == "silent" && os.Remove(once) == nil {
		time.Sleep(time.Hour)
	}
	fmt.Print("register|scheduler\nregister|ready\n")
	all := make(map[string]selfEntry)
	gone := ""
	for in.Scan() {
		f := strings.Split(in.Text(), "|")
		switch f[0] {
		case "add":
			ms, _ := strconv.ParseInt(f[4], 10, 64)
			end, _ := strconv.ParseInt(f[5], 10, 64)
			all[f[1]] = selfEntry{f[2], time.Now().Add(time.Duration(min(ms, end)) * time.Millisecond)}
		case "remove":
			delete(all, f[1])
		case "next":
			if vice != "" && len(all) > 0 && (vice != "again" || gone != "") && os.Remove(once) == nil {
				if !misbehave(vice, f[1], gone) {
					return 7
				}
				continue
			}
			due, wait := selfDue(all, f[2], f[3])
			for _, evpid := range due {
				delete(all, evpid)
				gone = evpid
			}
			fmt.Println(strings.Join(append([]string{"next-result", f[1], "ok", fmt.Sprint(wait)}, due...), "|"))
		}
	}
	return 0
}

// selfDue gives what is due and the milliseconds until something else is.
func selfDue(all map[string]selfEntry, n, kinds string) (due []string, wait int64) {
	most, _ := strconv.Atoi(n)
	at := time.Now()
	wait = 1000000
	for _, evpid := range slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(all[a].due.Compare(all[b].due), strings.Compare(a, b))
	}) {
		if !slices.Contains(strings.Split(kinds, ","), all[evpid].kind) {
			continue
		}
		if all[evpid].due.After(at) || len(due) == most {
			return due, max(all[evpid].due.Sub(at).Milliseconds(), 0)
		}
		due = append(due, evpid)
	}
	return due, wait
}

// misbehave answers wrongly; false: the program ends.
func misbehave(vice, id, gone string) bool {
	switch vice {
	case "garbage":
		fmt.Println("|||\xff")
	case "huge":
		fmt.Println(strings.Repeat("x", 1<<20))
	case "wrong-id":
		fmt.Println("next-result|77777|ok|0")
	case "no-wait":
		fmt.Printf("next-result|%s|ok\n", id)
	case "negative":
		fmt.Printf("next-result|%s|ok|-1\n", id)
	case "too-many":
		fmt.Printf("next-result|%s|ok|0%s\n", id, strings.Repeat("|0000000100000001", 300))
	case "not-an-id":
		fmt.Printf("next-result|%s|ok|0|all of them\n", id)
	case "twice":
		fmt.Printf("next-result|%s|ok|0|0000000100000001|0000000100000001\n", id)
	case "error":
		fmt.Printf("next-result|%s|error|temporary|tired\n", id)
	case "unknown": // nothing but a waste of time
		fmt.Printf("next-result|%s|ok|0|00000fff00000001\n", id)
	case "again":
		fmt.Printf("next-result|%s|ok|0|%s\n", id, gone)
	case "half":
		fmt.Printf("next-result|%s|ok|0|0000", id)
		return false
	case "hang":
		time.Sleep(time.Hour)
	case "close":
		os.Stdout.Close()
		time.Sleep(time.Hour)
	default:
		return false
	}
	return true
}

// process is a running program.
type process struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

func (p *process) Close() error {
	p.WriteCloser.Close()
	return p.cmd.Process.Kill()
}

// selves counts the processes of a test.
type selves struct {
	mu    sync.Mutex
	last  *process
	alive sync.WaitGroup
}

func (s *selves) start(wrong string) (io.ReadWriteCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asProgram+"="+wrong)
	cmd.Stderr = os.Stderr
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
	defer s.mu.Unlock()
	s.last = p
	s.alive.Go(func() { _ = cmd.Wait(); out.Close() })
	return p, nil
}

func (s *selves) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.last.cmd.Process.Kill()
}

func openSelf(t *testing.T, l Limits, wrong string) *Program {
	p, _ := openSelves(t, l, wrong)
	return p
}

func openSelves(t *testing.T, l Limits, wrong string) (*Program, *selves) {
	t.Helper()
	s := &selves{}
	opts := ProgramOptions{Limits: l, Clock: time.Now, Wake: func() {}}
	opts.Start = func(context.Context) (io.ReadWriteCloser, error) { return s.start(wrong) }
	opts.Log, opts.FirstWait = trace.New(nil), time.Millisecond
	if wrong != "" {
		opts.Patience = 500 * time.Millisecond
	}
	p, err := OpenProgram(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(); s.alive.Wait() })
	return p, s
}

// TestProgramThatErrs: whatever a program does wrong, each envelope is handed out once.
func TestProgramThatErrs(t *testing.T) {
	for _, vice := range []string{"die", "garbage", "huge", "wrong-id", "no-wait", "negative", "too-many", "not-an-id", "twice",
		"error", "unknown", "again", "half", "hang", "close"} {
		t.Run(vice, func(t *testing.T) {
			once := filepath.Join(t.TempDir(), "once")
			if err := os.WriteFile(once, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s := openSelf(t, Limits{}, vice+":"+once)
			later := now(id(2, 1))
			later.Due = time.Now().Add(20 * time.Millisecond)
			s.AddAll([]Entry{now(id(1, 1)), now(id(1, 2)), later})
			want := []envelope.ID{id(1, 1), id(1, 2), id(2, 1)}
			if got := ids(await(t, s, 3)); !slices.Equal(got, want) {
				t.Errorf("handed out %v", got)
			}
			s.Retry(id(1, 1), time.Now(), false)
			await(t, s, 1)
			if _, err := os.Stat(once); err == nil {
				t.Error("nothing went wrong")
			}
		})
	}
}

// TestProgramKilled: a program that was killed is told everything again but what is in
// flight.
func TestProgramKilled(t *testing.T) {
	s, all := openSelves(t, Limits{}, "")
	for n := range uint32(1200) {
		e := now(id(n+1, 1))
		e.Due = time.Now().Add(time.Hour)
		s.Add(e)
	}
	s.Schedule(Range{id(1, 0), id(100, 9)})
	flying := ids(await(t, s, 100))
	all.kill()
	s.Schedule(All())
	rest := ids(await(t, s, 1100))
	if rest[0] <= flying[99] {
		t.Errorf("%v was handed out twice", rest[0])
	}
	if n := s.Counts(); n.Inflight != 1200 {
		t.Errorf("%+v", n)
	}
}

func TestProgramThatIsNeverReady(t *testing.T) {
	once := filepath.Join(t.TempDir(), "once")
	if err := os.WriteFile(once, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &selves{}
	opts := ProgramOptions{Clock: time.Now}
	opts.Start = func(context.Context) (io.ReadWriteCloser, error) { return s.start("silent:" + once) }
	opts.Log, opts.Handshake = trace.New(nil), 200*time.Millisecond
	if _, err := OpenProgram(t.Context(), opts); err == nil {
		t.Error("it was taken")
	}
	s.alive.Wait()
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{"": "", "out": "out", "out\x00example.org": "out%00example.org",
		"a|b%c\n d\xff": "a%7cb%25c%0a%20d%ff"} {
		if got := escape(in); got != want {
			t.Errorf("%q became %q", in, got)
		}
	}
}
