package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// ProgramOptions say how a Program is run.
type ProgramOptions struct {
	Table        string // its name
	SubAddrDelim string
	// Start starts the program and gives its standard input and output. Closing that must
	// end the program.
	Start func(ctx context.Context) (io.ReadWriteCloser, error)
	Log   *trace.Logger
}

// Program is a table that is served by a program in the way of smtpd-tables(7). Many
// requests may be under way at a time, and the program may answer them in any order. A
// program that dies, hangs or talks nonsense is ended and started again, later and later
// while that does not help; who asks meanwhile gets an error at once.
type Program struct {
	ProgramOptions
	patience  time.Duration // for an answer
	firstWait time.Duration // before the first of several starts
	asking    atomic.Int32
	used      atomic.Int64 // Unix time of the last request
	ctx       context.Context
	cancel    context.CancelFunc
	ended     chan struct{}

	mu     sync.Mutex
	conn   *programConn
	down   error // why there is no conn
	needed [serviceCount]bool
}

// Waits and limits of a program.
const (
	mostAsking = 512 // those who may wait for one program at a time
	firstWait  = time.Second
	longWait   = time.Minute
	steady     = time.Minute // who lived so long is started again after firstWait
)

// OpenProgram starts a program. The error says why it cannot be used.
func OpenProgram(ctx context.Context, opts ProgramOptions) (*Program, error) {
	p := &Program{ProgramOptions: opts, patience: answerWait, firstWait: firstWait}
	return p, p.open(ctx)
}

func (p *Program) open(ctx context.Context) error {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ended = make(chan struct{})
	conn, err := p.start(ctx)
	if err != nil {
		p.cancel()
		return err
	}
	p.conn = conn
	go p.run()
	return nil
}

