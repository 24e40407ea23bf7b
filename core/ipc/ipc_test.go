package ipc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/reexec"
)

type inner struct {
	Name string
	At   time.Time
	Addr netip.Addr
}

type sample struct {
	Bool    bool
	Int     int
	Small   int8
	Uint    uint64
	Word    uint16
	Text    string
	Body    []byte
	Empty   []byte
	List    []string
	Structs []inner
	Ptr     *inner
	None    *inner
	Ptrs    []*inner
	Wait    time.Duration
}

func full() *sample {
	in := inner{"x", time.Unix(1795438627, 5).UTC(), netip.MustParseAddr("2001:db8::1")}
	return &sample{Bool: true, Int: -5, Small: -128, Uint: 1<<64 - 1, Word: 65535, Text: "h\x00i", Body: []byte("body"),
		Empty: []byte{}, List: []string{"", "b"}, Structs: []inner{in, {}}, Ptr: &in, Ptrs: []*inner{nil, &in}, Wait: time.Hour}
}

func TestCodecRoundTrip(t *testing.T) {
	var c codec
	for _, want := range []*sample{full(), {}} {
		b, err := c.marshal(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got := new(sample)
		if err := c.unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		for i := range b {
			if err := c.unmarshal(b[:i], new(sample)); err == nil {
				t.Errorf("the first %d of %d octets were accepted", i, len(b))
			}
		}
		if err := c.unmarshal(append(b, 0), new(sample)); err == nil {
			t.Error("a trailing octet was accepted")
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	var c codec
	for _, v := range []any{&struct{ M map[string]int }{}, &struct{ I any }{}, &struct{ f int }{}, &struct{ F float64 }{}} {
		if _, err := c.marshal(nil, v); err == nil {
			t.Errorf("%T was sent", v)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	var c codec
	b, _ := c.marshal(nil, full())
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := new(sample)
		if c.unmarshal(b, v) != nil {
			return
		}
		again, err := c.marshal(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		w := new(sample)
		if err := c.unmarshal(again, w); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

// couple gives the two ends of a connection; the first serves with handle.
func couple(t testing.TB, handle func(*Request)) (server, client *Conn) {
	return couple2(t, handle, func(*Request) {})
}

// couple2 serves both ends.
func couple2(t testing.TB, atServer, atClient func(*Request)) (server, client *Conn) {
	a, b, err := reexec.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	if server, err = FromFile(a); err != nil {
		t.Fatal(err)
	}
	if client, err = FromFile(b); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(atServer) })
	done.Go(func() { _ = client.Serve(atClient) })
	t.Cleanup(func() { client.Close(); server.Close(); done.Wait() })
	return server, client
}

func TestCalls(t *testing.T) {
	_, client := couple(t, func(r *Request) {
		var in inner
		if err := r.Decode(&in); err != nil {
			r.Fail(err)
			return
		}
		if in.Name == "fail" {
			r.Go(func() { r.Fail(errors.New("as told")) })
			return
		}
		r.Reply(&inner{Name: in.Name + "!"})
	})
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			var out inner
			name := fmt.Sprint(i, strings.Repeat("x", i*100))
			if err := client.Call(t.Context(), 1, &inner{Name: name}, &out); err != nil || out.Name != name+"!" {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	all.Wait()
	var remote *RemoteError
	if err := client.Call(t.Context(), 1, &inner{Name: "fail"}, &inner{}); !errors.As(err, &remote) || remote.Text != "as told" {
		t.Errorf("error: %v", err)
	}
}

func TestFilesComeWithTheirMessage(t *testing.T) {
	_, client := couple(t, func(r *Request) {
		var in inner
		if err := r.Decode(&in); err != nil {
			r.Fail(err)
			return
		}
		files := r.Files()
		if in.Name == "none" {
			if len(files) != 0 {
				r.Fail(errors.New("a file too many"))
				return
			}
			r.Reply(nil)
			return
		}
		if len(files) != 1 {
			r.Fail(fmt.Errorf("%d files", len(files)))
			return
		}
		b, err := io.ReadAll(files[0])
		if err != nil || string(b) != in.Name {
			r.Fail(fmt.Errorf("file holds %q, %v", b, err))
			return
		}
		_, _ = files[0].Seek(0, io.SeekStart)
		r.Reply(nil, files...)
	})
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			name := fmt.Sprint("file ", i)
			f, err := os.Create(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = f.WriteString(name)
			_, _ = f.Seek(0, io.SeekStart)
			back, err := client.CallFiles(t.Context(), 1, &inner{Name: name}, nil, f)
			if err != nil || len(back) != 1 {
				t.Errorf("%s: %v, %d files back", name, err, len(back))
				return
			}
			if b, _ := io.ReadAll(back[0]); string(b) != name {
				t.Errorf("%s: came back as %q", name, b)
			}
			back[0].Close()
		})
		all.Go(func() {
			if err := client.Call(t.Context(), 1, &inner{Name: "none"}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// What one call waited with serves the next one, whatever became of the first.
func TestCallWithin(t *testing.T) {
	held := make(chan *Request, 1)
	server, client := couple(t, func(r *Request) {
		var in inner
		if err := r.Decode(&in); err != nil {
			r.Fail(err)
			return
		}
		switch in.Name {
		case "late":
			r.Later()
			held <- r
		case "fail":
			r.Fail(errors.New("as told"))
		default:
			r.Reply(&inner{Name: in.Name + "!"})
		}
	})
	ask := func(limit time.Duration, name, want string) {
		t.Helper()
		var out inner
		err := client.CallWithin(limit, 1, &inner{Name: name}, &out)
		if got := fmt.Sprint(out.Name, err); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	ask(time.Minute, "a", "a!<nil>")
	ask(time.Minute, "fail", "as told")
	ask(time.Millisecond, "late", context.DeadlineExceeded.Error())
	(<-held).Reply(&inner{Name: "too late"})
	ask(time.Minute, "b", "b!<nil>")
	go func() {
		<-held
		server.Abort()
	}()
	ask(time.Minute, "late", ErrClosed.Error())
	ask(time.Minute, "c", ErrClosed.Error())
}

func TestCallsEndWithTheConnection(t *testing.T) {
	got := make(chan struct{})
	server, client := couple(t, func(r *Request) { r.Go(func() { close(got) }) })
	failed := make(chan error)
	go func() { failed <- client.Call(t.Context(), 1, nil, nil) }()
	<-got
	server.Close()
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("call ended with %v", err)
	}
}

func TestCallIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, client := couple(t, func(r *Request) { cancel() })
	if err := client.Call(ctx, 1, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("call ended with %v", err)
	}
}

func TestCloseSendsWhatWaits(t *testing.T) {
	a, b, err := reexec.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	client, err := FromFile(a)
	if err != nil {
		t.Fatal(err)
	}
	server, err := FromFile(b)
	if err != nil {
		t.Fatal(err)
	}
	const messages = 500
	for range messages {
		if err := client.Send(1, &inner{Name: strings.Repeat("y", 3000)}); err != nil {
			t.Fatal(err)
		}
	}
	go client.Close()
	n := 0
	if err := server.Serve(func(r *Request) { n++ }); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if n != messages {
		t.Errorf("%d of %d messages came", n, messages)
	}
	if err := client.Send(1, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("sent after the end: %v", err)
	}
}

// What a captured peer may send ends the connection, and nothing else.
func TestHostileFrames(t *testing.T) {
	for name, frame := range map[string]string{
		"too long":          "\xff\xff\xff\xff\x00\x01\x00\x00\x00\x00\x00\x00",
		"missing files":     "\x00\x00\x00\x00\x00\x01\x00\x05\x00\x00\x00\x00",
		"unexpected answer": "\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x07",
	} {
		a, b, err := reexec.Socketpair()
		if err != nil {
			t.Fatal(err)
		}
		server, err := FromFile(a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.WriteString(frame); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if err := server.Serve(func(r *Request) { t.Errorf("%s: handled", name) }); err == nil {
			t.Errorf("%s: no error", name)
		}
		server.Close()
	}
}

func BenchmarkCall(b *testing.B) {
	_, client := couple(b, func(r *Request) {
		var s sample
		_ = r.Decode(&s)
		r.Reply(&s)
	})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var s sample
			if err := client.Call(context.Background(), 1, full(), &s); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
