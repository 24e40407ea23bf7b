package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/ipc"
)

// Bounds of reading the .forward files of users.
const (
	mostReaders = 16               // processes at a time
	readerWait  = 20 * time.Second // for a turn, the start of a process and its answer
)

// errTooSlow is said of a home that does not answer.
var errTooSlow = errors.New("home directory does not answer")

// forward reads the .forward file of a user, with the rights of that user: the home may lie
// where root is nobody. Most users have no such file, and that is found out without a
// process.
func (p *parent) forward(s *set, r *ipc.Request) {
	var req forwardRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	u := user.User{Name: req.User, UID: req.UID, GID: req.GID, Home: req.Home}
	reply := &forwardReply{}
	if p.root && u.UID != 0 {
		p.askForward(s, u, reply)
	} else {
		reply.fill(readForward(u))
	}
	if reply.Error != "" {
		p.log.Warnf("forward file of %s: %s", req.User, reply.Error)
	}
	r.Reply(reply)
}

// askForward lets a process of the user read the file, unless root sees that there is none
// or that it is as it was a moment ago.
func (p *parent) askForward(s *set, u user.User, reply *forwardReply) {
	ask, file, err := mayForward(u)
	if !ask {
		reply.fill(nil, false, err)
		return
	}
	if known, ok := p.forwards.get(u, file, time.Now()); ok {
		*reply = known
		return
	}
	if err := p.readAs(s, u, reply); err != nil {
		reply.fill(nil, false, err)
		return
	}
	p.forwards.put(u, file, reply, time.Now())
}

func (reply *forwardReply) fill(content []byte, found bool, err error) {
	reply.Content, reply.Found = content, found
	if err != nil {
		reply.Error, reply.Insecure = err.Error(), errors.Is(err, errInsecure)
	}
}

// mayForward says whether the user has to be asked for a .forward, and what root sees of
// it. What root cannot see is asked of the user.
func mayForward(u user.User) (ask bool, file fs.FileInfo, err error) {
	if !filepath.IsAbs(u.Home) {
		return false, nil, nil
	}
	st, err := os.Stat(u.Home)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil, nil
	case err != nil:
		return true, nil, nil
	case st.Mode()&fs.ModeSticky != 0:
		return false, nil, stickyHome(u)
	}
	file, err = os.Lstat(filepath.Join(u.Home, forwardName))
	return !errors.Is(err, fs.ErrNotExist), file, nil
}

// readAs starts a process that becomes the user, reads the file and ends.
func (p *parent) readAs(s *set, u user.User, reply *forwardReply) error {
	ctx, cancel := context.WithTimeout(context.Background(), readerWait)
	defer cancel()
	select {
	case p.readers <- struct{}{}:
		defer func() { <-p.readers }()
	case <-ctx.Done():
		return errTooSlow
	}
	h := &hello{Version: p.opts.Version, Stderr: p.opts.Stderr, Verbosity: verbosityOf(p.log), Drop: p.root,
		User: u.Name, UID: u.UID, GID: u.GID, Groups: []uint32{u.GID}, Home: "/"}
	err := p.short(ctx, s, Agent, h, func(conn *ipc.Conn) error {
		return conn.Call(ctx, kindForward, &forwardRequest{User: u.Name, UID: u.UID, GID: u.GID, Home: u.Home}, reply)
	})
	if ctx.Err() != nil {
		return errTooSlow
	}
	if err != nil {
		return fmt.Errorf("reader of %s: %w", u.Name, err)
	}
	if len(reply.Content) > maxForward { // said by a process of the user
		*reply = forwardReply{}
		return errors.New("too large")
	}
	return nil
}

// short starts a process for one question. It ends with the connection, or is killed when
// the question fails: it may hang.
func (p *parent) short(ctx context.Context, s *set, role Role, h *hello, ask func(*ipc.Conn) error) error {
	c, err := p.spawn(s, role)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if err = s.adopt(c); err == nil {
		err = p.greet(ctx, c, h)
	}
	if err == nil {
		err = ask(c.conn)
	}
	if err != nil {
		c.proc.kill()
	}
	return err
}
