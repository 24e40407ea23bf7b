package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
)

// TestRequestsWaitForTheStore asks a queue whose store is not open yet. What needs no store is answered at
// once, everything else when it is open, or with an error when there will be none.
func TestRequestsWaitForTheStore(t *testing.T) {
	for name, store := range map[string]queue.Store{"opened": queue.NewRAM(t.TempDir()), "failed": nil} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(&member{}, t.TempDir())
			q.sched, q.opened = scheduler.New(scheduler.Limits{}, time.Now), make(chan struct{})
			settings := new(queueSettings)
			settings.Scheduler = config.SchedulerLimits{MaxEvpBatchSize: 2, MaxMsgBatchSize: 10}
			q.cfg.Store(settings)
			close(q.loaded)
			got := make(chan ipc.Kind, 10)
			client, end := asking(t, func(r *ipc.Request) { got <- r.Kind; q.handle(Control, r) })
			defer end()

			if err := client.Call(t.Context(), kindStats, nil, new(statsReply)); err != nil || <-got != kindStats {
				t.Fatalf("counters of a queue that is not open: %v", err)
			}
			var page control.QueuePage
			listed := make(chan error, 1)
			go func() {
				listed <- client.Call(t.Context(), kindAdmin, &adminRequest{Request: control.Request{Op: control.ShowQueue, Last: ^envelope.ID(0)}}, &page)
			}()
			if kind := <-got; kind != kindAdmin {
				t.Fatalf("message %d", kind)
			}
			select {
			case err := <-listed:
				t.Fatalf("answered before the store is open: %v", err)
			default:
			}
			q.store = store
			close(q.opened)
			if err := <-listed; (err == nil) != (store != nil) || err != nil && err.Error() != errNotOpen.Error() {
				t.Errorf("the answer is %v", err)
			}
		})
	}
}

// TestStopBeforeTheStoreIsOpen ends a role whose store does not open: nobody waits for ever.
func TestStopBeforeTheStoreIsOpen(t *testing.T) {
	q := newQueue(&member{}, t.TempDir())
	q.opened = make(chan struct{})
	q.stop()
	if q.waitOpen(q.ctx) {
		t.Error("it is open")
	}
}

// TestLateJournal starts on a journal that takes long to be read, and then turns out to be unreadable: sessions begin
// meanwhile, and all goes on when it can be read.
func TestLateJournal(t *testing.T) {
	l := newLab(t, nil, localConf)
	journal := filepath.Join(l.dir, "spool", "journal")
	if err := os.MkdirAll(journal, 0o700); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(journal, "0000000001-0123456789abcdef")
	if out, err := exec.Command("mkfifo", fifo).CombinedOutput(); err != nil {
		t.Fatalf("mkfifo: %v: %s", err, out)
	}
	l.begin() // returns when mail is taken
	l.log.wait(t, 0, "the journal is large: it is read while sessions begin already")
	session, err := gosmtp.Dial(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := session.Hello("client.example.net"); err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		sent <- session.SendMail("ann@example.net", []string{"joe@example.org"}, strings.NewReader("Subject: one\r\n\r\n"))
	}()
	if err := l.ask(control.Request{Op: control.ShowStats}, new(control.Stats)); err != nil {
		t.Errorf("counters: %v", err)
	}
	select {
	case err := <-sent:
		t.Errorf("mail was taken: %v", err)
	default:
	}
	away := filepath.Join(l.dir, "fifo")
	if err := os.Rename(fifo, away); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(away, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	l.log.wait(t, 0, "starting again")
	if err := <-sent; err == nil {
		t.Error("mail was taken that nobody kept")
	}
	again := func() error { return l.send("ann@example.net", []string{"joe@example.org"}, "Subject: two\r\n\r\n") }
	for end := time.Now().Add(patience); ; { // sessions end while all is started again
		if err = again(); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	l.log.wait(t, 0, "mda delivery .* to=<joe@example.org> .* result=Ok")
}
