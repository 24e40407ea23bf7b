package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/auth"
	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// Options say how the daemon is to run; they come from the command line.
type Options struct {
	Version    string
	ConfigFile string
	Macros     map[string]string
	Spool      string // directory of the queue
	Socket     string // path of the control socket
	PidFile    string // "" for none
	Backends   Backends
	Stderr     bool // members log to standard error
	PausedMDA  bool
	PausedMTA  bool
	PausedSMTP bool
	Facts      platform.Facts
	Log        *trace.Logger
	Sink       trace.Sink // behind Log; may hand out sockets to the system's log
	Spawn      spawner
	InProcess  bool            // Spawn makes goroutines: nobody can become another user
	Reload     <-chan struct{} // asks for a reload
	Ready      func()          // called once when mail is accepted; may be nil

	network   *network     // nil: the host's
	passwords *auth.System // nil: the host's
}

// parent is the process that starts and watches the others.
type parent struct {
	opts       Options
	log        *trace.Logger
	root       bool
	cfg        *config.Config
	bound      *bindings
	host       surroundings
	users      accounts
	stop       chan struct{} // closed when smtpctl asks for it
	stopOnce   sync.Once
	stopping   bool          // nothing is reloaded any more
	slots      chan struct{} // requests of members under way
	readers    chan struct{} // processes that read users' files
	forwards   forwardCache
	passwords  *passwords
	admin      chan func() // runs in the parent's loop
	failures   int
	stdinKey   stdinKey
	generation uint64 // of the configuration that was prepared last
	secret     []byte // of scramSecret
}

// Waits of the supervisor.
const (
	setupWait  = 10 * time.Second // for a member to answer while it starts
	drainWait  = 20 * time.Second // for sessions and deliveries when stopping
	backoffMin = 250 * time.Millisecond
	backoffMax = 60 * time.Second
	steadyTime = 60 * time.Second // a set that lived so long starts again at once
)

// Run runs the daemon until ctx is done. An error means that it could not start, or could
// not go on; it is one line that says why.
func Run(ctx context.Context, opts Options) error {
	p := &parent{opts: opts, log: opts.Log, root: privdrop.IsRoot() && !opts.InProcess,
		slots: make(chan struct{}, mostRequests), readers: make(chan struct{}, mostReaders), stop: make(chan struct{}), admin: make(chan func())}
	if opts.passwords == nil {
		opts.passwords = auth.Of(opts.Facts.Passwords, opts.Facts.Libexec)
	}
	p.passwords = newPasswords(opts.passwords)
	cfg, err := p.load()
	if err != nil {
		return err
	}
	if p.users, err = p.accounts(); err != nil {
		return err
	}
	if err := p.checkBackends(); err != nil {
		return err
	}
	if err := p.directories(); err != nil {
		return err
	}
	p.bound = newBindings()
	defer p.bound.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.watchHost(ctx, opts.network)
	if err := p.bound.openControl(opts.Socket); err != nil {
		return err
	}
	if err := p.writePid(); err != nil {
		return err
	}
	defer p.removePid()
	p.log.Infof("info: Godwit %s starting", opts.Version)
	p.sayBackends()
	defer p.log.Infof("Exiting")
	return p.supervise(ctx, cfg)
}

// supervise keeps a set of members running. The first one has to come up; later ones are
// started again until they do.
func (p *parent) supervise(ctx context.Context, cfg *config.Config) error {
	for first := true; ; first = false {
		started := time.Now()
		s, err := p.startSet(cfg)
		if err != nil && first {
			return err
		}
		if first && p.opts.Ready != nil {
			p.opts.Ready()
		}
		if err == nil {
			if err = p.watch(ctx, s); err == nil {
				return nil
			}
			cfg = p.cfg
		}
		if time.Since(started) > steadyTime {
			p.failures = 0
		}
		wait := p.backoff()
		p.log.Warnf("%v; starting again in %s", err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		case <-p.stop:
			return nil
		}
	}
}

// backoff gives the time to wait before the next start: none after the first death, then
// doubling.
func (p *parent) backoff() time.Duration {
	p.failures++
	if p.failures == 1 {
		return 0
	}
	return min(backoffMin<<min(p.failures-2, 10), backoffMax)
}

