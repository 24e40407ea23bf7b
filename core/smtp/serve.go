package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

var (
	errDrain   = errors.New("shutting down")
	errExpired = errors.New("session lasts too long")
)

// Serve handles one session and closes conn. When ctx ends, the session is finished with
// 421 as soon as it waits for a command; a message that is being received is taken first.
// To end it at once, close conn. A panic in the session or its backend is logged and
// ends this session only.
func Serve(ctx context.Context, conn net.Conn, peer Peer, cfg *Config, b Backend, t *trace.Trace) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Conn{cfg: cfg, peer: peer, t: t, ctx: own, raw: conn, conn: conn}
	t.Of, t.Remote, t.Local = trace.SMTP, peer.Remote.Addr(), peer.Socket
	c.expires = time.Now().Add(orDefault(cfg.Timeouts.Session, defaultSession))
	stop := context.AfterFunc(ctx, c.drain)
	defer func() {
		stop()
		cancel()
		conn.Close()
	}()
	c.guard(func() { c.serve(b, cancel) })
	c.guard(c.end)
}

// guard runs one part of the session and keeps a panic inside.
func (c *Conn) guard(part func()) {
	defer func() {
		if p := recover(); p != nil {
			c.t.Warnf("%s smtp: panic: %v\n%s", c.t.SID(), p, debug.Stack())
			c.appendReply(reply(421, 3, 0, textTempError))
			c.hang("panic")
		}
	}()
	part()
}

func (c *Conn) serve(b Backend, cancel func()) {
	if c.cfg.SMTPS {
		if err := c.handshake(); err != nil {
			c.hang(tlsReason(err))
			return
		}
	}
	if !c.greet(b, cancel) {
		return
	}
	for c.reason == "" {
		line, err := c.readCommand()
		if err != nil {
			c.readFailed(err)
			return
		}
		c.command(line)
		c.announce(false)
	}
}

// greet asks the backend for a session and sends the banner. A client that talks before
// the banner is not a mail server: it is refused unless the configuration takes it.
func (c *Conn) greet(b Backend, cancel func()) bool {
	early := c.watchEarly(cancel)
	session, err := b.NewSession(c)
	c.session = session
	talked, gone := early()
	switch {
	case gone:
		// Who only closed his half may still be waiting for the banner.
		c.banner()
		c.hang("disconnect")
	case err != nil:
		c.send(c.refusal(err), "")
		c.hang("refused")
	case session == nil:
		c.send(reply(421, 3, 0, textTempError), "")
	case talked && !c.cfg.TakeEarly:
		c.send(reply(554, 5, 1, "Invalid command: Command sent before the greeting"), "")
		c.hang("early-talker")
	default:
		if talked {
			c.t.Infof("smtp early-talker")
		}
		c.announce(false)
		c.banner()
		return true
	}
	return false
}

func (c *Conn) banner() {
	c.appendReply(plainReply(220, c.Hostname()+" ESMTP "+c.ident()))
}

func (c *Conn) ident() string {
	if c.cfg.Ident == "" {
		return defaultIdent
	}
	return c.cfg.Ident
}

// refusal is the reply to a backend that wants no session.
func (c *Conn) refusal(err error) *gosmtp.SMTPError {
	r := c.answer(err, nil)
	if r.Code < 400 || !isReply(err) {
		return reply(421, 3, 0, textTempError)
	}
	return r
}

func isReply(err error) bool {
	var said *gosmtp.SMTPError
	return errors.As(err, &said)
}

// watchEarly reads while the backend makes its session. The function that it gives ends
// that and tells what came.
func (c *Conn) watchEarly(cancel func()) func() (talked, gone bool) {
	if c.peer.Socket {
		return func() (bool, bool) { return false, false }
	}
	done := make(chan error, 1)
	c.raw.SetReadDeadline(c.expires)
	go func() {
		n, err := c.conn.Read(c.in.Room()[:1]) // it may be taken
		c.in.w += n
		if n > 0 {
			err = nil
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
		done <- err
	}()
	return func() (bool, bool) {
		c.raw.SetReadDeadline(time.Unix(1, 0))
		err := <-done
		return err == nil, err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
	}
}

// drain is called when the server shuts down.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.waiting {
		c.raw.SetReadDeadline(time.Unix(1, 0))
	}
}

// readCommand gives the next command line. It is valid until the next read.
func (c *Conn) readCommand() ([]byte, error) {
	if line := c.pending; line != nil {
		c.pending = nil
		return line, nil
	}
	auth := 0
	if c.secured() && !c.authenticated {
		auth = maxAuthLine
	}
	return c.readLine(maxLine, auth)
}

