package e2e

import (
	"strings"
	"testing"
)

const heldConf = `
listen on 127.0.0.1
action "boxes" maildir
match from any for domain "godwit.test" action "boxes"
`

// only gives the fields of the only line of show queue, once it is in a state.
func (d *daemon) only(state string) []string {
	d.t.Helper()
	var fields []string
	eventually(d.t, startWait, "an envelope that is "+state, func() bool {
		lines := d.queued()
		if len(lines) != 1 {
			return false
		}
		fields = strings.Split(lines[0], "|")
		return fields[11] == state
	})
	return fields
}

func (d *daemon) must(want string, args ...string) {
	d.t.Helper()
	out, err := d.ctl(args...)
	if err != nil || strings.TrimSpace(out) != want {
		d.t.Errorf("smtpctl %q: %v: %q, want %q", args, err, out, want)
	}
}

// TestHeldMail: mail whose action has gone waits with the reason, survives whatever kills the
// server, and goes when the action is back or another is given to it.
func TestHeldMail(t *testing.T) {
	d := start(t, heldConf)
	d.must("command succeeded", "pause", "mda")
	d.fill(1)
	d.only("pending")
	other := strings.ReplaceAll(heldConf, "boxes", "renamed")
	d.reload(other, "configuration reloaded")
	if f := d.only("held"); f[13] != `no action "boxes" in the configuration` {
		t.Errorf("the reason is %q", f[13])
	}
	d.must("command succeeded", "resume", "mda")
	d.recover(d.crash("all"))
	id := d.only("held")[0]
	if out, err := d.ctl("show", "envelope", id); err != nil || !strings.Contains(out, "\nheld: no action \"boxes\"") {
		t.Errorf("show envelope: %v: %s", err, out)
	}
	d.must("0 envelopes scheduled", "schedule", "all")
	d.reload(heldConf, "configuration reloaded")
	d.drained(startWait)
	kept(t, 1)

	d.must("command succeeded", "pause", "mda")
	d.fill(1)
	d.only("pending")
	d.reload(other, "configuration reloaded")
	id = d.only("held")[0]
	if out, err := d.ctl("queue", "action", id, "nosuch"); err == nil || !strings.Contains(out, `no action "nosuch" in the configuration`) {
		t.Errorf("an unknown action: %v: %s", err, out)
	}
	d.must("1 envelope changed", "q", "a", id[:8], "renamed")
	d.recover(d.crash("all"))
	d.only("pending")
	d.must("command succeeded", "resume", "mda")
	d.drained(startWait)
	kept(t, 1)
}

// TestPauseOutlivesACrash: what was paused is paused when all was killed, until it is resumed.
func TestPauseOutlivesACrash(t *testing.T) {
	d := start(t, heldConf)
	d.must("command succeeded", "pause", "mda")
	d.fill(1)
	d.must("1 envelope paused", "pause", "envelope", "all")
	d.must("command succeeded", "pause", "smtp")
	d.crash("all")
	<-d.exited
	eventually(t, startWait, "all are dead", func() bool { return len(running()) == 0 })
	d.run()
	d.answers()
	d.must("MDA paused\nMTA running\nSMTP paused", "show", "status")
	d.must("command succeeded", "resume", "smtp")
	d.must("command succeeded", "resume", "mda")
	if !answers(listen) {
		t.Error("no sessions after resume smtp")
	}
	if f := d.only("pending"); f[3] != "suspend" {
		t.Errorf("flags %q", f[3])
	}
	d.must("1 envelope resumed", "resume", "envelope", "all")
	d.drained(startWait)
	kept(t, 1)
}

// TestResumedStays: what the command line paused and smtpctl resumed stays so when the processes
// of the server are lost and start again; what was not resumed stays paused.
func TestResumedStays(t *testing.T) {
	d := newDaemon(t, heldConf)
	d.run("-P", "mda", "-P", "mta")
	d.ready()
	d.resume()
	before, _ := find("queue")
	d.crash("queue")
	eventually(t, startWait, "there is another queue", func() bool {
		p, ok := find("queue")
		return ok && p.pid != before.pid
	})
	d.answers()
	d.must("MDA running\nMTA paused\nSMTP running", "show", "status")
	d.fill(1)
	d.drained(startWait)
	kept(t, 1)
}

// answers waits until smtpctl is answered.
func (d *daemon) answers() {
	d.t.Helper()
	eventually(d.t, startWait, "the server is up", func() bool { _, err := d.ctl("show", "status"); return err == nil })
}
