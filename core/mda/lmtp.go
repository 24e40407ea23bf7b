package mda

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// Bounds of an LMTP session.
const (
	maxReplies  = 64 << 10 // octets that the server may send in all
	lmtpPort    = "25"
	lmtpGoodbye = 5 * time.Second
)

// lmtp hands the message to an LMTP server, RFC 2033.
func (a *Agent) lmtp(ctx context.Context, j *Job) Outcome {
	network, addr, err := lmtpDestination(j.Path)
	if err != nil {
		return j.failed(err)
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return j.failed(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	client := gosmtp.NewClientLMTP(&guard{Conn: conn, left: maxReplies})
	err = a.transact(client, j)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(lmtpGoodbye))
		_ = client.Quit() // whatever comes back, the message is theirs
		return Outcome{Status: envelope.Delivered}
	}
	if ctx.Err() != nil {
		err = errors.New("session took too long")
	}
	return j.refused(err)
}

// transact delivers one message. When the message cannot be read to its end the
// connection is left without the final dot.
func (a *Agent) transact(c *gosmtp.Client, j *Job) error {
	if err := c.Hello(heloName(a.host.Hostname)); err != nil {
		return &unready{err}
	}
	rcpt := j.User
	if j.RcptTo {
		rcpt = j.Dest.String()
	}
	utf8 := !address.ASCII(rcpt) || j.Sender.International()
	if offered, _ := c.Extension("SMTPUTF8"); utf8 && !offered {
		return &gosmtp.SMTPError{Code: 553, EnhancedCode: gosmtp.EnhancedCode{5, 6, 7}, Message: "SMTPUTF8 not supported by the server"}
	}
	size := int64(len(j.prefix())) + j.Size
	if err := c.Mail(j.Sender.String(), &gosmtp.MailOptions{Size: size, UTF8: utf8}); err != nil {
		return err
	}
	if strings.ContainsAny(rcpt, "<> ") && !strings.HasPrefix(rcpt, `"`) {
		return fmt.Errorf("user %q cannot be a recipient", rcpt)
	}
	if err := c.Rcpt(rcpt, nil); err != nil {
		return err
	}
	data, err := c.Data()
	if err != nil {
		return err
	}
	a.reader.Reset(j.message())
	if err := copyWithoutBareCR(data, a.reader); err != nil {
		return err
	}
	_, err = data.CloseWithLMTPResponse()
	return err
}

// copyWithoutBareCR puts a space for each CR that ends no line: servers differ in whether
// it is a line end, and a dot between two of them must not be the end of the message.
func copyWithoutBareCR(w io.Writer, r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		end := len(line)
		if end >= 2 && line[end-2] == '\r' && line[end-1] == '\n' {
			end -= 2
		} else if errors.Is(err, bufio.ErrBufferFull) && line[end-1] == '\r' {
			// What follows decides; give it back by looking at the next octet.
			if uerr := r.UnreadByte(); uerr != nil {
				return uerr
			}
			line = line[:end-1]
			end--
		}
		for i, c := range line[:end] {
			if c == '\r' {
				line[i] = ' '
			}
		}
		if _, werr := w.Write(line); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// unready is a refusal before the first command about the message. It says nothing about
// the message, so it is not permanent, whatever its code is.
type unready struct{ error }

func (e *unready) Unwrap() error { return e.error }

// refused makes the outcome of an error: 5xx is permanent, all else can be tried again.
func (j *Job) refused(err error) Outcome {
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) {
		return j.failed(err)
	}
	text := strconv.Itoa(reply.Code) + " "
	out := Outcome{Status: envelope.TempFail, Exit: exTempFail}
	var early *unready
	if reply.Code/100 == 5 && !errors.As(err, &early) {
		out.Status, out.Exit = envelope.PermFail, exUnavailable
	}
	if e := reply.EnhancedCode; e[0] == reply.Code/100 && (e[0] == 4 || e[0] == 5) &&
		e[1] >= 0 && e[1] < 100 && e[2] >= 0 && e[2] < 100 {
		out.EscCode = uint16(e[1]*100 + e[2])
		if out.EscClass = 4; out.Status == envelope.PermFail {
			out.EscClass = 5
		}
		text += fmt.Sprintf("%d.%d.%d ", e[0], e[1], e[2])
	}
	text += strings.ReplaceAll(reply.Message, "\n", " ")
	out.Text = quoted(j.Method.String() + ": " + text)
	return out
}

// lmtpDestination reads host, host:port, [v6]:port, an IPv6 address or /socket.
func lmtpDestination(s string) (network, addr string, err error) {
	if strings.HasPrefix(s, "/") {
		return "unix", s, nil
	}
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	if ip, err := netip.ParseAddr(bare); err == nil {
		return "tcp", net.JoinHostPort(ip.String(), lmtpPort), nil
	}
	if !strings.Contains(s, ":") {
		return "tcp", net.JoinHostPort(s, lmtpPort), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", "", fmt.Errorf("invalid destination %q", s)
	}
	return "tcp", net.JoinHostPort(host, port), nil
}

func heloName(hostname string) string {
	if hostname == "" {
		return "localhost"
	}
	return hostname
}

// guard is a connection that adds what the client lacks: a bound on all replies together.
// The end of the delivery's context closes the connection; that bounds every read and
// write, of the message too.
type guard struct {
	net.Conn
	left int
}

var errTooMuch = errors.New("server says too much")

func (g *guard) Read(p []byte) (int, error) {
	if g.left <= 0 {
		return 0, errTooMuch
	}
	n, err := g.Conn.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}

// SetDeadline does nothing: the client would take our deadlines away.
func (g *guard) SetDeadline(time.Time) error { return nil }
