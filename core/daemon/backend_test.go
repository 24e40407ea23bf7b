package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/control"
)

func TestParseBackend(t *testing.T) {
	for arg, want := range map[string]string{
		"queue=fs": "fs|", "queue=x:/a/b=c": "x:/a/b=c|", "scheduler=null": "|null", "stat=ram": "|",
		"queue": "", "queue=": "", "queue=:x": "", "stat=db": "", "spool=x": "", "queue=a\nb": "", "": "",
	} {
		var b Backends
		err := b.ParseBackend(arg)
		if got := b.Queue + "|" + b.Scheduler; (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %s, %v", arg, got, err)
		}
	}
}

// python makes a program of the end-to-end tests one that the lab finds.
func (l *lab) python(name string) {
	l.t.Helper()
	if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
		l.t.Skip("no python3 here; ci/e2e has one")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "ci", "e2e", "testdata", name))
	if err == nil {
		err = os.MkdirAll(filepath.Join(l.dir, "libexec"), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, "libexec", name), text, 0o755)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// TestBackends delivers by way of every backend, and does with the queue what smtpctl can.
func TestBackends(t *testing.T) {
	for name, c := range map[string]struct {
		programs []string
		warning  string
		kept     bool // after a restart
		b        Backends
	}{
		"names":     {b: Backends{"fs", "ramqueue"}, kept: true},
		"ram":       {b: Backends{"ram", ""}, warning: "queue=ram: mail is kept in memory only"},
		"queue":     {b: Backends{"sqlite:DIR/queue.db", ""}, programs: []string{"queue-sqlite"}, kept: true},
		"scheduler": {b: Backends{"", "simple"}, programs: []string{"scheduler-simple"}, kept: true},
		"both": {b: Backends{"DIR/libexec/queue-sqlite:DIR/queue.db", "simple"}, kept: true,
			programs: []string{"queue-sqlite", "scheduler-simple"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil, localConf)
			for _, p := range c.programs {
				l.python(p)
			}
			l.backends = Backends{strings.ReplaceAll(c.b.Queue, "DIR", l.dir), c.b.Scheduler}
			l.begin()
			if c.warning != "" {
				l.log.wait(t, 0, c.warning)
			}
			l.mustSend("ann@example.net", []string{"joe@example.org", "ann@example.org"}, "Subject: one\r\n\r\nhello\r\n")
			l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: large\r\n\r\n"+strings.Repeat("0123456789\r\n", 30000))
			l.queue(0)
			if joe, ann := l.maildir("joe"), l.maildir("ann"); len(joe) != 2 || len(ann) != 1 || len(joe[0])+len(joe[1]) < 330000 {
				t.Errorf("joe has %d messages, ann %d", len(joe), len(ann))
			}
			testCommands(t, l, c.kept)
		})
	}
}

func testCommands(t *testing.T, l *lab, kept bool) {
	if err := l.ask(control.Request{Op: control.PauseMDA}, nil); err != nil {
		t.Fatal(err)
	}
	large := "Subject: two\r\n\r\n" + strings.Repeat("0123456789\r\n", 30000) + "end\r\n"
	l.mustSend("ann@example.net", []string{"joe@example.org", "ann@example.org"}, large)
	entries := l.listed()
	if len(entries) != 2 {
		t.Fatalf("show queue: %d entries", len(entries))
	}
	one := control.Request{First: entries[0].ID, Last: entries[0].ID}
	var text control.Text
	one.Op = control.ShowEnvelope
	if err := l.ask(one, &text); err != nil || !strings.Contains(text.Text, "\nsender: ann@example.net\n") {
		t.Errorf("show envelope: %v\n%s", err, text.Text)
	}
	var n control.Count
	one.Op = control.PauseEnvelope
	if err := l.ask(one, &n); err != nil || n.N != 1 {
		t.Errorf("pause envelope: %v, %d", err, n.N)
	}
	one.Op = control.ResumeEnvelope
	if err := l.ask(one, &n); err != nil || n.N != 1 {
		t.Errorf("resume envelope: %v, %d", err, n.N)
	}
	one.Op = control.Remove
	if err := l.ask(one, &n); err != nil || n.N != 1 {
		t.Errorf("remove: %v, %d", err, n.N)
	}
	before, from := len(l.maildir("joe"))+len(l.maildir("ann")), l.log.len()
	if kept {
		if err := l.stop(); err != nil {
			t.Fatal(err)
		}
		l.launch()
	}
	if err := l.ask(control.Request{Op: control.ResumeMDA}, nil); err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, from, `mda delivery .* result=Ok`)
	l.queue(0)
	if after := len(l.maildir("joe")) + len(l.maildir("ann")); after != before+1 {
		t.Errorf("%d messages more than before", after-before)
	}
}

