package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/compat/peercred"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/stats"
)

// controlRole answers smtpctl and sendmail. It does nothing itself: it finds out who asks,
// whether they may, and passes the request on to the role that can.
type controlRole struct {
	m       *member
	dropped bool // root was given up
	started time.Time
	next    *controlConfig
	pending []*os.File
	listen  net.Listener

	mu      sync.Mutex
	clients map[*ipc.Conn]uint32
	closed  bool
	passed  atomic.Int64 // octets of answers since memory was given back
	wg      sync.WaitGroup
}

// Bounds of clients of the control socket.
const (
	maxClients       = 256
	maxClientsOfUser = 32
	maxClientFrame   = 64 << 10 // octets
)

func newControl(m *member, dropped bool) *controlRole {
	return &controlRole{m: m, dropped: dropped, clients: make(map[*ipc.Conn]uint32)}
}

func (c *controlRole) prepare(r *ipc.Request, sockets []*os.File) error {
	c.next = new(controlConfig)
	if err := r.Decode(c.next); err != nil {
		return err
	}
	if len(sockets) != 1 {
		return errors.New("control: no socket")
	}
	c.pending = sockets
	return nil
}

func (c *controlRole) activate() {
	f := c.pending[0]
	c.pending = nil
	defer f.Close()
	if c.listen != nil {
		return // the socket is the same as before
	}
	c.started = time.Unix(c.next.Started, 0)
	l, err := net.FileListener(f)
	if err != nil {
		c.m.log.Warnf("control socket: %v", err)
		return
	}
	c.listen = l
	c.wg.Go(c.accept)
}

func (c *controlRole) abandon() {
	for _, f := range c.pending {
		f.Close()
	}
	c.pending = nil
}

func (c *controlRole) handle(from Role, r *ipc.Request) {
	r.Fail(fmt.Errorf("control: message %d of %s", r.Kind, from))
}

// drain stops accepting; who asked for the stop still gets the answer.
func (c *controlRole) drain(context.Context) {
	if c.listen != nil {
		c.listen.Close()
	}
}

// Close ends the connections of clients.
func (c *controlRole) Close() error {
	c.drain(context.Background())
	c.mu.Lock()
	c.closed = true
	var all []*ipc.Conn
	for conn := range c.clients {
		all = append(all, conn)
	}
	c.mu.Unlock()
	for _, conn := range all {
		conn.Close()
	}
	c.wg.Wait()
	return nil
}

func (c *controlRole) accept() {
	for {
		conn, err := c.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(100 * time.Millisecond) // out of descriptors
			continue
		}
		c.client(conn.(*net.UnixConn))
	}
}

// client serves one client, unless there are too many.
func (c *controlRole) client(sock *net.UnixConn) {
	cred, err := peercred.Get(sock)
	if err != nil {
		c.m.log.Warnf("control socket: peer: %v", err)
		sock.Close()
		return
	}
	c.mu.Lock()
	same := 0
	for _, uid := range c.clients {
		if uid == cred.UID {
			same++
		}
	}
	if c.closed || cred.UID != 0 && (len(c.clients) >= maxClients || same >= maxClientsOfUser) {
		c.mu.Unlock()
		sock.Close()
		return
	}
	conn := ipc.NewLimited(sock, maxClientFrame)
	c.clients[conn] = cred.UID
	c.mu.Unlock()
	c.wg.Go(func() {
		// One request after the other, and the next one only when the answer was taken.
		_ = conn.Serve(func(r *ipc.Request) {
			c.request(r, cred.UID)
			conn.Flush(adminWait)
		})
		conn.Close()
		c.mu.Lock()
		delete(c.clients, conn)
		c.mu.Unlock()
		if c.passed.Load() > muchShown {
			c.passed.Store(0)
			debug.FreeOSMemory() // a list of the queue is the only thing that is large here
		}
	})
}

// errNotPermitted is the answer to who is not root.
var errNotPermitted = errors.New("need root privileges")

// permitted decides who may ask for what. A daemon of an ordinary user belongs to that
// user. As root, whoever else runs as the daemon's user is nobody special: programs of
// aliases do.
func (c *controlRole) permitted(op control.Op, uid uint32) bool {
	return op.Allowed(uid) || !c.dropped && uid == uint32(os.Getuid())
}

func (c *controlRole) request(r *ipc.Request, uid uint32) {
	var req control.Request
	if err := r.Decode(&req); err != nil || !req.Check() {
		r.Fail(errors.New("not a request that this smtpd knows"))
		return
	}
	if !c.permitted(req.Op, uid) {
		r.Fail(errNotPermitted)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminWait)
	defer cancel()
	switch req.Op {
	case control.ShowStats, control.Monitor:
		r.Reply(c.statistics(ctx))
	case control.ShowStatus:
		c.status(ctx, r, &req)
	default:
		c.pass(ctx, r, &adminRequest{req, uid})
	}
}

// adminRequest is a request that was found to be permitted.
type adminRequest struct {
	control.Request
	UID uint32 // who asks
}

// pass hands a request on to the role that carries it out.
func (c *controlRole) pass(ctx context.Context, r *ipc.Request, req *adminRequest) {
	to := c.m.peers[Queue]
	switch req.Op {
	case control.PauseSMTP, control.ResumeSMTP, control.ShowHosts, control.ShowHostStats, control.ShowRelays,
		control.ShowRoutes, control.ResumeRoute, control.BlockMTA, control.UnblockMTA, control.ShowBlocks, control.Enqueue:
		to = c.m.peers[Dispatcher]
	case control.UpdateTable:
		to = c.m.peers[Lookup]
	case control.LogBrief, control.LogVerbose, control.Trace, control.Untrace, control.Reload, control.Stop:
		to = c.m.parent
	}
	var reply ipc.Raw
	var with []*os.File
	if req.Op == control.QueueImport {
		with = r.Files()
	}
	files, err := to.CallFiles(ctx, kindAdmin, req, &reply, with...)
	if err != nil {
		r.Fail(err)
		return
	}
	c.passed.Add(int64(len(reply)))
	r.Reply(&reply, files...)
}

// statistics adds up the counters of all roles.
func (c *controlRole) statistics(ctx context.Context) *control.Stats {
	c.mu.Lock()
	all := [][]stats.Value{{{Name: stats.ControlSession, Value: int64(len(c.clients))}}}
	c.mu.Unlock()
	for _, peer := range c.m.peers {
		var reply statsReply
		if peer.Call(ctx, kindStats, nil, &reply) == nil {
			all = append(all, reply.Values)
		}
	}
	return &control.Stats{Values: stats.Merge(all...), Uptime: int64(time.Since(c.started) / time.Second)}
}

// status asks both roles that can pause something.
func (c *controlRole) status(ctx context.Context, r *ipc.Request, req *control.Request) {
	var whole control.Status
	for _, role := range []Role{Queue, Dispatcher} {
		var part control.Status
		if err := c.m.peers[role].Call(ctx, kindAdmin, &adminRequest{Request: *req}, &part); err != nil {
			r.Fail(err)
			return
		}
		whole.MDA = whole.MDA || part.MDA
		whole.MTA = whole.MTA || part.MTA
		whole.SMTP = whole.SMTP || part.SMTP
	}
	r.Reply(&whole)
}
