package e2e

import (
	_ "embed"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/queue-sqlite
var queueSQLite string

//go:embed testdata/scheduler-simple
var schedulerSimple string

// backendPID gives the process of a backend that said last that it is ready.
func backendPID(d *daemon, which string) int {
	d.t.Helper()
	d.waitLog(which + " backend: ready")
	said := regexp.MustCompile(which+` backend: ready (\d+)`).FindAllStringSubmatch(d.logged(), -1)
	if len(said) == 0 {
		d.t.Fatalf("the program of the %s was not started:\n%s", which, tail(d.logged(), 20))
	}
	pid, _ := strconv.Atoi(said[len(said)-1][1])
	return pid
}

// startBackends starts a daemon whose queue is a database and whose scheduler is a script.
func startBackends(t *testing.T, conf string) *daemon {
	t.Helper()
	for name, text := range map[string]string{"queue-sqlite": queueSQLite, "scheduler-simple": schedulerSimple} {
		path := filepath.Join(top(), "libexec", name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(path) })
	}
	d := newDaemon(t, conf)
	db := filepath.Join(d.dir, "db")
	if err := os.Mkdir(db, 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, "chown", "_smtpq", db)
	d.args = []string{"-B", "queue=sqlite:" + filepath.Join(db, "queue"), "-B", "scheduler=simple", "-B", "stat=ram"}
	d.start()
	return d
}

// TestBackendProgram: the program runs as the owner of the queue and has nothing of the daemon
// but its socket; smtpctl shows and changes what it keeps.
func TestBackendProgram(t *testing.T) {
	startDNS(t)
	d := startBackends(t, relayConf)
	pid := backendPID(d, "queue")
	d.waitLog("queue backend: ready", "['LC_CTYPE', 'PATH']")
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for _, want := range []string{"\nUid:\t7002\t7002\t7002\t7002\n", "\nGid:\t7002\t7002\t7002\t7002\n", "\nGroups:\t7002 \n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in the state of the program:\n%s", want, status)
		}
	}
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		n, _ := strconv.Atoi(fd.Name())
		own := strings.HasPrefix(to, d.dir+"/db/") || strings.Contains(to, "eventpoll")
		if !own && !(n < 2 && strings.HasPrefix(to, "socket:")) && !(n == 2 && strings.HasPrefix(to, "pipe:")) {
			t.Errorf("descriptor %d is %s", n, to)
		}
	}
	if out, err := d.ctl("pause", "mda"); err != nil {
		t.Fatal(out, err)
	}
	submit(t, tester, "alice@godwit.test", "Subject: one\n\nfirst\n")
	submit(t, tester, "alice@godwit.test", "Subject: two\n\n"+strings.Repeat("0123456789\n", 20000))
	queued := d.queued()
	if len(queued) != 2 {
		t.Fatalf("queued: %v", queued)
	}
	evpid, _, _ := strings.Cut(queued[0], "|")
	for _, args := range [][]string{{"show", "envelope", evpid}, {"show", "message", evpid}, {"pause", "envelope", evpid},
		{"resume", "envelope", evpid}, {"show", "stats"}, {"remove", evpid}} {
		if out, err := d.ctl(args...); err != nil {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
	if out, err := d.ctl("resume", "mda"); err != nil {
		t.Fatal(out, err)
	}
	newMaildir("alice").wait(t, 1, time.Minute)
	d.drained(time.Minute)
	d.stop()
}

// TestBackendCrash: whichever program is killed, a message that was acknowledged arrives.
func TestBackendCrash(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	d := startBackends(t, crashConf)
	p := newPromises()
	boxes := map[string]*maildir{"alice@godwit.test": newMaildir("alice"), "bob@godwit.test": newMaildir("bob")}
	take := func() bool {
		for rcpt, box := range boxes {
			for _, text := range box.take() {
				p.arrived(text, rcpt)
			}
		}
		for _, r := range s.take() {
			p.arrived(r.text, r.to...)
		}
		return len(p.left()) == 0
	}
	for round, what := range []string{"queue", "scheduler", "both", "queue", "role", "all", "queue"} {
		stop := make(chan struct{})
		var senders sync.WaitGroup
		for range crashSessions {
			senders.Go(func() { keepSending(p, stop) })
		}
		time.Sleep(time.Duration(300+rand.IntN(700)) * time.Millisecond) // the moment is to be random
		gone := false
		switch what {
		case "role":
			gone = d.crash("queue")
		case "all":
			gone = d.crash("all")
		default:
			for _, which := range []string{"queue", "scheduler"} {
				if what == which || what == "both" {
					kill(backendPID(d, which))
				}
			}
		}
		close(stop)
		senders.Wait()
		d.recover(gone)
		lastTry := time.Now()
		if !within(90*time.Second, func() bool {
			if time.Since(lastTry) > 500*time.Millisecond {
				lastTry = time.Now()
				_, _ = d.ctl("schedule", "all")
			}
			return take()
		}) {
			t.Fatalf("round %d, after the death of %s: %d acknowledged messages are lost: %v\n%s", round, what, len(p.left()), p.left(), tail(d.logged(), 30))
		}
		t.Logf("round %d: %s, %d recipients so far", round, what, len(p.kept))
	}
	for range 3 {
		_, _ = d.ctl("schedule", "all")
	}
	d.drained(90 * time.Second)
	d.stop()
	take()
	if len(p.broken) > 0 {
		t.Errorf("%d damaged messages were delivered: %v", len(p.broken), p.broken[:min(5, len(p.broken))])
	}
	if len(p.kept) == 0 {
		t.Error("nothing was sent")
	}
	t.Logf("%d recipients acknowledged and delivered, %d delivered again", len(p.kept), p.duplicates())
}
