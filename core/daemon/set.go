package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/ipc"
)

// child is a member as the parent sees it.
type child struct {
	role Role
	conn *ipc.Conn
	proc *process
}

// death tells how a member ended.
type death struct {
	role Role
	how  string
}

// set is one generation of members and the agents that they asked for.
type set struct {
	members map[Role]*child
	died    chan death

	mu     sync.Mutex
	ending bool
	agents map[*child]struct{}
	alive  sync.WaitGroup

	granted  grants
	programs programs
}

// spawnSet starts the members, says hello to each and joins them with each other.
func (p *parent) spawnSet() (*set, error) {
	s := &set{members: make(map[Role]*child), died: make(chan death, 1), agents: make(map[*child]struct{}),
		programs: programs{running: make(map[uint64]*runningProgram)}}
	for _, role := range members() {
		c, err := p.spawn(s, role)
		if err != nil {
			s.killAll()
			return nil, err
		}
		s.members[role] = c
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupWait)
	defer cancel()
	for _, role := range members() {
		h, err := p.hello(role)
		if err == nil {
			err = p.greet(ctx, s.members[role], h)
		}
		if err != nil {
			s.killAll()
			return nil, err
		}
	}
	for _, pair := range pairs() {
		if err := s.join(ctx, pair[0], pair[1]); err != nil {
			s.killAll()
			return nil, err
		}
	}
	return s, nil
}

// spawn starts one process and begins to serve its requests.
func (p *parent) spawn(s *set, role Role) (*child, error) {
	sock, proc, err := p.opts.Spawn(role)
	if err != nil {
		return nil, err
	}
	conn, err := ipc.FromFile(sock)
	if err != nil {
		proc.kill()
		return nil, err
	}
	c := &child{role: role, conn: conn, proc: proc}
	s.alive.Go(func() {
		_ = conn.Serve(func(r *ipc.Request) { p.fromMember(s, role, r) })
	})
	s.alive.Go(func() {
		how := <-proc.exited
		conn.Close()
		s.gone(c, how)
	})
	return c, nil
}

// gone notes the end of a process. Only the end of a member that should run is a death.
func (s *set) gone(c *child, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.agents, c)
	if s.ending || c.role == Agent || c.role == Hasher {
		return
	}
	select {
	case s.died <- death{c.role, how}:
	default:
	}
}

// greet says hello and hands over a socket to the system's log.
func (p *parent) greet(ctx context.Context, c *child, h *hello) error {
	var files []*os.File
	if sink, ok := p.opts.Sink.(*parentSink); ok && !h.Stderr {
		if f := sink.file(); f != nil {
			files = append(files, f)
		}
	}
	return c.conn.Call(ctx, kindHello, h, nil, files...)
}

// join gives two members a socket to each other.
func (s *set) join(ctx context.Context, a, b Role) error {
	fa, fb, err := reexec.Socketpair()
	if err != nil {
		return err
	}
	if err := s.members[a].conn.Call(ctx, kindPeer, &peer{string(b)}, nil, fa); err != nil {
		fb.Close()
		return fmt.Errorf("%s: %w", a, err)
	}
	if err := s.members[b].conn.Call(ctx, kindPeer, &peer{string(a)}, nil, fb); err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	return nil
}

// killAll ends every process at once and waits for them.
func (s *set) killAll() { s.end(func(c *child) { c.proc.kill() }) }

// closeAll ends every process by closing its socket, and waits for them.
func (s *set) closeAll() { s.end(func(*child) {}) }

func (s *set) end(how func(*child)) {
	s.mu.Lock()
	s.ending = true
	var all []*child
	for _, c := range s.members {
		all = append(all, c)
	}
	for c := range s.agents {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		how(c)
		c.conn.Close()
	}
	s.programs.end()
	late := time.AfterFunc(endGrace, func() {
		for _, c := range all {
			c.proc.kill()
		}
	})
	defer late.Stop()
	s.alive.Wait()
	s.programs.alive.Wait()
}

// endGrace is how long a process may take to end that was told to.
const endGrace = 5 * time.Second

var errEnding = errors.New("smtpd is stopping")

// adopt makes an agent one of the set, unless the set is ending.
func (s *set) adopt(c *child) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return errEnding
	}
	s.agents[c] = struct{}{}
	return nil
}
