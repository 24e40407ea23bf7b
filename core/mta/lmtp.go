package mta

import (
	"errors"
	"net"
	"slices"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// lmtpBudget bounds what a server may send between two writes of ours, in octets;
// maxLMTP is the number of recipients of a transaction, whose replies all come at once.
const (
	lmtpBudget = 256 << 10
	maxLMTP    = 100
)

// lmtpClient speaks LMTP (RFC 2033) through go-smtp.
type lmtpClient struct {
	c       *gosmtp.Client
	guard   *guard
	closing *fate
}

func openLMTP(conn net.Conn, name string, times Timeouts) (*lmtpClient, error) {
	g := &guard{Conn: conn, block: times.DataBlock, budget: lmtpBudget}
	c := gosmtp.NewClientLMTP(g)
	c.CommandTimeout, c.SubmissionTimeout = times.Command, times.DataDone
	if err := c.Hello(name); err != nil {
		return nil, lmtpError(err)
	}
	return &lmtpClient{c: c, guard: g}, nil
}

// lmtpReply gives the library's form of a refusal back its form as a reply.
func lmtpReply(err error) (reply, bool) {
	var e *gosmtp.SMTPError
	if !errors.As(err, &e) {
		return reply{}, false
	}
	text := clean(strings.ReplaceAll(e.Message, "\n", " "))
	if v := e.EnhancedCode; v != gosmtp.NoEnhancedCode && v != gosmtp.EnhancedCodeNotSet {
		text = enhancedText(v) + " " + text
	}
	return reply{code: e.Code, lines: []string{text}}, e.Code >= 400 && e.Code < 600
}

func enhancedText(v gosmtp.EnhancedCode) string {
	b := make([]byte, 0, 12)
	for i, n := range v {
		if i > 0 {
			b = append(b, '.')
		}
		n = max(0, min(n, 999))
		if n >= 100 {
			b = append(b, byte('0'+n/100))
		}
		if n >= 10 {
			b = append(b, byte('0'+n/10%10))
		}
		b = append(b, byte('0'+n%10))
	}
	return string(b)
}

func lmtpError(err error) error {
	if r, ok := lmtpReply(err); ok {
		return &refusal{r}
	}
	return err
}

func (l *lmtpClient) quit() {
	l.guard.block = l.c.CommandTimeout
	_ = l.c.Quit()
	l.close()
}

func (l *lmtpClient) close()        { _ = l.guard.Close() }
func (l *lmtpClient) closed() *fate { return l.closing }

// noDSN is always true: a server that speaks LMTP is where mail ends, so that the notice
// of success is ours to send, and DSN parameters are not passed on.
func (l *lmtpClient) noDSN() bool { return true }
func (l *lmtpClient) final() bool { return true }

// refused turns an error of the library into a fate, or gives it back when it is not a reply.
func (l *lmtpClient) refused(err error) (fate, error) {
	r, ok := lmtpReply(err)
	if !ok {
		return fate{}, err
	}
	f := verdict(r)
	if r.code == 421 {
		l.closing = &f
	}
	return f, nil
}

func (l *lmtpClient) send(tx *transaction, sender func(*Message) address.Address, _ func() *transaction) (*transaction, error) {
	if size, ok := l.c.MaxMessageSize(); ok && size > 0 && tx.msg.Body.size() > int64(size) {
		tx.settle(fate{status: envelope.PermFail, text: "message too large for peer", class: 5, code: 304})
		return nil, nil
	}
	from := sender(tx.msg).String()
	utf8 := tx.international(from)
	if offered, _ := l.c.Extension("SMTPUTF8"); utf8 && !offered {
		tx.settle(*noUTF8())
		return nil, nil
	}
	if err := l.c.Mail(from, &gosmtp.MailOptions{Size: tx.msg.Body.size(), UTF8: utf8}); err != nil {
		f, err := l.refused(err)
		if err == nil && l.closing == nil {
			tx.settle(f)
		}
		return nil, err
	}
	if err := l.recipients(tx); err != nil {
		return nil, err
	}
	if tx.accepted == 0 {
		return nil, l.reset()
	}
	return nil, l.data(tx)
}

// reset ends a transaction that came to nothing.
func (l *lmtpClient) reset() error {
	if l.closing != nil {
		return nil
	}
	return l.c.Reset()
}

// recipients sends the RCPT commands. The library tells the final replies apart by address:
// an address that comes twice, or more recipients than can be answered, follow later.
func (l *lmtpClient) recipients(tx *transaction) error {
	seen := make(map[string]bool)
	for i := range tx.rcpts {
		to := tx.rcpts[i].Dest.String()
		if seen[to] || tx.accepted == maxLMTP {
			tx.later = append(tx.later, i)
			continue
		}
		seen[to] = true
		if err := l.c.Rcpt(to, nil); err == nil {
			tx.accepted++
			continue
		} else if r, ok := lmtpReply(err); !ok {
			return err
		} else if err := tx.rcptReply(i, r); err != nil {
			return err
		}
	}
	return nil
}

func (l *lmtpClient) data(tx *transaction) error {
	w, err := l.c.Data()
	if err != nil {
		f, err := l.refused(err)
		if err != nil {
			return err
		}
		tx.settleTaken(f)
		return l.reset()
	}
	if !tx.bodyMayBegin() {
		return errSlow
	}
	tx.body = true
	err = tx.msg.Body.chunks(func(p []byte) error {
		_, err := w.Write(p)
		return err
	})
	if err != nil {
		return err
	}
	replies, err := w.CloseWithLMTPResponse()
	var failed gosmtp.LMTPDataError
	all := err == nil || errors.As(err, &failed)
	tx.lmtpReplies(replies, failed)
	if _, only := err.(gosmtp.LMTPDataError); !all || err != nil && !only {
		return err // the connection was lost between two replies
	}
	return nil
}

// lmtpReplies notes the reply for each recipient that was accepted (RFC 2033 section 4.2).
// An address stands for its first recipient: the others have a transaction of their own.
func (tx *transaction) lmtpReplies(good map[string]*gosmtp.DataResponse, failed gosmtp.LMTPDataError) {
	for i := range tx.rcpts {
		if tx.fates[i].status != 0 || slices.Contains(tx.later, i) {
			continue
		}
		to := tx.rcpts[i].Dest.String()
		if r, ok := good[to]; ok {
			tx.fates[i] = delivered(reply{250, []string{clean(strings.ReplaceAll(r.StatusText, "\n", " "))}})
		} else if e, ok := failed[to]; ok {
			if r, ok := lmtpReply(e); ok {
				tx.fates[i] = verdict(r)
			}
		}
	}
}