// TestBackendsThatKeepNothing: null takes mail and has it no more; with the scheduler null
// it stays.
func TestBackendsThatKeepNothing(t *testing.T) {
	l := newLab(t, nil, localConf)
	l.backends.Queue = "null"
	l.begin()
	l.log.wait(t, 0, "queue=null: mail is accepted and thrown away")
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: gone\r\n\r\n")
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: gone\r\n\r\n"+strings.Repeat("0123456789\r\n", 30000))
	l.queue(0)
	if _, err := os.Stat(filepath.Join(l.dir, "joe")); err == nil {
		t.Error("something was delivered")
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}

	l.backends = Backends{Scheduler: "null"}
	from := l.log.len()
	l.launch()
	l.log.wait(t, from, "scheduler=null: nothing in the queue is delivered")
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: later\r\n\r\n")
	if entries := l.listed(); len(entries) != 1 {
		t.Fatalf("show queue: %+v", entries)
	}
	if err := l.stop(); err != nil {
		t.Fatal(err)
	}
	l.backends = Backends{}
	from = l.log.len()
	l.launch()
	l.log.wait(t, from, `mda delivery .* result=Ok`)
	if len(l.maildir("joe")) != 1 {
		t.Error("it was not delivered later")
	}
}

// TestQueueProgramDies kills the program of the queue: clients get 4xx, what was acknowledged is
// delivered.
func TestQueueProgramDies(t *testing.T) {
	l := newLab(t, nil, localConf)
	l.python("queue-sqlite")
	l.python("scheduler-simple")
	l.backends = Backends{"sqlite:" + l.dir + "/queue.db", "simple"}
	l.begin()
	if err := l.ask(control.Request{Op: control.PauseMDA}, nil); err != nil {
		t.Fatal(err)
	}
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: kept\r\n\r\n")
	for _, who := range []string{"queue", "scheduler"} {
		line := strings.Fields(l.log.wait(t, 0, who+" backend: ready [0-9]+"))
		at := 0
		for i, w := range line {
			if w == "ready" {
				at = i
			}
		}
		pid, err := strconv.Atoi(line[at+1])
		if err != nil {
			t.Fatal(line)
		}
		proc, err := os.FindProcess(pid)
		if err == nil {
			err = proc.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
		l.log.wait(t, 0, who+" backend: the program was started again")
	}
	if err := l.ask(control.Request{Op: control.ResumeMDA}, nil); err != nil {
		t.Fatal(err)
	}
	l.mustSend("ann@example.net", []string{"joe@example.org"}, "Subject: after\r\n\r\n")
	l.log.wait(t, 0, "mda delivery .* result=Ok")
	l.queue(0)
	if n := len(l.maildir("joe")); n != 2 {
		t.Errorf("%d messages", n)
	}
}

// TestNoSuchBackend: a program that is not there is an error at the start.
func TestNoSuchBackend(t *testing.T) {
	p := &parent{opts: Options{Backends: Backends{"nosuch", "a/b"}}}
	err := p.checkBackends()
	if err == nil || !strings.Contains(err.Error(), "queue-nosuch") || !strings.Contains(err.Error(), "a/b does not begin with /") {
		t.Error(err)
	}
	if _, err := (&parent{}).backendCommand(true); err == nil {
		t.Error("a command for what is no program")
	}
}
