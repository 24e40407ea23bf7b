package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/compat/sandbox"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
)

// worker is what a role does. Its methods are called one at a time, but for handle, which
// each peer's connection calls on its own.
type worker interface {
	// prepare reads its part of a configuration and gets ready to use it.
	prepare(r *ipc.Request, listeners []*os.File) error
	// activate uses what was prepared; abandon forgets it.
	activate()
	abandon()
	// handle answers a message of the parent or of a peer. It must not wait.
	handle(from Role, r *ipc.Request)
	// drain ends what can be ended and waits for the rest until ctx is done.
	drain(ctx context.Context)
}

// member is a process that the parent started, seen from inside.
type member struct {
	role      Role
	version   string
	procs     *Processors // nil: those of the process are not the role's to limit
	parent    *ipc.Conn
	log       *trace.Logger
	lines     gatherSink // those of log on their way to the system's log
	peers     map[Role]*ipc.Conn
	listeners []*os.File
	work      worker
	turn      sync.Mutex // one change of the configuration after the other
	prepared  bool
	active    bool
	serving   sync.WaitGroup
}

// RunMember is the life of a role: sock is the socket to the parent. It returns when the
// parent closes the socket or goes away, and with an error when the role cannot go on. procs is nil
// when the role is not the only one of its process.
func RunMember(role Role, sock *net.UnixConn, version string, procs *Processors) error {
	conn := ipc.New(sock)
	m := &member{role: role, version: version, procs: procs, parent: conn, log: trace.New(nil), peers: make(map[Role]*ipc.Conn)}
	defer m.lines.flush()
	err := conn.Serve(m.fromParent)
	for _, peer := range m.peers {
		peer.Abort()
	}
	m.turn.Lock() // a change of the configuration may be under way
	defer m.turn.Unlock()
	m.active = true // it comes too late to listen to the peers
	m.serving.Wait()
	if c, ok := m.work.(io.Closer); ok {
		c.Close()
	}
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (m *member) fromParent(r *ipc.Request) {
	switch r.Kind {
	case kindHello:
		m.answer(r, m.hello(r))
	case kindPeer:
		m.answer(r, m.addPeer(r))
	case kindListener:
		m.listeners = append(m.listeners, r.Files()...)
	case kindPrepare:
		listeners := m.listeners
		m.listeners = nil
		if m.work == nil {
			r.Fail(errors.New("no hello"))
			return
		}
		r.Go(func() { m.prepare(r, listeners) }) // a role may ask the parent for what it needs
	case kindAddresses:
		sockets := m.listeners
		m.listeners = nil
		r.Go(func() { m.readdress(r, sockets) })
	case kindActivate:
		r.Go(func() { m.activate(r) })
	case kindAbandon:
		r.Go(func() { m.abandon(r) })
	case kindDrain:
		r.Go(func() { m.drain(r) })
	case kindVerbosity:
		var v verbosity
		if r.Decode(&v) == nil {
			v.apply(m.log)
		}
		r.Reply(nil)
	default:
		if m.work != nil {
			m.work.handle(Parent, r)
		}
	}
}

func (m *member) prepare(r *ipc.Request, listeners []*os.File) {
	m.turn.Lock()
	defer m.turn.Unlock()
	err := m.work.prepare(r, listeners)
	m.prepared = err == nil
	m.answer(r, err)
}

func (m *member) activate(r *ipc.Request) {
	m.turn.Lock()
	defer m.turn.Unlock()
	if !m.prepared {
		r.Fail(errors.New("nothing is prepared"))
		return
	}
	m.prepared = false
	m.work.activate()
	m.serve()
	r.Reply(nil)
}

func (m *member) readdress(r *ipc.Request, sockets []*os.File) {
	m.turn.Lock()
	defer m.turn.Unlock()
	w, ok := m.work.(addressed)
	if !ok || !m.active {
		closeFiles(sockets)
		r.Fail(errors.New("addresses for nobody"))
		return
	}
	m.answer(r, w.readdress(r, sockets))
}

func (m *member) abandon(r *ipc.Request) {
	m.turn.Lock()
	defer m.turn.Unlock()
	m.prepared = false
	if m.work != nil {
		m.work.abandon()
	}
	r.Reply(nil)
}

func (m *member) answer(r *ipc.Request, err error) {
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(nil)
}

// hello makes the process what its role may be. Nothing of what strangers send has been
// read before.
func (m *member) hello(r *ipc.Request) error {
	if m.work != nil {
		return errors.New("second hello")
	}
	var h hello
	if err := r.Decode(&h); err != nil {
		return err
	}
	if h.Version != m.version {
		return fmt.Errorf("%s: this is version %q, started by version %q: restart smtpd", m.role, m.version, h.Version)
	}
	_ = time.Now().Local().String() // the time zone is read from a file, once
	sink, err := m.sink(&h, r.Files())
	if err != nil {
		return err
	}
	m.log = trace.New(sink)
	h.Verbosity.apply(m.log)
	if h.Drop {
		if err := m.drop(&h); err != nil {
			return fmt.Errorf("%s: %w", m.role, err)
		}
	}
	m.work = newWorker(m, &h)
	return nil
}

func (m *member) drop(h *hello) error {
	privdrop.Umask(0o077)
	// A binary with cgo, such as one that looks for races, cannot reach all its threads.
	var err error
	if !h.Commands {
		err = privdrop.NoNewPrivs()
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if h.UID == 0 {
		return errors.New("will not run as root")
	}
	id := privdrop.Identity{User: h.User, UID: h.UID, GID: h.GID, Groups: h.Groups}
	if err := privdrop.Drop(h.Root, id); err != nil {
		return err
	}
	if err := privdrop.DieWithParent(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if m.role == Agent {
		if err := os.Chdir(h.Home); err != nil {
			return os.Chdir("/")
		}
		return nil
	}
	report, err := sandbox.Enter(profileOf(m.role))
	if err != nil {
		return err
	}
	m.log.Debugf("%s: %s", m.role, report)
	return nil
}

// sink gives where the lines of this process go. In the foreground that is standard error,
// otherwise the socket to the system's log that the parent opened.
func (m *member) sink(h *hello, files []*os.File) (trace.Sink, error) {
	switch {
	case h.Stderr:
		return NewStderrSink(os.Stderr), nil
	case len(files) == 1:
		w, err := newSyslogSink(files[0], m.parent)
		m.lines.to = w
		return &m.lines, err
	}
	return upSink{m.parent}, nil
}

func (m *member) addPeer(r *ipc.Request) error {
	var p peer
	if err := r.Decode(&p); err != nil {
		return err
	}
	files := r.Files()
	if len(files) != 1 {
		return errors.New("peer without a socket")
	}
	conn, err := ipc.FromFile(files[0])
	if err != nil {
		return err
	}
	m.peers[Role(p.Role)] = conn
	return nil
}

// serve begins to listen to the peers; once, at the first activation.
func (m *member) serve() {
	if m.active {
		return
	}
	m.active = true
	for role, conn := range m.peers {
		m.serving.Go(func() {
			err := conn.Serve(func(r *ipc.Request) { m.work.handle(role, r) })
			m.log.Debugf("%s: connection to %s ended: %v", m.role, role, err)
			// Without a peer a role can do nothing right. An agent is not needed any more, any
			// other is started again with all the others.
			m.parent.Abort()
		})
	}
}

func (m *member) drain(r *ipc.Request) {
	var d drain
	if err := r.Decode(&d); err != nil {
		r.Fail(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d.Wait))
	defer cancel()
	m.work.drain(ctx)
	m.lines.flush()
	r.Reply(nil)
}

func profileOf(r Role) sandbox.Profile {
	switch r {
	case Control:
		return sandbox.Control
	case Crypto, Hasher:
		return sandbox.Crypto
	case Lookup:
		return sandbox.Lookup
	case Dispatcher:
		return sandbox.Dispatcher
	}
	return sandbox.Queue
}

func newWorker(m *member, h *hello) worker {
	switch m.role {
	case Control:
		return newControl(m, h.Drop)
	case Crypto:
		return newCrypto(m)
	case Lookup:
		return newLookup(m)
	case Dispatcher:
		return newDispatcher(m)
	case Queue:
		return newQueue(m, h.Spool)
	case Hasher:
		return &hasherRole{}
	}
	return newAgent(m, h)
}
