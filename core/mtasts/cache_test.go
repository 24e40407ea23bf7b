package mtasts

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// memory is a File.
type memory struct {
	b   []byte
	err error
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	m.b = append(m.b[:off], p...)
	return len(p), nil
}

func (m *memory) Truncate(size int64) error { m.b = m.b[:size]; return nil }
func (*memory) Sync() error                 { return nil }
func (*memory) Close() error                { return nil }

// world is the DNS, the web and the time.
type world struct {
	mu      sync.Mutex
	now     time.Time
	record  string
	policy  Policy
	err     error
	fetches int
}

func newWorld() *world {
	return &world{now: time.Unix(1e9, 0), record: "v=STSv1; id=1;", policy: Policy{Enforce, 240 * time.Hour, []string{"mx.example"}}}
}

func (w *world) cache(store *Store) *Cache {
	return New(Options{Store: store, Log: trace.New(nil),
		TXT: func(_ context.Context, name string) ([]string, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if name != "_mta-sts.example.com" || w.record == "" {
				return nil, errors.New("no such name")
			}
			return []string{w.record}, nil
		},
		Fetch: func(context.Context, string) (Policy, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.fetches++
			return w.policy, w.err
		},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		}})
}

func (w *world) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// settled looks a domain up and waits for what that began.
func settled(t *testing.T, c *Cache) Policy {
	p, _ := c.Lookup(t.Context(), "example.com")
	c.work.Wait()
	return p
}

func TestCache(t *testing.T) {
	w := newWorld()
	c := w.cache(nil)
	defer c.Close()
	steps := []struct {
		name    string
		before  func()
		want    Mode // of the first answer
		then    Mode // of the next one
		fetches int  // in all
	}{
		{"first", func() {}, Enforce, Enforce, 1},
		{"known", func() { w.now = w.now.Add(time.Minute) }, Enforce, Enforce, 1},
		{"record looked at again", func() { w.now = w.now.Add(time.Hour) }, Enforce, Enforce, 1},
		{"another policy without another id", func() { w.policy.Mode, w.now = Testing, w.now.Add(time.Hour) }, Enforce, Enforce, 1},
		{"another id", func() { w.record, w.now = "v=STSv1; id=2;", w.now.Add(time.Hour) }, Enforce, Testing, 2},
		{"a day later", func() { w.policy.Mode, w.now = Enforce, w.now.Add(25*time.Hour) }, Testing, Enforce, 3},
		{"fetching fails", func() { w.record, w.err, w.now = "v=STSv1; id=3;", errors.New("down"), w.now.Add(time.Hour) }, Enforce, Enforce, 4},
		{"not tried again at once", func() { w.now = w.now.Add(time.Minute) }, Enforce, Enforce, 4},
		{"tried again", func() { w.now = w.now.Add(time.Hour) }, Enforce, Enforce, 5},
		{"record gone", func() { w.record, w.now = "", w.now.Add(time.Hour) }, Enforce, Enforce, 5},
		{"expired", func() { w.now = w.now.Add(240 * time.Hour) }, None, None, 5},
		{"announced, fetching fails", func() { w.record = "v=STSv1; id=4;" }, None, None, 6},
		{"not tried again at once, without a policy", func() {}, None, None, 6},
		{"back", func() { w.err, w.now = nil, w.now.Add(time.Hour) }, Enforce, Enforce, 7},
		{"withdrawn", func() {
			w.policy, w.record, w.now = Policy{Mode: None, MaxAge: time.Hour}, "v=STSv1; id=5;", w.now.Add(time.Hour)
		}, Enforce, None, 8},
	}
	for _, s := range steps {
		w.change(s.before)
		if p := settled(t, c); p.Mode != s.want {
			t.Errorf("%s: %+v, want %s", s.name, p, s.want)
		}
		if p := settled(t, c); p.Mode != s.then {
			t.Errorf("%s: then %+v, want %s", s.name, p, s.then)
		}
		if w.fetches != s.fetches {
			t.Errorf("%s: %d fetches, want %d", s.name, w.fetches, s.fetches)
		}
	}
	if p, why := c.Lookup(t.Context(), "other.example"); p.Mode != None || why != "no policy of other.example" {
		t.Error(p, why)
	}
}

// TestRestart: what is known is known afterwards, and expires all the same.
func TestRestart(t *testing.T) {
	a, b := &memory{}, &memory{}
	w := newWorld()
	c := w.cache(NewStore(a, b))
	settled(t, c)
	c.Close()
	w.change(func() { w.record, w.err = "", errors.New("down") })
	for _, tt := range []struct {
		later time.Duration
		want  Mode
	}{{time.Hour, Enforce}, {239 * time.Hour, None}} {
		w.change(func() { w.now = w.now.Add(tt.later) })
		c := w.cache(NewStore(a, b))
		if p := settled(t, c); p.Mode != tt.want || p.Mode == Enforce && !p.Allows("mx.example") {
			t.Errorf("%v later: %+v", tt.later, p)
		}
		c.Close()
	}
	if w.fetches != 1 {
		t.Errorf("%d fetches", w.fetches)
	}
}

// TestStore: of two files the newer whole one counts.
func TestStore(t *testing.T) {
	a, b := &memory{}, &memory{}
	s := NewStore(a, b)
	at := time.Unix(1e9, 0)
	for i, domain := range []string{"one.example", "two.example", "three.example"} {
		e := entry{Policy: Policy{Testing, time.Hour, []string{"*.x.example", "y.example"}}, id: "a", fetched: at.Add(time.Duration(i))}
		if err := s.save(map[string]entry{domain: e}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name   string
		damage func()
		want   string // domain
		fails  bool
	}{
		{"whole", func() {}, "three.example", false},
		{"cut", func() { b.b = b.b[:len(b.b)-3] }, "two.example", false},
		{"both", func() { a.b[0] = 'X' }, "", true},
		{"empty", func() { a.b, b.b = nil, nil }, "", false},
	} {
		step.damage()
		got, err := NewStore(a, b).load()
		if (err != nil) != step.fails || len(got) > 1 || step.want != "" && got[step.want] == nil {
			t.Errorf("%s: %v %v", step.name, got, err)
		}
	}
	s = NewStore(a, &memory{err: errors.New("disk full")})
	if err := s.save(nil); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Error(err)
	}
}

// TestManyDomains: the number is bounded, and domains with a policy stay.
func TestManyDomains(t *testing.T) {
	w := newWorld()
	c := w.cache(nil)
	defer c.Close()
	now := w.now
	for range maxDomains + 100 {
		c.mu.Lock()
		c.add(strings.Repeat("x", len(c.entries)%60)+time.Now().String(), now)
		c.mu.Unlock()
	}
	if len(c.entries) > maxDomains {
		t.Error(len(c.entries))
	}
}