// watch serves a running set until the daemon is to stop (no error) or a member died.
func (p *parent) watch(ctx context.Context, s *set) error {
	for {
		select {
		case <-ctx.Done():
			p.stopSet(s)
			return nil
		case <-p.stop:
			p.stopSet(s)
			return nil
		case <-p.opts.Reload:
			_ = p.reloadSet(s)
		case <-p.host.changes:
			p.host.wait = waitLeast
			p.host.after(settleTime)
		case <-p.host.timer.C:
			p.look()
		case plan := <-p.host.plans:
			p.looked(s, plan)
		case f := <-p.admin:
			f()
		case d := <-s.died:
			s.killAll()
			return fmt.Errorf("lost process: %s %s", d.role, d.how)
		}
	}
}

// reloadSet uses the configuration file as it is now, or says why not.
func (p *parent) reloadSet(s *set) error {
	err := errEnding
	if !p.stopping {
		err = p.reload(s)
	}
	if err != nil {
		p.log.Warnf("configuration not reloaded: %v", err)
		return err
	}
	p.log.Infof("info: configuration reloaded")
	return nil
}

// reload prepares a new configuration everywhere before anything is changed.
func (p *parent) reload(s *set) error {
	cfg, err := p.load()
	if err != nil {
		return err
	}
	plan, err := p.plan(cfg)
	if err != nil {
		return err
	}
	before := p.bound.now
	opened, err := p.bound.open(plan, false)
	if err != nil && p.makeRoom(s, plan) {
		before = p.bound.now
		opened, err = p.bound.open(plan, false)
	}
	if err != nil {
		p.host.after(0) // opens again what made room
		return err
	}
	if err := p.configure(s, cfg); err != nil {
		p.bound.discard(opened)
		p.bound.now = before
		p.host.after(0)
		return err
	}
	p.configured(plan)
	return nil
}

// startSet starts every member and configures it. On an error none is left.
func (p *parent) startSet(cfg *config.Config) (*set, error) {
	plan, err := p.plan(cfg)
	if err != nil {
		return nil, err
	}
	again := p.cfg != nil // then an address that somebody took meanwhile stops nothing
	if _, err := p.bound.open(plan, again); err != nil {
		return nil, err
	}
	s, err := p.spawnSet()
	if err != nil {
		return nil, err
	}
	p.cfg = cfg
	if err := p.configure(s, cfg); err != nil {
		s.killAll()
		return nil, err
	}
	p.configured(plan)
	return s, nil
}

// configured ends what the configuration before had and this one has not.
func (p *parent) configured(plan *listenPlan) {
	p.bound.prune()
	p.cfg = plan.cfg
	p.host.wait = waitLeast
	p.sayMissing()
	p.host.opened(p.bound.now.waits(), plan.named)
}

// stopSet ends the sessions and deliveries, then the members.
func (p *parent) stopSet(s *set) {
	p.bound.close() // nobody is to wait at a door that does not open any more
	ctx, cancel := context.WithTimeout(context.Background(), 3*drainWait)
	defer cancel()
	p.stopping = true
	go func() { // what the members still ask of us
		for {
			select {
			case f := <-p.admin:
				f()
			case <-ctx.Done():
				return
			}
		}
	}()
	_ = s.members[Queue].conn.Call(ctx, kindQuiet, nil, nil)
	for _, role := range []Role{Control, Dispatcher, Queue, Lookup, Crypto} {
		c := s.members[role]
		ctx, cancel := context.WithTimeout(context.Background(), drainWait+time.Second)
		defer cancel()
		err := c.conn.Call(ctx, kindDrain, &drain{int64(drainWait)}, nil)
		if err != nil {
			p.log.Warnf("%s did not stop in time: %v", role, err)
		}
	}
	s.closeAll()
}

// load reads the configuration file and refuses what is not carried out yet.
func (p *parent) load() (*config.Config, error) {
	cfg, _, err := LoadConfig(p.opts.ConfigFile, p.opts.Macros, p.opts.Facts)
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, u := range cfg.Unsupported {
		refused = append(refused, fmt.Errorf("%s:%d:%d: %s",
			u.Pos.File, u.Pos.Line, u.Pos.Column, u.What))
	}
	if len(refused) == 0 {
		refused = append(refused, p.passwords.ready(cfg))
	}
	return cfg, errors.Join(refused...)
}

func (p *parent) writePid() error {
	if p.opts.PidFile == "" {
		return nil
	}
	return os.WriteFile(p.opts.PidFile, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644)
}

func (p *parent) removePid() {
	if p.opts.PidFile != "" {
		_ = os.Remove(p.opts.PidFile)
	}
}
