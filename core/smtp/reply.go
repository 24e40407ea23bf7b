package smtp

import (
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/message"
	"github.com/godwit-mta/godwit/core/trace"
)

// Texts of refusals that several commands use, in OpenSMTPD's words.
const (
	textNotNow       = "Invalid command: Command not allowed at this point."
	textUnrecognized = "Invalid command: Command unrecognized"
	textNoArguments  = "Invalid command arguments: command does not accept arguments."
	textTempError    = "Temporary failure"
	textNeedsUTF8    = "Address needs SMTPUTF8"
	textTooBig       = "Message too big for system: Transaction failed, message too big"
)

// maxReplyLine is the largest line of a reply with its line end (RFC 5321 section 4.5.3.1.5).
const maxReplyLine = 512

// reply makes one; the class of its enhanced code is that of code.
func reply(code, subject, detail int, text string) *gosmtp.SMTPError {
	return &gosmtp.SMTPError{
		Code:         code,
		EnhancedCode: gosmtp.EnhancedCode{code / 100, subject, detail},
		Message:      text,
	}
}

// plainReply makes one that has no enhanced code: 220, 354 and those to EHLO and HELO.
func plainReply(code int, text string) *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.NoEnhancedCode, Message: text}
}

// HeaderRefusal gives the reply to an error of message.Scan.
func HeaderRefusal(err error) *gosmtp.SMTPError {
	switch {
	case errors.Is(err, message.ErrLoop):
		return reply(554, 4, 6, "Routing loop detected: Loop detected")
	case errors.Is(err, message.ErrTooLarge):
		return reply(552, 3, 4, "Message too big for system: header section too large")
	}
	return reply(550, 7, 1, "Delivery not authorized, message refused: Message is not RFC 2822 compliant")
}

// answer gives the reply to what the backend said: fine when it said nothing.
func (c *Conn) answer(err error, fine *gosmtp.SMTPError) *gosmtp.SMTPError {
	if err == nil {
		return fine
	}
	var said *gosmtp.SMTPError
	if !errors.As(err, &said) || said.Code < 200 || said.Code > 599 || said.Code/100 == 3 {
		c.t.Warnf("%s smtp: %v", c.t.SID(), err)
		return reply(451, 3, 0, textTempError)
	}
	return said
}

// send adds a reply to what is to be sent and logs a refusal. command is what may be
// logged of the line that is answered.
func (c *Conn) send(r *gosmtp.SMTPError, command string) {
	first := c.appendReply(r)
	if r.Code == 421 || r.Code == 521 {
		c.hang("closed")
	}
	if r.Code < 400 {
		return
	}
	if command == "" {
		c.t.Infof("smtp bad-input result=\"%s\"", first)
		return
	}
	c.t.Infof("smtp failed-command command=\"%s\" result=\"%s\"", command, first)
}

// appendReply appends all lines of a reply and gives the first one of a refusal.
func (c *Conn) appendReply(r *gosmtp.SMTPError) (first string) {
	watcher, _ := c.session.(LineSession)
	traced := c.traced()
	for rest, more := r.Message, true; more; {
		var text string
		text, rest, more = strings.Cut(rest, "\n")
		start := len(c.out)
		c.out = appendReplyLine(c.out, r, text, more)
		if watcher != nil || traced || r.Code >= 400 && first == "" {
			line := string(c.out[start:])
			if r.Code == 334 && text != "" { // a challenge is nobody's business but the client's
				line = "334 (...)"
			}
			if first == "" {
				first = line
			}
			if watcher != nil {
				watcher.ServerLine(line)
			}
			if traced {
				c.t.Tracef(trace.SMTP, "smtp: %s: >>> %s", c.t.SID(), line)
			}
		}
		c.out = append(c.out, '\r', '\n')
	}
	return first
}

// traced says whether each line is to be logged.
func (c *Conn) traced() bool { return c.t.Traces(trace.SMTP) }

// appendReplyLine makes one line, without its end: at most maxReplyLine octets of
// printable ASCII, whatever the backend put into the text.
func appendReplyLine(b []byte, r *gosmtp.SMTPError, text string, more bool) []byte {
	start := len(b)
	b = strconv.AppendInt(b, int64(r.Code), 10)
	if more {
		b = append(b, '-')
	} else {
		b = append(b, ' ')
	}
	if enh := r.EnhancedCode; enh != gosmtp.NoEnhancedCode {
		// A class that contradicts the code would only confuse (RFC 2034 section 4).
		b = append(b, byte('0'+r.Code/100), '.')
		b = strconv.AppendInt(b, int64(min(max(enh[1], 0), 999)), 10)
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(min(max(enh[2], 0), 999)), 10)
		b = append(b, ' ')
	}
	for i := 0; i < len(text) && len(b)-start < maxReplyLine-2; i++ {
		switch ch := text[i]; {
		case ch == '\r':
		case ch < ' ' || ch > '~':
			b = append(b, '?')
		default:
			b = append(b, ch)
		}
	}
	return b
}

// flush sends the replies. A client that does not read them holds the session for no
// longer than a command may take.
func (c *Conn) flush() error {
	if c.mute {
		return net.ErrClosed
	}
	if len(c.out) == 0 {
		return nil
	}
	if err := c.raw.SetWriteDeadline(time.Now().Add(c.commandTime())); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	c.mute = err != nil
	if c.out = c.out[:0]; cap(c.out) > 1024 {
		c.out = nil
	}
	return err
}
