package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// states waits until the queue is in these states, in the order of the ids, and gives it.
func (l *lab) states(want ...string) []queueLine {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		entries := l.listed()
		var got []string
		for i := range entries {
			got = append(got, entries[i].State)
		}
		if strings.Join(got, " ") == strings.Join(want, " ") {
			return entries
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("the queue is %q, want %q", got, want)
		}
	}
}

// heldFor waits until the only envelope is held for that reason, and gives it.
func (l *lab) heldFor(why string) queueLine {
	l.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		e := l.states("held")[0]
		if e.ErrorLine == why {
			return e
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("entry %+v, want %q", e, why)
		}
	}
}

// reconfigure writes a configuration and lets the daemon take it.
func (l *lab) reconfigure(conf string) {
	l.t.Helper()
	from := l.log.len()
	l.write(strings.ReplaceAll(conf, "PORT", strings.TrimPrefix(l.addr, "127.0.0.1:")))
	l.reload <- struct{}{}
	l.log.wait(l.t, from, `info: configuration reloaded`)
}

// relaunch stops the daemon and starts it again.
func (l *lab) relaunch() {
	l.t.Helper()
	if err := l.stop(); err != nil {
		l.t.Fatal(err)
	}
	l.launch()
	stop := l.stop
	l.t.Cleanup(func() { _ = stop() })
}

// do asks for what changes something, and fails the test unless the answer is that error.
func (l *lab) do(op control.Op, first, last envelope.ID, name, wantErr string) (n uint64) {
	l.t.Helper()
	var count control.Count
	err := l.ask(control.Request{Op: op, First: first, Last: last, Name: name}, &count)
	if err == nil && count.N == 0 && count.Error != "" {
		err = errors.New(count.Error)
	}
	if count.Next != 0 {
		l.t.Errorf("request %d: the rest begins at %s", op, count.Next)
	}
	if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
		l.t.Errorf("request %d with %q: %v, want %q", op, name, err, wantErr)
	}
	return count.N
}

func (l *lab) must(op control.Op) {
	l.t.Helper()
	if err := l.ask(control.Request{Op: op, Last: ^envelope.ID(0)}, nil); err != nil {
		l.t.Fatal(err)
	}
}

// Mail whose action has gone is held and told of, through reloads and a restart, and goes
// on when the action is back.
func TestActionVanishes(t *testing.T) {
	l := start(t, localConf)
	l.must(control.PauseMDA)
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: wait\r\n\r\n")
	l.states("pending")
	renamed := strings.ReplaceAll(localConf, `"local"`, `"other"`)
	l.reconfigure(renamed)
	e := l.heldFor(`no action "local" in the configuration`)
	if !strings.Contains(e.Flags, "hold") {
		t.Errorf("entry %+v", e)
	}
	l.must(control.ResumeMDA)
	if n := l.do(control.Schedule, 0, ^envelope.ID(0), "", ""); n != 0 {
		t.Errorf("%d envelopes without an action are scheduled", n)
	}
	var text control.Text
	if err := l.ask(control.Request{Op: control.ShowEnvelope, First: e.ID, Last: e.ID}, &text); err != nil ||
		!strings.HasSuffix(text.Text, "\nheld: no action \"local\" in the configuration\n") {
		t.Errorf("%v in\n%s", err, text.Text)
	}
	l.relaunch()
	l.states("held")
	// An action of that name that does something else does not get it.
	l.reconfigure(renamed + "action \"local\" relay\n")
	l.heldFor(`action "local" does not deliver here`)
	if _, err := os.Stat(filepath.Join(l.dir, "joe")); err == nil {
		t.Fatal("delivered by an action that is not its own")
	}
	l.reconfigure(localConf)
	l.states()
	if len(l.maildir("joe")) != 1 {
		t.Error("not delivered when the action is back")
	}
}

