package queue

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

// oracle knows which states every message may be in, from what was asked of a store and what it
// answered.
type oracle struct {
	mu   sync.Mutex
	msgs map[envelope.MessageID]known
}

// known is what an oracle knows of one message. It is not changed, but replaced.
type known struct {
	body []byte
	may  []state
	any  bool // it was put there by hand and is not taken in yet
}

// state is the texts of a message's envelopes; none: it is not there.
type state map[envelope.ID]string

func newOracle() *oracle { return &oracle{msgs: make(map[envelope.MessageID]known)} }

// clone gives what is known now.
func (o *oracle) clone() *oracle {
	o.mu.Lock()
	defer o.mu.Unlock()
	return &oracle{msgs: maps.Clone(o.msgs)}
}

func (o *oracle) set(id envelope.MessageID, k known) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.msgs[id] = k
}

// try runs a change of one message. While it runs and after an error that is Temporary it may have
// been made or not; without an error it was made.
func (o *oracle) try(id envelope.MessageID, body []byte, change func(state) state, run func() error) error {
	o.mu.Lock()
	before := o.msgs[id]
	if before.may == nil {
		before = known{body: body, may: []state{{}}}
	}
	after := known{body: before.body}
	for _, s := range before.may {
		after.may = append(after.may, change(maps.Clone(s)))
	}
	o.msgs[id] = known{body: before.body, may: unique(append(slices.Clone(before.may), after.may...))}
	o.mu.Unlock()
	err := run()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.msgs[id] = known{body: after.body, may: unique(after.may)}
	case !Temporary(err):
		o.msgs[id] = before
	}
	return err
}

func unique(list []state) (out []state) {
	for _, s := range list {
		if !slices.ContainsFunc(out, func(o state) bool { return maps.Equal(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}

// plain gives the text of an envelope, whatever its id.
func plain(e *envelope.Envelope) string {
	b, err := e.AppendText(nil)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// changed gives what changes of one message make of it.
func changed(changes []Change) func(state) state {
	texts := make([]string, len(changes))
	for i, c := range changes {
		if c.Op != Remove {
			texts[i] = plain(c.Envelope)
		}
	}
	return func(s state) state {
		for i, c := range changes {
			if c.Op == Remove {
				delete(s, c.ID)
				continue
			}
			_, there := s[c.Envelope.ID]
			if there || c.Op == Add && len(s) > 0 {
				s[c.Envelope.ID] = texts[i]
			}
		}
		return s
	}
}

func (o *oracle) commit(s *FS, m *Message, body []byte) error {
	whole := make(state)
	for _, e := range m.Envelopes {
		whole[e.ID] = plain(e)
	}
	return o.try(m.ID, body, func(state) state { return maps.Clone(whole) }, func() error { return s.Commit(m) })
}

// apply makes changes of one message.
func (o *oracle) apply(s *FS, changes ...Change) error {
	return o.try(changeMessage(changes[0]), nil, changed(changes), func() error { return s.Apply(changes) })
}

// sees loads a store and compares. What was there is from now on what has to be there: the
// caller acts on it.
func (o *oracle) sees(s *FS) error {
	found := make(map[envelope.MessageID]state)
	err := s.Load(func(e *envelope.Envelope) error {
		m := found[e.ID.Message()]
		if m == nil {
			m = make(state)
			found[e.ID.Message()] = m
		}
		if _, twice := m[e.ID]; twice {
			return fmt.Errorf("%v is there twice", e.ID)
		}
		m[e.ID] = plain(e)
		return nil
	})
	if err != nil {
		return err
	}
	then := o.clone() // the disk is not looked at under the lock: whoever cuts the power has it too
	for id := range found {
		if _, ok := then.msgs[id]; !ok {
			return fmt.Errorf("message %v was never committed", id)
		}
	}
	for id, k := range then.msgs {
		if err := k.is(s, id, found[id]); err != nil {
			return fmt.Errorf("message %v: %w", id, err)
		}
		if !k.any {
			then.msgs[id] = known{body: k.body, may: []state{found[id]}}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.msgs = then.msgs
	return nil
}

// is compares a message that was found.
func (k known) is(s *FS, id envelope.MessageID, found state) error {
	if k.any {
		return nil
	}
	if !slices.ContainsFunc(k.may, func(m state) bool { return maps.Equal(m, found) }) {
		return fmt.Errorf("found %v, want one of %v", found, k.may)
	}
	body, err := readBody(s, id)
	if len(found) == 0 && errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("its text: %w", err)
	}
	if !bytes.Equal(body, k.body) {
		return fmt.Errorf("its text has %d octets, not %d, or others", len(body), len(k.body))
	}
	return nil
}

// String tells states apart.
func (s state) String() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s)) {
		_, retry, _ := strings.Cut(s[id], "retry: ")
		fmt.Fprintf(&b, "%x/%.1s ", uint32(id), retry)
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}
