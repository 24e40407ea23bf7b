package e2e

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Extent of the crash test.
const (
	crashRounds   = 50
	crashSessions = 20
)

// crashConf has no waits between connections, which would only make the rounds longer.
const crashConf = relayConf + `
mta limit conn-delay-route 0 conn-delay-relay 0 session-keepalive 1
`

// promises are the messages that were acknowledged, and what became of them.
type promises struct {
	mu        sync.Mutex
	next      int
	kept      map[string]int // "id recipient": deliveries
	open      map[string]bool
	delivered int
	broken    []string // bodies that were changed
}

func newPromises() *promises {
	return &promises{kept: make(map[string]int), open: make(map[string]bool)}
}

func (p *promises) id() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	return "crash-" + strconv.Itoa(p.next)
}

// given notes that the server has taken a message.
func (p *promises) given(id string, rcpts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rcpt := range rcpts {
		if key := id + " " + rcpt; p.kept[key] == 0 {
			p.open[key] = true
		}
	}
}

// arrived notes a delivery and looks whether it is whole.
func (p *promises) arrived(text []byte, rcpts ...string) {
	header, body := split(text)
	id := field(header, "X-Test")
	p.mu.Lock()
	defer p.mu.Unlock()
	if field(header, "X-Sum") != fmt.Sprintf("%x", sha256.Sum256(body)) {
		p.broken = append(p.broken, id)
	}
	for _, rcpt := range rcpts {
		key := id + " " + rcpt
		p.kept[key]++
		p.delivered++
		delete(p.open, key)
	}
}

func (p *promises) left() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for key := range p.open {
		list = append(list, key)
	}
	slices.Sort(list)
	return list
}

// duplicates counts the deliveries that were not the first.
func (p *promises) duplicates() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delivered - len(p.kept)
}

// crashMail makes a message; one in ten is too large to stay in memory.
func crashMail(id string) string {
	size := rand.IntN(2000)
	if rand.IntN(10) == 0 {
		size = 70000 + rand.IntN(100000)
	}
	body := makeBody(rand.New(rand.NewPCG(rand.Uint64(), 0)), size, short)
	sum := sha256.Sum256(body)
	text := fmt.Sprintf("From: <tester@client.test>\nSubject: %s\nX-Test: %s\nX-Sum: %x\n\n%s", id, id, sum, body)
	text = strings.ReplaceAll(text, "\n", "\r\n")
	return strings.ReplaceAll(text, "\r\n.", "\r\n..") + ".\r\n"
}

// keepSending sends messages until something fails or stop is closed.
func keepSending(p *promises, stop <-chan struct{}) {
	conn, err := net.DialTimeout("tcp", listen, time.Second)
	if err != nil {
		return
	}
	c := newSession(conn)
	defer conn.Close()
	if c.dialog("", "220", "EHLO client.test\r\n", "250") != nil {
		return
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		id := p.id()
		all := []string{"alice@godwit.test", "bob@godwit.test", "x@sink.test", "y@sink.test"}
		rcpts := all[:1+rand.IntN(3)]
		if rand.IntN(2) == 0 {
			rcpts = all[2:]
		}
		steps := []string{"MAIL FROM:<" + tester + ">\r\n", "250"}
		for _, rcpt := range rcpts {
			steps = append(steps, "RCPT TO:<"+rcpt+">\r\n", "250")
		}
		if c.dialog(append(steps, "DATA\r\n", "354", crashMail(id), "250")...) != nil {
			return
		}
		p.given(id, rcpts)
	}
}

// session is a client that may lose its server at any moment.
type session struct{ *client }

func newSession(conn net.Conn) session { return session{rawClient(conn)} }

// dialog sends and expects in turn.
func (s session) dialog(steps ...string) error {
	for i := 0; i < len(steps); i += 2 {
		_ = s.conn.SetDeadline(time.Now().Add(talkWait))
		if _, err := s.conn.Write([]byte(steps[i])); err != nil {
			return err
		}
		reply, err := s.read()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(reply, steps[i+1]) {
			return errors.New(reply)
		}
	}
	return nil
}

// crash kills what a name says: a role, the parent, all processes, or the process group of
// the parent. It reports whether the parent is gone.
func (d *daemon) crash(what string) bool {
	switch what {
	case "all": // nobody may notice that others are gone, and write out or start again
		all := running()
		for _, p := range all {
			_ = exec.Command("kill", "-STOP", strconv.Itoa(p.pid)).Run()
		}
		for _, p := range all {
			kill(p.pid)
		}
		return true
	case "group":
		command(d.t, "kill", "-KILL", "--", "-"+strconv.Itoa(d.cmd.Process.Pid))
		return true
	}
	if p, ok := find(what); ok {
		kill(p.pid)
	}
	return what == "parent"
}

// recover waits for the daemon after a crash; it is started again when the parent is gone.
func (d *daemon) recover(parentGone bool) {
	d.t.Helper()
	if parentGone {
		<-d.exited
		if !within(2*time.Second, func() bool { return len(running()) == 0 }) {
			d.t.Fatalf("2 s after the end of the parent: %v", roleNames(running()))
		}
		d.run()
	}
	d.ready()
}

// TestCrash: whatever is killed at whatever moment, a message that was acknowledged arrives.
func TestCrash(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	d := start(t, crashConf)
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
	roles := []string{"control", "crypto", "lookup", "dispatcher", "queue", "agent"}
	wholes := []string{"parent", "all", "group"}
	for round := range crashRounds {
		// The parent waits longer after each death that it sees; every third round it has
		// to begin anew itself.
		what := roles[rand.IntN(len(roles))]
		if round%3 == 2 {
			what = wholes[rand.IntN(len(wholes))]
		}
		began := time.Now()
		crashRound(d, p, what)
		lastTry := time.Now()
		if !within(time.Minute, func() bool {
			if time.Since(lastTry) > 500*time.Millisecond { // what was put off need not wait
				lastTry = time.Now()
				_, _ = d.ctl("schedule", "all")
			}
			return take()
		}) {
			t.Fatalf("round %d, after the death of %s: %d acknowledged messages are lost: %v", round, what, len(p.left()), p.left())
		}
		t.Logf("round %d: %s, %d messages so far, %v", round, what, len(p.kept), time.Since(began).Round(time.Millisecond))
	}
	for range 3 {
		_, _ = d.ctl("schedule", "all")
	}
	d.drained(time.Minute)
	d.stop()
	take() // what came without an acknowledgement, and what came again
	if len(p.broken) > 0 {
		t.Errorf("%d damaged messages were delivered: %v", len(p.broken), p.broken[:min(5, len(p.broken))])
	}
	t.Logf("%d recipients acknowledged and delivered, %d delivered again after a crash", len(p.kept), p.duplicates())
	for _, dir := range []string{"corrupt", "journal", "incoming"} {
		if files, _ := os.ReadDir(filepath.Join(d.spool, dir)); len(files) > 0 {
			t.Errorf("%s has %v", dir, files)
		}
	}
}

// crashRound lets the sessions send, kills something at a random moment and waits until the
// daemon is there again.
func crashRound(d *daemon, p *promises, what string) {
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range crashSessions {
		senders.Go(func() { keepSending(p, stop) })
	}
	time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond) // the moment is to be random
	gone := d.crash(what)
	close(stop)
	senders.Wait()
	d.recover(gone)
}
