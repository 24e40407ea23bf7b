package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// backend is one implementation under the conformance suite.
type backend struct {
	name    string
	open    func(t *testing.T) Store
	again   func(t *testing.T, s Store) Store // closes and opens; nil: nothing is kept
	rotated func(t *testing.T, s Store)       // after every commit; nil: nothing to do
}

func backends() []backend {
	return []backend{
		{name: "ram", open: func(t *testing.T) Store { return NewRAM(t.TempDir()) }},
		{name: "fs", open: openReal, again: reopenReal},
		{name: "fs written out", open: openReal, again: reopenReal, rotated: func(t *testing.T, s Store) { flush(t, s.(*FS)) }},
		encodedBackend(),
		{name: "memory disk", open: func(t *testing.T) Store { return openMem(t, newMemDisk()) },
			again: func(t *testing.T, s Store) Store {
				closeStore(t, s)
				return openMem(t, s.(*FS).disk.(*memDisk))
			}},
		{name: "program", open: func(t *testing.T) Store { return openSelf(t, t.TempDir()) }, again: reopenSelf},
	}
}

func openReal(t *testing.T) Store {
	return openAt(t, t.TempDir())
}

func openAt(t *testing.T, dir string) *FS {
	t.Helper()
	s, err := OpenFS(dir, Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopenReal(t *testing.T, s Store) Store {
	t.Helper()
	dir := s.(*FS).disk.(*osDisk).root.Name()
	closeStore(t, s)
	return openAt(t, dir)
}

func openMem(t *testing.T, d *memDisk) *FS {
	t.Helper()
	s, err := open(d, Options{SegmentAge: time.Hour}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func closeStore(t *testing.T, s Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// flush ends the segment and writes it out.
func (s *FS) flush() error {
	if err := s.j.rotate(); err != nil {
		return err
	}
	return s.writeOut()
}

func flush(t *testing.T, s *FS) {
	t.Helper()
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
}

func testEnvelope(id envelope.ID, n int) *envelope.Envelope {
	return &envelope.Envelope{
		ID: id, Dispatcher: "out", Type: envelope.MTA, SMTPName: "mx.example.org", Helo: "client.example.net",
		Hostname: "client.example.net", Sockaddr: "192.0.2.1",
		Sender:  address.Address{Local: "sender", Domain: "example.net"},
		Rcpt:    address.Address{Local: fmt.Sprint("rcpt", n), Domain: "example.com"},
		Dest:    address.Address{Local: fmt.Sprint("dest", n), Domain: "example.com"},
		Created: time.Unix(1700000000, 0), TTL: 4 * 24 * time.Hour,
	}
}

func reserve(t *testing.T, s Store) envelope.MessageID {
	t.Helper()
	ids, err := s.Reserve(1)
	if err != nil || len(ids) != 1 || ids[0] == 0 {
		t.Fatalf("Reserve: %v, %v", ids, err)
	}
	return ids[0]
}

// commit commits a message of some envelopes.
func commit(t *testing.T, s Store, body []byte, rcpts int) *Message {
	t.Helper()
	m := &Message{ID: reserve(t, s), Body: body}
	for n := range rcpts {
		m.Envelopes = append(m.Envelopes, testEnvelope(0, n))
	}
	if err := s.Commit(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func text(t testing.TB, e *envelope.Envelope) string {
	t.Helper()
	b, err := e.AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.ID.String() + "\n" + string(b)
}

func readBody(s Store, id envelope.MessageID) ([]byte, error) {
	b, err := s.Body(id)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.File == nil {
		return b.Bytes, nil
	}
	all, err := io.ReadAll(io.NewSectionReader(b.File, 0, b.Size+1))
	if err == nil && int64(len(all)) != b.Size {
		err = fmt.Errorf("%d octets, Size says %d", len(all), b.Size)
	}
	return all, err
}

// has checks that a message is there as it was committed.
func has(t *testing.T, s Store, m *Message, body []byte) {
	t.Helper()
	got, err := readBody(s, m.ID)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("body of %d octets, %v; want %d", len(got), err, len(body))
	}
	for _, e := range m.Envelopes {
		got, err := s.Envelope(e.ID)
		if err != nil {
			t.Errorf("envelope %v: %v", e.ID, err)
		} else if text(t, got) != text(t, e) {
			t.Errorf("envelope %v is\n%swant\n%s", e.ID, text(t, got), text(t, e))
		}
	}
}

// loads gives the envelopes of Load by their ids.
func loads(t *testing.T, s Store) map[envelope.ID]*envelope.Envelope {
	t.Helper()
	all := make(map[envelope.ID]*envelope.Envelope)
	err := s.Load(func(e *envelope.Envelope) error {
		if all[e.ID] != nil {
			t.Errorf("envelope %v loaded twice", e.ID)
		}
		all[e.ID] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestConformance(t *testing.T) {
	for _, b := range backends() {
		t.Run(b.name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, backend){
				"bodies": testBodies, "streamed": testStreamed, "changes": testChanges, "ids": testIDs,
				"refusals": testRefusals, "concurrent": testConcurrent, "closed": testClosed, "partial": testPartial,
			} {
				t.Run(name, func(t *testing.T) { test(t, b) })
			}
		})
	}
}

// settle writes everything out where the backend does such a thing.
func (b backend) settle(t *testing.T, s Store) {
	if b.rotated != nil {
		b.rotated(t, s)
	}
}

// reopened gives the store after a restart, loaded, and whether there is such a thing.
func (b backend) reopened(t *testing.T, s Store) (Store, map[envelope.ID]*envelope.Envelope, bool) {
	if b.again == nil {
		return s, nil, false
	}
	s = b.again(t, s)
	return s, loads(t, s), true
}

func testBodies(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	bodies := map[*Message][]byte{}
	for _, size := range []int{0, 1, 4096, smallBody, smallBody + 1, 3 << 20} {
		for _, rcpts := range []int{1, 30} {
			body := bytes.Repeat([]byte("text\n"), size/5+1)[:size]
			bodies[commit(t, s, body, rcpts)] = body
		}
	}
	b.settle(t, s)
	for m, body := range bodies {
		has(t, s, m, body)
	}
	s, all, ok := b.reopened(t, s)
	if !ok {
		return
	}
	for m, body := range bodies {
		has(t, s, m, body)
		for _, e := range m.Envelopes {
			if all[e.ID] == nil || text(t, all[e.ID]) != text(t, e) {
				t.Errorf("envelope %v was not loaded as it was", e.ID)
			}
			delete(all, e.ID)
		}
	}
	if len(all) > 0 {
		t.Errorf("%d envelopes loaded that nobody committed", len(all))
	}
}

func testStreamed(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	body := bytes.Repeat([]byte("a streamed line\n"), 100000)
	m := &Message{ID: reserve(t, s), Size: int64(len(body)), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	if err := s.Commit(m); !errors.Is(err, ErrNotFound) {
		t.Errorf("commit without a file: %v", err)
	}
	write := func(body []byte) {
		f, err := s.Create(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := s.Create(m.ID); err == nil {
			t.Error("a second file for one message")
		}
		if _, err := f.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	write(body[:len(body)-1])
	if err := s.Commit(m); !errors.Is(err, ErrSize) || Temporary(err) {
		t.Errorf("commit of a short file: %v", err)
	}
	s.Release(m.ID)
	m.ID = reserve(t, s)
	m.Envelopes[0].ID = 0
	write(body)
	if err := s.Commit(m); err != nil {
		t.Fatal(err)
	}
	has(t, s, m, body)
	b.settle(t, s)
	has(t, s, m, body)
	if s, _, ok := b.reopened(t, s); ok {
		has(t, s, m, body)
	}
}

func testChanges(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	m := commit(t, s, []byte("body\n"), 3)
	b.settle(t, s)
	e := m.Envelopes
	e[0].Retry, e[0].ErrorLine = 1, "451 4.7.1 try later"
	bounce := testEnvelope(envelope.NewID(m.ID, 0), 9)
	bounce.Type, bounce.BounceType = envelope.Bounce, envelope.BounceFailed
	err := s.Apply([]Change{{Op: Update, Envelope: e[0]}, {Op: Remove, ID: e[1].ID}, {Op: Add, Envelope: bounce}})
	if err != nil {
		t.Fatal(err)
	}
	if uint32(bounce.ID) == 0 {
		t.Fatal("a new envelope has no id")
	}
	now := &Message{ID: m.ID, Envelopes: []*envelope.Envelope{e[0], e[2], bounce}}
	for range 2 {
		has(t, s, now, []byte("body\n"))
		if _, err := s.Envelope(e[1].ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("a removed envelope: %v", err)
		}
		b.settle(t, s)
	}
	s, all, ok := b.reopened(t, s)
	if ok && len(all) != 3 {
		t.Errorf("%d envelopes loaded", len(all))
	}
	has(t, s, now, []byte("body\n"))
	for _, e := range now.Envelopes {
		if err := s.Apply([]Change{{Op: Remove, ID: e.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Body(m.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a message without envelopes: %v", err)
	}
	if _, all, _ := b.reopened(t, s); len(all) > 0 {
		t.Errorf("%d envelopes came back", len(all))
	}
}

func testIDs(t *testing.T, b backend) {
	s := b.open(t)
	ids, err := s.Reserve(1000)
	if err != nil {
		t.Fatal(err)
	}
	more, err := s.Reserve(1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[envelope.MessageID]bool)
	for _, id := range append(ids, more...) {
		if id == 0 || seen[id] {
			t.Fatalf("id %v given twice or zero", id)
		}
		seen[id] = true
	}
	s.Release(ids...)
	if _, err := s.Create(ids[0]); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file for a released id: %v", err)
	}
	m := commit(t, s, []byte("x"), 1)
	again := &Message{ID: m.ID, Body: []byte("y"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	if err := s.Commit(again); !errors.Is(err, ErrExists) {
		t.Errorf("second commit of an id: %v", err)
	}
	b.settle(t, s)
	if err := s.Commit(again); !errors.Is(err, ErrExists) {
		t.Errorf("second commit of an id: %v", err)
	}
	has(t, s, m, []byte("x"))
}

func testRefusals(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	good := commit(t, s, []byte("good\n"), 2)
	evil := testEnvelope(0, 1)
	evil.Helo = "a\nmda-exec: b"
	foreign := testEnvelope(envelope.NewID(good.ID+1, 7), 1)
	long := testEnvelope(0, 1)
	long.Tag = string(bytes.Repeat([]byte("x"), envelope.MaxText))
	id := reserve(t, s)
	many := make([]*envelope.Envelope, MaxEnvelopes+1)
	for i := range many {
		many[i] = testEnvelope(0, i)
	}
	for name, list := range map[string][]*envelope.Envelope{
		"none": nil, "control character": {testEnvelope(0, 0), evil}, "foreign id": {foreign}, "too long": {long},
		"double id": {testEnvelope(envelope.NewID(id, 1), 1), testEnvelope(envelope.NewID(id, 1), 2)}, "too many": many,
	} {
		if err := s.Commit(&Message{ID: id, Body: []byte("x"), Envelopes: list}); err == nil || Temporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := testEnvelope(envelope.NewID(id, 5), 1)
	evil.ID = good.Envelopes[0].ID
	for name, changes := range map[string][]Change{
		"update of what is not there": {{Op: Update, Envelope: unknown}},
		"add to what is not there":    {{Op: Add, Envelope: unknown}},
		"no envelope":                 {{Op: Update}},
		"no operation":                {{Envelope: good.Envelopes[0]}},
		"no id":                       {{Op: Remove}},
		"control character":           {{Op: Remove, ID: good.Envelopes[1].ID}, {Op: Update, Envelope: evil}},
	} {
		if err := s.Apply(changes); err == nil || Temporary(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Apply([]Change{{Op: Remove, ID: unknown.ID}}); err != nil {
		t.Errorf("removal of what is not there: %v", err)
	}
	if err := s.Apply(nil); err != nil {
		t.Errorf("no changes: %v", err)
	}
	if _, err := s.Body(id); !errors.Is(err, ErrNotFound) {
		t.Errorf("body of what is not there: %v", err)
	}
	has(t, s, good, []byte("good\n"))
	if err := s.Commit(&Message{ID: id, Body: []byte("x"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}); err != nil {
		t.Errorf("a refused id cannot be used again: %v", err)
	}
}

// testPartial applies changes of which some cannot be written: those of other messages are made.
func testPartial(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	var all []*Message
	for range 3 {
		all = append(all, commit(t, s, []byte("x\n"), 2))
	}
	b.settle(t, s)
	evil := testEnvelope(all[1].Envelopes[1].ID, 1)
	evil.Helo = "a\nb"
	worse := testEnvelope(all[1].Envelopes[0].ID, 1)
	worse.Tag = string(bytes.Repeat([]byte("x"), envelope.MaxText))
	err := s.Apply([]Change{
		{Op: Remove, ID: all[0].Envelopes[0].ID},
		{Op: Remove, ID: all[1].Envelopes[0].ID}, {Op: Update, Envelope: evil},
		{Op: Remove, ID: all[2].Envelopes[0].ID},
		{Op: Update, Envelope: worse},
		{Op: Remove, ID: all[2].Envelopes[1].ID},
	})
	if err == nil || Temporary(err) || !strings.Contains(err.Error(), evil.ID.String()) {
		t.Errorf("Apply: %v", err)
	}
	has(t, s, all[1], []byte("x\n"))
	for _, id := range []envelope.ID{all[0].Envelopes[0].ID, all[2].Envelopes[0].ID, all[2].Envelopes[1].ID} {
		if _, err := s.Envelope(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v is still there: %v", id, err)
		}
	}
}

// TestApplyLarge applies changes of one message that are too many for a record, among others.
func TestApplyLarge(t *testing.T) {
	s := openMem(t, newMemDisk())
	first, big, last := commit(t, s, []byte("x\n"), 1), commit(t, s, []byte("x\n"), 1), commit(t, s, []byte("x\n"), 1)
	changes := []Change{{Op: Remove, ID: first.Envelopes[0].ID}}
	e := testEnvelope(big.Envelopes[0].ID, 1)
	e.Tag = strings.Repeat("x", envelope.MaxText/2)
	for range maxOps/(envelope.MaxText/2) + 1 {
		changes = append(changes, Change{Op: Update, Envelope: e})
	}
	changes = append(changes, Change{Op: Remove, ID: last.Envelopes[0].ID})
	if err := s.Apply(changes); !errors.Is(err, ErrTooMany) || Temporary(err) {
		t.Errorf("Apply: %v", err)
	}
	if got, err := s.Envelope(e.ID); err != nil || got.Tag != "" {
		t.Errorf("it was changed in part: %v", err)
	}
	for _, m := range []*Message{first, last} {
		if _, err := s.Envelope(m.Envelopes[0].ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v is still there: %v", m.ID, err)
		}
	}
}

func testConcurrent(t *testing.T, b backend) {
	s := b.open(t)
	loads(t, s)
	var group sync.WaitGroup
	kept := make([]*Message, 8)
	for i := range kept {
		group.Go(func() {
			for n := range 20 {
				m := commit(t, s, []byte(fmt.Sprint(i, n)), 2)
				if n%5 == 0 {
					b.settle(t, s)
				}
				has(t, s, m, []byte(fmt.Sprint(i, n)))
				if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[0].ID}}); err != nil {
					t.Error(err)
				}
				if n == 19 {
					kept[i] = &Message{ID: m.ID, Envelopes: m.Envelopes[1:]}
					continue
				}
				if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[1].ID}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if t.Failed() {
		return
	}
	s, all, ok := b.reopened(t, s)
	if ok && len(all) != len(kept) {
		t.Errorf("%d envelopes loaded, want %d", len(all), len(kept))
	}
	for i, m := range kept {
		has(t, s, m, []byte(fmt.Sprint(i, 19)))
	}
}

func testClosed(t *testing.T, b backend) {
	s := b.open(t)
	id := reserve(t, s)
	closeStore(t, s)
	if err := s.Commit(&Message{ID: id, Body: []byte("x"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}); err == nil {
		t.Error("commit after the end")
	}
	if err := s.Apply([]Change{{Op: Remove, ID: envelope.NewID(id, 1)}}); err == nil {
		t.Error("change after the end")
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

func TestNull(t *testing.T) {
	s := NewNull(t.TempDir())
	m := commit(t, s, []byte("x"), 2)
	if uint32(m.Envelopes[1].ID) == 0 {
		t.Error("no id was given")
	}
	if _, err := s.Body(m.ID); !errors.Is(err, ErrNotFound) {
		t.Error("something was kept")
	}
	f, err := s.Create(m.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if err := s.Apply([]Change{{Op: Remove, ID: m.Envelopes[0].ID}}); err != nil {
		t.Error(err)
	}
}