// readLine gives the next line of less than most octets, or less than auth when it is AUTH.
func (c *Conn) readLine(most, auth int) ([]byte, error) {
	var deadline time.Time
	for {
		line, err := c.in.line(c.cfg.Normalize, most, auth)
		if line != nil || err != nil {
			return line, err
		}
		c.in.shrink()
		if deadline.IsZero() {
			deadline = time.Now().Add(c.commandTime())
		}
		if err := c.fill(deadline, !c.chunking); err != nil {
			return nil, err
		}
	}
}

func (c *Conn) commandTime() time.Duration {
	return orDefault(c.cfg.Timeouts.Command, defaultTimeout)
}

// fill sends the replies and waits for octets.
func (c *Conn) fill(deadline time.Time, interruptible bool) error {
	if err := c.flush(); err != nil {
		return err
	}
	if deadline.After(c.expires) {
		deadline = c.expires
	}
	c.mu.Lock()
	if interruptible && c.draining {
		c.mu.Unlock()
		return errDrain
	}
	c.waiting = interruptible
	err := c.raw.SetReadDeadline(deadline)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	n, err := c.read(interruptible)
	c.mu.Lock()
	drained := c.waiting && c.draining
	c.waiting = false
	c.mu.Unlock()
	switch {
	case n > 0:
		return nil
	case err == nil:
		return io.ErrNoProgress
	case drained && errors.Is(err, os.ErrDeadlineExceeded):
		return errDrain
	case errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(c.expires):
		return errExpired
	}
	return err
}

// read reads to the buffer. While a session waits for a command, which may be for minutes, it
// has none.
func (c *Conn) read(command bool) (n int, err error) {
	if !command || c.in.r < c.in.w {
		n, err = c.conn.Read(c.in.Room())
		c.in.w += n
		return n, err
	}
	if c.conn == c.raw {
		if raw, ok := c.raw.(lateReader); ok {
			n, err = raw.ReadLate(&c.in)
			c.in.w += n
			return n, err
		}
	}
	// TLS has a buffer of its own: the first octet tells that there is something in it.
	c.in.Drop()
	n, err = c.conn.Read(c.first[:])
	c.in.w += copy(c.in.Room(), c.first[:n])
	return n, err
}

// lateReader is a connection that wants room to read to only when there is something to read.
type lateReader interface {
	ReadLate(to interface {
		Room() []byte
		Drop()
	}) (int, error)
}

// readFailed ends the session after an error of the connection or of a line, with a
// reply where somebody may read it.
func (c *Conn) readFailed(err error) {
	switch {
	case errors.Is(err, errDrain):
		c.appendReply(reply(421, 3, 2, "Service shutting down, closing connection"))
		c.hang("shutdown")
	case errors.Is(err, errExpired):
		c.appendReply(reply(421, 7, 0, "Session lasts too long, closing connection"))
		c.hang("timeout")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.appendReply(reply(421, 4, 2, "Timeout exceeded, closing connection"))
		c.hang("timeout")
	case errors.Is(err, errLineTooLong):
		c.send(reply(500, 5, 2, "Command line too long"), "")
		c.hang("bad-input")
	case errors.Is(err, errAuthTooLong):
		c.send(reply(500, 5, 6, "Authentication exchange line is too long"), "")
		c.hang("bad-input")
	case errors.Is(err, errNotSMTP):
		c.send(reply(500, 5, 1, textUnrecognized), "")
		c.hang("bad-input")
	case errors.Is(err, errBareLF):
		c.send(reply(500, 5, 2, "Syntax error: line ended by a bare <LF>"), "")
		c.hang("bad-input")
	default:
		c.hang(ioReason(err))
	}
}

// ioReason says why a connection broke, as the log shows it.
func ioReason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "disconnect"
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "timeout"
	}
	return fmt.Sprintf("%q", "io-error: "+err.Error())
}

// end tells everybody that the session is over.
func (c *Conn) end() {
	if c.session != nil {
		defer c.guard(func() { c.session.Logout() })
	}
	defer c.in.release()
	if c.flush() == nil {
		c.linger()
	}
	c.announce(true)
	c.t.Infof("smtp disconnected reason=%s", c.reason)
	if s, ok := c.session.(EndSession); ok {
		s.End(c.reason)
	}
}

// linger lets the last reply arrive: closing a socket with unread octets in it resets
// the connection, and the client loses what it has not read yet.
func (c *Conn) linger() {
	switch c.reason {
	case "quit", "disconnect", "timeout", "shutdown":
		return
	}
	c.raw.SetDeadline(time.Now().Add(lingerTime))
	if tc, ok := c.conn.(*tls.Conn); ok {
		tc.CloseWrite()
	}
	if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
		if half.CloseWrite() != nil {
			return
		}
		io.Copy(io.Discard, io.LimitReader(c.raw, lingerOctets))
	}
}