// Mail that came for an action is not bounced when that goes: its time is that of the queue.
func TestQueueAction(t *testing.T) {
	const head = "listen on 127.0.0.1 port PORT\nqueue ttl 1d\n"
	const conf = head + `
action "out" relay
action "local" maildir userbase <people> ttl 2d
match from any for domain "example.org" action "local"
match from any for any action "out"
`
	l := start(t, conf)
	l.must(control.PauseMDA)
	l.must(control.PauseMTA)
	l.mustSend("ann@example.net", []string{"joe@example.org", "joe+x@example.com", "nobody@example.com"}, "Subject: wait\r\n\r\n")
	l.states("pending", "pending", "pending")
	l.reconfigure(head + `
action "smarthost" relay host smtp://127.0.0.1:1
action "files" maildir userbase <people> ttl 2d
action "aliases" expand-only
match from any for any action "smarthost"
`)
	byDest := map[string]queueLine{}
	for _, e := range l.states("held", "held", "held") {
		byDest[e.Dest] = e
	}
	joe, tagged, nobody := byDest["joe@example.org"].ID, byDest["joe+x@example.com"].ID, byDest["nobody@example.com"].ID
	l.do(control.QueueAction, joe, joe, "nosuch", `no action "nosuch" in the configuration`)
	l.do(control.QueueAction, joe, joe, "aliases", `action "aliases" delivers nothing`)
	l.do(control.QueueAction, 1<<32+1, 1<<32+1, "files", "no such envelope")
	l.do(control.QueueAction, nobody, nobody, "files", "no such user: nobody")
	if n := l.do(control.QueueActionHeld, 0, ^envelope.ID(0), "smarthost", ""); n != 3 {
		t.Errorf("%d envelopes go by another host", n)
	}
	for _, e := range l.states("pending", "pending", "pending") {
		if e.Type != "mta" {
			t.Errorf("entry %+v", e)
		}
	}
	if n := l.do(control.QueueActionHeld, 0, ^envelope.ID(0), "files", ""); n != 0 {
		t.Errorf("%d envelopes are changed that are not held", n)
	}
	l.relaunch() // everything is durable
	l.states("pending", "pending", "pending")
	for _, id := range []envelope.ID{joe, tagged} {
		if n := l.do(control.QueueAction, id, id, "files", ""); n != 1 {
			t.Errorf("%d envelopes", n)
		}
	}
	for _, e := range l.states("pending", "pending", "pending") {
		switch local := e.ID != nobody; {
		case local && (e.Type != "mda" || e.Expires-e.Created != 2*24*60*60), !local && e.Type != "mta":
			t.Errorf("entry %+v", e)
		}
	}
	l.must(control.ResumeMDA)
	l.states("pending")
	if n := len(l.maildir("joe")); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	// What is suspended stays so.
	if n := l.do(control.PauseEnvelope, nobody, nobody, "", ""); n != 1 {
		t.Error("not suspended")
	}
	l.do(control.QueueAction, nobody, nobody, "smarthost", "")
	if e := l.states("pending")[0]; e.Flags != "suspend,hold" {
		t.Errorf("entry %+v", e)
	}
}

// What is paused stays so through a restart, and until somebody resumes it.
func TestPauseSurvives(t *testing.T) {
	l := start(t, localConf)
	l.must(control.PauseMDA)
	l.must(control.PauseMTA)
	for range 2 {
		l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: wait\r\n\r\n")
	}
	entries := l.states("pending", "pending")
	if n := l.do(control.PauseEnvelope, entries[0].ID, entries[0].ID, "", ""); n != 1 {
		t.Errorf("%d envelopes paused", n)
	}
	l.must(control.PauseSMTP)
	l.relaunch()
	var s control.Status
	if err := l.ask(control.Request{Op: control.ShowStatus}, &s); err != nil || !s.MDA || !s.MTA || !s.SMTP {
		t.Errorf("status %+v, %v", s, err)
	}
	if c, err := gosmtp.Dial(l.addr); err == nil {
		if c.Hello("x.example") == nil {
			t.Error("a session while paused")
		}
		c.Close()
	}
	text, err := os.ReadFile(filepath.Join(l.dir, "spool", "state", "paused"))
	if want := "# what smtpctl(8) paused\nmda\nmta\nsmtp\n"; err != nil || string(text) != want {
		t.Errorf("%q %v, want %q", text, err, want)
	}
	for _, op := range []control.Op{control.ResumeMDA, control.ResumeMTA, control.ResumeSMTP} {
		l.must(op)
		if err := l.ask(control.Request{Op: op}, nil); err == nil {
			t.Errorf("%d: resumed twice", op)
		}
	}
	l.states("pending")
	l.relaunch()
	if e := l.states("pending")[0]; e.ID != entries[0].ID || e.Flags != "suspend" {
		t.Errorf("entry %+v", e)
	}
	if n := l.do(control.ResumeEnvelope, 0, ^envelope.ID(0), "", ""); n != 1 {
		t.Errorf("%d envelopes resumed", n)
	}
	l.states()
	l.relaunch()
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: go\r\n\r\n")
	l.states()
	if n := len(l.maildir("joe")); n != 3 {
		t.Errorf("%d messages", n)
	}
}

