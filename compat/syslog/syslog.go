// Package syslog writes to the system's log (RFC 3164, syslogd(8)) through a socket that
// is connected once: it goes on working after a chroot and can be passed to other
// processes.
package syslog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/compat/nonblock"
	"github.com/godwit-mta/godwit/platform"
)

// Facility is who speaks, ready to be added to a severity.
type Facility uint8

// Mail is the facility of mail servers.
const Mail Facility = 2 << 3

// Severity is how urgent a line is (RFC 3164 section 4.1.1).
type Severity uint8

// The severities in use.
const (
	Crit    Severity = 2
	Err     Severity = 3
	Warning Severity = 4
	Notice  Severity = 5
	Info    Severity = 6
	Debug   Severity = 7
)

// Bounds of one line in octets, head included. Some systems take no more than 2048 in
// one datagram, and RFC 3164 section 4.1 promises 1024.
const (
	maxLine   = 2048
	shortLine = 1024
)

// sendTime is how long a line may wait for the system's log. A server must not stop
// because its log does.
const sendTime = 200 * time.Millisecond

// Conn is a connection to the system's log, safe for use by several goroutines.
type Conn struct {
	facility Facility
	ident    string

	mu   sync.Mutex
	conn *net.UnixConn
	path string // where to connect again; empty in a process that was passed the socket
	buf  []byte
	head head
	lost int // lines that did not get through since the last that did
}

// Dial connects to the system's log under the name ident, "smtpd".
func Dial(facility Facility, ident string) (*Conn, error) {
	var errs []error
	for _, path := range platform.Current().SyslogSockets {
		c, err := dial(path)
		if err == nil {
			return &Conn{facility: facility, ident: ident, conn: c, path: path}, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("syslog: %w", errors.Join(errs...))
}

func dial(path string) (*net.UnixConn, error) {
	return net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
}

// FromFile gives the connection that another process got from File. f is closed, also
// after an error.
func FromFile(f *os.File, facility Facility, ident string) (*Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("syslog: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("syslog: %s is not a unix socket", f.Name())
	}
	return &Conn{facility: facility, ident: ident, conn: u}, nil
}

// File gives a copy of the socket, to be passed to another process and closed.
func (c *Conn) File() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.File()
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.Close()
}

// Log writes one line. text must not hold line ends; what is too long for a line is cut.
// Log waits at most a few hundred milliseconds. A line that does not get through is
// dropped and the error says why; the next one that does says how many are missing.
//
// When syslogd(8) has been restarted the line goes to the new one if its socket can be
// seen from here. A process that cannot see it should log through one that can.
func (c *Conn) Log(severity Severity, text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost > 0 {
		missing := strconv.Itoa(c.lost) + " lines could not be logged"
		if c.send(Warning, missing) == nil {
			c.lost = 0
		}
	}
	err := c.send(severity, text)
	if err != nil {
		c.lost++
		return fmt.Errorf("syslog: %w", err)
	}
	return nil
}

func (c *Conn) send(severity Severity, text string) error {
	c.head.set(time.Now(), c.ident)
	c.buf = line(c.buf[:0], c.facility, severity, c.head.text, text, maxLine)
	err := c.write()
	if errors.Is(err, syscall.EMSGSIZE) || errors.Is(err, syscall.ENOBUFS) {
		c.buf = cut(c.buf, shortLine)
		err = c.write()
	}
	if c.path == "" || !gone(err) {
		return err
	}
	fresh, dialErr := dial(c.path)
	if dialErr != nil {
		return err
	}
	c.conn.Close()
	c.conn = fresh
	return c.write()
}

// write sends the line. The log mostly takes it at once; only when it does not is a deadline needed.
func (c *Conn) write() error {
	if taken, err := c.try(); taken || err != nil {
		return err
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.buf)
	return err
}

// try sends the line if that goes without waiting.
func (c *Conn) try() (taken bool, err error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return false, err
	}
	if err := raw.Control(func(fd uintptr) { _, err = nonblock.Write(fd, c.buf) }); err != nil {
		return false, err
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// gone says whether an error means that the other end of the socket is closed.
func gone(err error) bool {
	for _, e := range []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ENOTCONN,
		syscall.EPIPE, syscall.EDESTADDRREQ} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// head is what stands between the priority and the text of a line. It is the same for a second.
type head struct {
	second int64
	text   []byte
}

func (h *head) set(now time.Time, ident string) {
	if h.text != nil && h.second == now.Unix() {
		return
	}
	h.second = now.Unix()
	h.text = now.AppendFormat(h.text[:0], time.Stamp)
	h.text = append(h.text, ' ')
	h.text = append(h.text, ident...)
	h.text = append(h.text, '[')
	h.text = strconv.AppendInt(h.text, int64(os.Getpid()), 10)
	h.text = append(h.text, "]: "...)
}

// line appends one line in the form of RFC 3164 section 4.1 without a host name, which
// is the form in which programs talk to their own host's syslogd(8).
func line(b []byte, f Facility, s Severity, head []byte, text string, limit int) []byte {
	b = append(b, '<')
	b = strconv.AppendUint(b, uint64(f)|uint64(s&7), 10)
	b = append(b, '>')
	b = append(b, head...)
	b = append(b, text...)
	return cut(b, limit)
}

// cut shortens b to limit octets, between two characters.
func cut(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	const mark = "..."
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(b[end]) {
		end--
	}
	return append(b[:end], mark...)
}
