package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/trace"
)

// TestClockBetweenStarts finds a queue that was written when the clock showed another day: what was tried once waits no
// longer than after an attempt now, nothing is given up, no line of the list shows a time to come, and all is delivered when
// somebody asks for it. A clock that leaps while the daemon runs is TestClockLeaps of core/scheduler, whose clock can be moved.
func TestClockBetweenStarts(t *testing.T) {
	const day = 24 * time.Hour
	for name, leap := range map[string]time.Duration{"set back a day": day, "set forward a day": -day, "set back ten years": 3650 * day} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil, localConf)
			then := time.Now().Add(leap).Truncate(time.Second)
			l.queued(then)
			l.begin()
			listed := l.queue(1)[0]
			if now := time.Now().Unix(); listed.Created > now || listed.LastTry > now || listed.Expires <= now || listed.Seconds > int64(4*time.Hour/time.Second) {
				t.Errorf("the list has %+v at %d", listed, now)
			}
			if err := l.ask(control.Request{Op: control.Schedule, Last: ^envelope.ID(0)}, new(control.Count)); err != nil {
				t.Fatal(err)
			}
			l.log.wait(t, 0, `mda delivery .* to=<joe@example.org> .* result=Ok`)
			if got := l.maildir("joe"); len(got) != 1 {
				t.Errorf("%d messages", len(got))
			}
		})
	}
}

// queued leaves a message in the spool that was tried once, at a time.
func (l *lab) queued(at time.Time) {
	l.t.Helper()
	spool := filepath.Join(l.dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		l.t.Fatal(err)
	}
	s, err := queue.OpenFS(spool, queue.Options{}, trace.New(l.log))
	if err != nil {
		l.t.Fatal(err)
	}
	ids, err := s.Reserve(1)
	if err != nil {
		l.t.Fatal(err)
	}
	joe := address.Address{Local: "joe", Domain: "example.org"}
	e := &envelope.Envelope{ID: envelope.NewID(ids[0], 1), Dispatcher: "local", Type: envelope.MDA, SMTPName: "mx.example.org", Helo: "client",
		Hostname: "client", Sockaddr: "192.0.2.1", Sender: address.Address{Local: "ann", Domain: "example.net"}, Rcpt: joe, Dest: joe,
		MDAUser: "joe", Created: at, LastTry: at, Retry: 1, TTL: 4 * 24 * time.Hour}
	err = s.Commit(&queue.Message{ID: ids[0], Body: fmt.Appendf(nil, "Subject: %s\n\n", at), Envelopes: []*envelope.Envelope{e}})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}