// A schedule says when the next attempt is, also for mail that is queued when it changes.
func TestScheduleOfAnAction(t *testing.T) {
	const conf = "listen on 127.0.0.1 port PORT\nqueue schedule 90m\naction \"out\" relay host smtp://127.0.0.1:1%s\nmatch from any for any action \"out\"\n"
	l := start(t, fmt.Sprintf(conf, " schedule 1h, 2h"))
	l.mustSend("ann@example.net", []string{"joe@example.com"}, "Subject: wait\r\n\r\n")
	l.log.wait(t, 0, `mta delivery .* result="TempFail"`)
	within := func(want time.Duration) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			e := l.states("pending")[0]
			wait := time.Duration(e.Seconds) * time.Second
			if wait >= want*85/100 && wait <= want*11/10 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%v to wait, want %v: %+v", wait, want, e)
			}
		}
	}
	within(time.Hour)
	l.reconfigure(fmt.Sprintf(conf, " schedule 3h"))
	within(3 * time.Hour)
	l.reconfigure(fmt.Sprintf(conf, ""))
	within(90 * time.Minute)
	l.relaunch()
	within(90 * time.Minute)
}

// As soon as a server answers again, all that waits for it goes.
func TestServerIsBack(t *testing.T) {
	port := freePort(t)
	l := start(t, fmt.Sprintf("listen on 127.0.0.1 port PORT\naction \"out\" relay host smtp://127.0.0.1:%d\nmatch from any for any action \"out\"\n", port))
	const n = 20
	var pending []string
	for i := range n {
		l.mustSend("ann@example.net", []string{fmt.Sprintf("%d@example.com", i)}, "Subject: wait\r\n\r\n")
		pending = append(pending, "pending")
	}
	for i := range n {
		l.log.wait(t, 0, fmt.Sprintf(`mta delivery .* to=<%d@example.com> .* result="TempFail"`, i))
	}
	entries := l.states(pending...)
	server := gosmtp.NewServer(&hop{})
	server.Domain = "hop.example.net"
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Skip("somebody else has the port")
	}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	// By hand: the routes to it are enabled, and its mail goes.
	if err := l.ask(control.Request{Op: control.ResumeRoute, Route: 1}, nil); err != nil {
		t.Fatal(err)
	}
	l.states()
	if entries[0].Seconds < 60 {
		t.Errorf("it would have gone by itself: %+v", entries[0])
	}
}

// What waits because its way was not known goes as soon as other mail got through.
func TestWayIsKnownAgain(t *testing.T) {
	h := startHop(t, &hop{}, nil, false)
	l := startWith(t, map[string]string{"secrets": "x y:z\n", "rmap": "a.example smtp://127.0.0.1:1\n"}, domainConf)
	for i := range 3 {
		l.mustSend("ann@example.net", []string{fmt.Sprintf("%d@c.example", i)}, "Subject: wait\r\n\r\n")
		l.log.wait(t, 0, fmt.Sprintf(`mta delivery .* to=<%d@c.example> .* result="TempFail" stat="Cannot retrieve smarthost`, i))
	}
	l.states("pending", "pending", "pending")
	l.table("rmap", fmt.Sprintf("c.example smtp://127.0.0.1:%d\n", h.port))
	l.update("rmap")
	l.mustSend("ann@example.net", []string{"new@c.example"}, "Subject: go\r\n\r\n")
	l.states()
	if got := h.take(); len(got) != 4 || got[0] != "new@c.example" {
		t.Errorf("the server got %q", got)
	}
}

// TestStepsUntil: a command that is late leaves the rest to the next request.
func TestStepsUntil(t *testing.T) {
	q := newQueue(&member{}, t.TempDir())
	q.sched = scheduler.New(scheduler.Limits{}, time.Now)
	s := &queueSettings{}
	s.Scheduler = config.SchedulerLimits{MaxEvpBatchSize: 2, MaxMsgBatchSize: 10}
	q.cfg.Store(s)
	for id := envelope.ID(1); id <= 5; id++ {
		q.sched.Add(scheduler.Entry{ID: id, Due: time.Now().Add(time.Hour)})
	}
	for _, tt := range []struct {
		late time.Time
		r    scheduler.Range
		want []scheduler.Range
		next envelope.ID
	}{
		{time.Time{}, scheduler.All(), []scheduler.Range{{First: 1, Last: 2}, {First: 3, Last: 4}, {First: 5, Last: 5}}, 0},
		{time.Now().Add(-1), scheduler.All(), []scheduler.Range{{First: 1, Last: 2}}, 3},
		{time.Now().Add(-1), scheduler.Range{First: 3, Last: 4}, []scheduler.Range{{First: 3, Last: 4}}, 0},
		{time.Now().Add(-1), scheduler.Range{First: 6, Last: 9}, nil, 0},
		{time.Now().Add(time.Hour), scheduler.Range{First: 2, Last: 4}, []scheduler.Range{{First: 2, Last: 3}, {First: 4, Last: 4}}, 0},
	} {
		var got []scheduler.Range
		next := q.stepsUntil(tt.late, tt.r, func(infos []scheduler.Info) { got = append(got, span(infos)) })
		if next != tt.next || !slices.Equal(got, tt.want) {
			t.Errorf("%v: steps %v, the rest from %v; want %v, %v", tt.r, got, next, tt.want, tt.next)
		}
	}
}
