package daemon

import (
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/trace"
)

// refusing is a store that records no results as long as an error is in refuse.
type refusing struct {
	queue.Store
	refuse chan error  // what Apply gives; closed: it works
	read   chan func() // called by Envelope
}

func (s *refusing) Apply(changes []queue.Change) error {
	if err := <-s.refuse; err != nil {
		return err
	}
	return s.Store.Apply(changes)
}

func (s *refusing) Envelope(id envelope.ID) (*envelope.Envelope, error) {
	(<-s.read)()
	return s.Store.Envelope(id)
}

// Body makes every delivery fail for now.
func (s *refusing) Body(envelope.MessageID) (queue.Body, error) { return queue.Body{}, queue.ErrClosed }

// While results cannot be recorded no delivery is begun; when they can, all are.
func TestNothingBegunUnrecorded(t *testing.T) {
	const messages = 20
	log := &watch{more: make(chan struct{})}
	q := newQueue(&member{log: trace.New(log)}, t.TempDir())
	s := &refusing{Store: queue.NewRAM(t.TempDir()), refuse: make(chan error), read: make(chan func())}
	q.store, q.sched = s, scheduler.New(scheduler.Limits{}, time.Now)
	settings := &queueSettings{}
	settings.Scheduler.MaxSchedule = 1
	settings.actions = map[string]*config.Action{"out": {Name: "out", Method: config.RelayMethod}}
	settings.Schedule = []time.Duration{time.Hour}
	q.cfg.Store(settings)
	for i := range messages {
		id := envelope.MessageID(i + 1)
		e := &envelope.Envelope{ID: envelope.NewID(id, 1), Type: envelope.MTA, Dispatcher: "out", Created: time.Now(), TTL: time.Hour}
		if err := s.Commit(&queue.Message{ID: id, Body: []byte("x\n"), Envelopes: []*envelope.Envelope{e}}); err != nil {
			t.Fatal(err)
		}
		q.enqueue(e, true)
	}
	q.running.Go(q.schedule)
	q.running.Go(q.settle)
	t.Cleanup(func() { q.stop(); q.running.Wait() })
	for range 2 {
		s.read <- func() {}
	}
	s.refuse <- queue.ErrNoSpace
	log.wait(t, 0, "results cannot be recorded")
	begun := 2
	for refused := 0; refused < 2; {
		select {
		case s.read <- func() {}:
			begun++
		case s.refuse <- queue.ErrNoSpace:
			refused++
		}
	}
	if begun > 3 { // the third one was on its way
		t.Errorf("%d deliveries were begun", begun)
	}
	close(s.refuse)
	for range messages - begun {
		s.read <- func() {}
	}
	log.wait(t, 0, "results can be recorded again")
	if n := log.count("cannot be recorded"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// An agent begins nothing meanwhile, and goes on.
func TestAgentsWaitForRecording(t *testing.T) {
	q := newQueue(&member{}, t.TempDir())
	l := &line{jobs: make([]delivery, 2), agents: 1, more: make(chan struct{}, 1)}
	q.agents.byKey[agentKey{}] = l
	settings := &queueSettings{}
	settings.MDA.MaxSession, settings.MDA.MaxSessionPerUser = 1, 1
	q.cfg.Store(settings)
	q.agents.places = 1
	ag := &agent{line: l}
	q.recording.change(1)
	for _, over := range []bool{false, true} {
		if _, ok, end := q.agents.look(ag, over); ok || end {
			t.Errorf("look: %v, %v", ok, end)
		}
	}
	q.recording.change(-1)
	q.agents.wakeAll()
	if _, ok := q.agents.next(ag); !ok {
		t.Error("there is nothing to do")
	}
	q.agents.mu.Lock()
	defer q.agents.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
