package daemon

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/trace"
)

// TestLists reads lists of many pages, several at the same time, of which some are given up: each has every envelope
// of its range once and in order.
func TestLists(t *testing.T) {
	store, err := queue.OpenFS(t.TempDir(), queue.Options{}, trace.New(new(watch)))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	q := newQueue(&member{}, t.TempDir())
	q.store, q.sched = store, scheduler.New(scheduler.Limits{}, time.Now)
	close(q.loaded)
	settings := new(queueSettings)
	settings.Scheduler = config.SchedulerLimits{MaxEvpBatchSize: 100, MaxMsgBatchSize: 1000}
	q.cfg.Store(settings)
	all := q.deferred(t, 6, 1000)
	client, end := asking(t, func(r *ipc.Request) { r.Go(func() { q.admin(r) }) })
	defer end()

	list := func(rng scheduler.Range, pages int) (got []envelope.ID) {
		for range pages {
			var page control.QueuePage
			req := control.Request{Op: control.ShowQueue, First: rng.First, Last: rng.Last}
			if err := client.Call(t.Context(), kindAdmin, &adminRequest{Request: req}, &page); err != nil {
				t.Error(err)
				return got
			}
			for line := range bytes.Lines(page.Lines) {
				id, err := envelope.ParseID(string(line[:16]))
				if err != nil {
					t.Error(err)
				}
				got = append(got, id)
			}
			if rng.First = page.Next; rng.First == 0 {
				return got
			}
		}
		return got
	}
	var lists sync.WaitGroup
	for range 4 {
		lists.Go(func() {
			for range 2 {
				list(scheduler.Range{First: all[rand.IntN(len(all))], Last: ^envelope.ID(0)}, 2) // and given up
				i := rand.IntN(len(all))
				want := all[i:]
				if got := list(scheduler.Range{First: all[i], Last: ^envelope.ID(0)}, len(all)); !slices.Equal(got, want) {
					t.Errorf("%d envelopes, want %d", len(got), len(want))
				}
			}
		})
	}
	lists.Wait()
	if n := len(list(scheduler.Range{Last: ^envelope.ID(0)}, 1)); n == len(all) || n == 0 {
		t.Errorf("one page has %d envelopes", n)
	}
}

// deferred fills a queue with messages of so many recipients, and gives the envelopes in order.
func (q *queueRole) deferred(t *testing.T, messages, recipients int) (all []envelope.ID) {
	t.Helper()
	ids, err := q.store.Reserve(messages)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m := &queue.Message{ID: id, Body: []byte("Subject: x\n\n")}
		for n := range recipients {
			m.Envelopes = append(m.Envelopes, &envelope.Envelope{ID: envelope.NewID(id, uint32(n+1)), Dispatcher: "out", Type: envelope.MTA,
				Created: time.Now(), TTL: time.Hour, ErrorLine: "451 4.7.1 Try again later"})
		}
		if err := q.store.Commit(m); err != nil {
			t.Fatal(err)
		}
		for _, e := range m.Envelopes {
			q.sched.Add(scheduler.Entry{ID: e.ID, Kind: scheduler.Relay, Group: "out", Due: time.Now().Add(time.Hour), Expires: time.Now().Add(2 * time.Hour)})
			all = append(all, e.ID)
		}
	}
	slices.Sort(all)
	return all
}
