package daemon

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godwit-mta/godwit/core/ipc"
)

// Backends name what keeps the messages and what decides when they are due, as -B of
// smtpd(8) does. Any name but those below is a program of smtpd-backends(7), with an
// argument after a colon. Empty names mean the usual ones.
type Backends struct{ Queue, Scheduler string }

// The backends that are no programs.
const (
	queueFS       = "fs"
	queueRAM      = "ram"
	queueNull     = "null"
	schedulerRAM  = "ramqueue"
	schedulerNull = "null"
)

// ParseBackend takes an argument of -B: queue=NAME, scheduler=NAME or stat=ram.
func (b *Backends) ParseBackend(arg string) error {
	what, name, ok := strings.Cut(arg, "=")
	if !ok || name == "" || name[0] == ':' || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("invalid backend %q, must be queue=name, scheduler=name or stat=ram", arg)
	}
	switch what {
	case "queue":
		b.Queue = name
	case "scheduler":
		b.Scheduler = name
	case "stat":
		if name != "ram" {
			return fmt.Errorf("unknown stat backend %q: there is only ram", name)
		}
	default:
		return fmt.Errorf("unknown backend %q, must be queue, scheduler or stat", what)
	}
	return nil
}

// program reports whether a backend is a program.
func (b *Backends) program(scheduler bool) bool {
	name := b.name(scheduler)
	if scheduler {
		return name != "" && name != schedulerRAM && name != schedulerNull
	}
	return name != "" && name != queueFS && name != queueRAM && name != queueNull
}

func (b *Backends) name(scheduler bool) string {
	if scheduler {
		return b.Scheduler
	}
	return b.Queue
}

// sayBackends warns of backends that do not do what is expected of a mail server.
func (p *parent) sayBackends() {
	switch p.opts.Backends.Queue {
	case queueRAM:
		p.log.Warnf("queue=ram: mail is kept in memory only; what is queued is lost when smtpd stops")
	case queueNull:
		p.log.Warnf("queue=null: mail is accepted and thrown away")
	}
	if p.opts.Backends.Scheduler == schedulerNull {
		p.log.Warnf("scheduler=null: nothing in the queue is delivered")
	}
}

// backendCommand gives the command of the program that the command line names. It runs as
// the owner of the queue.
func (p *parent) backendCommand(scheduler bool) (*exec.Cmd, error) {
	kind := "queue"
	if scheduler {
		kind = "scheduler"
	}
	if !p.opts.Backends.program(scheduler) {
		return nil, fmt.Errorf("the %s is no program", kind)
	}
	name, arg, given := strings.Cut(p.opts.Backends.name(scheduler), ":")
	path := name
	switch {
	case !strings.Contains(name, "/"):
		var err error
		if path, err = programPath(p.opts.Facts, kind+"-"+name); err != nil {
			return nil, err
		}
	case !filepath.IsAbs(name):
		return nil, fmt.Errorf("the path %s does not begin with /", name)
	}
	args := []string{filepath.Base(path)}
	if given {
		args = append(args, arg)
	}
	return p.programCommand(path, &p.users.queue, args...)
}

// startBackend starts the program of the queue or of the scheduler, and gives the queue the
// socket to it.
func (p *parent) startBackend(s *set, r *ipc.Request) {
	var req backendRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	cmd, err := p.backendCommand(req.Scheduler)
	name := "queue backend"
	if req.Scheduler {
		name = "scheduler backend"
	}
	p.giveProgram(s, r, Queue, name, cmd, err)
}

// checkBackends refuses programs that are not there before anything else is done.
func (p *parent) checkBackends() error {
	var errs []error
	for _, scheduler := range []bool{false, true} {
		if p.opts.Backends.program(scheduler) {
			_, err := p.backendCommand(scheduler)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