// start starts the program and sees that it serves what it is needed for.
func (p *Program) start(ctx context.Context) (*programConn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeWait)
	defer cancel()
	rw, err := p.Start(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := handshake(ctx, rw, p.Table, p.patience)
	if err != nil {
		return nil, fmt.Errorf("the program %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for s, needed := range p.needed {
		if needed && !conn.services[s] {
			err = fmt.Errorf("the program does not serve %s any more", Service(s))
			conn.fail(err)
			return nil, err
		}
	}
	return conn, nil
}

// run starts the program again when it has ended, until Close.
func (p *Program) run() {
	defer close(p.ended)
	wait := time.Duration(0)
	for conn := p.conn; conn != nil; {
		began := time.Now()
		select {
		case <-conn.done:
		case <-p.ctx.Done():
			conn.fail(errors.New("was stopped"))
			return
		}
		if time.Since(began) > steady {
			wait = 0
		}
		conn = p.restart(fmt.Errorf("the program %w", conn.failure()), &wait)
	}
}

// restart tries until the program serves again; nil means that it was closed.
func (p *Program) restart(why error, wait *time.Duration) *programConn {
	for {
		*wait = min(max(2**wait, p.firstWait), longWait)
		p.mu.Lock()
		p.conn, p.down = nil, why
		p.mu.Unlock()
		p.Log.Warnf("table %q: %v; starting it again in %s", p.Table, why, *wait)
		select {
		case <-time.After(*wait):
		case <-p.ctx.Done():
			return nil
		}
		conn, err := p.start(p.ctx)
		if err != nil {
			why = err
			continue
		}
		p.mu.Lock()
		p.conn, p.down = conn, nil
		p.mu.Unlock()
		p.Log.Infof("info: table %q: the program was started again", p.Table)
		return conn
	}
}

// Close ends the program.
func (p *Program) Close() error {
	p.cancel()
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conn, p.down = nil, errors.New("the program was stopped")
	return nil
}

// Retire closes the program once nobody has asked it for so long. Sessions that began
// with an older configuration are answered until then.
func (p *Program) Retire(idle time.Duration) {
	p.used.Store(time.Now().Unix())
	go func() {
		for {
			rest := idle - time.Since(time.Unix(p.used.Load(), 0))
			if rest <= 0 {
				p.Close()
				return
			}
			select {
			case <-time.After(rest):
			case <-p.ctx.Done():
				return
			}
		}
	}()
}

// ask puts one question to the program.
func (p *Program) ask(ctx context.Context, verb string, service Service, key string) (result, error) {
	if p.asking.Add(1) > mostAsking {
		p.asking.Add(-1)
		return result{}, errors.New("its program has too many requests waiting")
	}
	defer p.asking.Add(-1)
	p.used.Store(time.Now().Unix())
	p.mu.Lock()
	conn, err := p.conn, p.down
	p.mu.Unlock()
	if conn == nil {
		return result{}, fmt.Errorf("its program does not run: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	r, err := conn.ask(ctx, verb, service, key)
	if err == nil {
		err = r.err
	}
	if err != nil {
		return result{}, fmt.Errorf("its program %w", err)
	}
	return r, nil
}

// find asks for one key after the other until one is found.
func (p *Program) find(ctx context.Context, verb string, service Service, key string) (r result, err error) {
	if len(key) > MaxKey {
		return result{}, nil
	}
	for _, k := range p.keys(service, key) {
		if k == "" {
			continue // no table has it
		}
		if strings.ContainsAny(k, "\r\n\x00") {
			return result{}, errors.New("a key with a line end in it cannot be asked for")
		}
		if r, err = p.ask(ctx, verb, service, k); err != nil || r.found {
			return r, err
		}
	}
	return r, nil
}

// keys gives the keys under which a program may know something, in the forms in which
// OpenSMTPD asks for them: in lower case, IPv6 addresses in brackets. A mail address is
// asked for in all the forms that a list of a file can hold. Passwords stay as they are.
func (p *Program) keys(service Service, key string) []string {
	if service == Auth {
		return []string{key}
	}
	key = lower(key)
	switch service {
	case NetAddr, AddrName:
		if ip, ok := parseAddr(key); ok && ip.Is6() {
			return []string{"[" + ip.String() + "]"}
		}
	case MailAddr:
		return p.mailKeys(key)
	}
	return []string{key}
}

func (p *Program) mailKeys(key string) []string {
	user, domain := cutAddress(key)
	if user == "" && domain == "" {
		return []string{"@"}
	}
	keys := []string{user + "@" + domain}
	name := user
	if p.SubAddrDelim != "" {
		name, _, _ = strings.Cut(user, p.SubAddrDelim)
	}
	tagged := name != user && name != ""
	if tagged {
		keys = append(keys, name+"@"+domain)
	}
	keys = append(keys, user)
	if tagged {
		keys = append(keys, name)
	}
	return append(keys, "@"+domain, "@")
}

// lower folds the letters of ASCII and leaves every other octet alone.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Lookup asks the program for the value of key.
func (p *Program) Lookup(ctx context.Context, service Service, key string) (string, bool, error) {
	r, err := p.find(ctx, verbLookup, service, key)
	return r.value, r.found, err
}

// Match asks the program whether it knows key. For the service auth that is USER:PASSWORD.
func (p *Program) Match(ctx context.Context, service Service, key string) (bool, error) {
	r, err := p.find(ctx, verbCheck, service, key)
	return r.found, err
}

// Fetch asks the program for the next of its entries.
func (p *Program) Fetch(ctx context.Context, service Service) (string, bool, error) {
	r, err := p.ask(ctx, verbFetch, service, "")
	return r.value, r.found, err
}

// Serves reports whether the program registered a service.
func (p *Program) Serves(service Service) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.needed[service] || p.conn != nil && p.conn.services[service]
}

// Prepare refuses a service that the program did not register. From now on it must.
func (p *Program) Prepare(service Service) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.needed[service]:
		return nil
	case p.conn == nil:
		return fmt.Errorf("table %q: its program does not run: %w", p.Table, p.down)
	case !p.conn.services[service]:
		return fmt.Errorf("table %q: its program does not serve %s, only %s", p.Table, service, p.conn.serves())
	}
	p.needed[service] = true
	return nil
}

// Reload tells the program to take up changes.
func (p *Program) Reload(ctx context.Context) error {
	_, err := p.ask(ctx, verbUpdate, 0, "")
	return err
}
