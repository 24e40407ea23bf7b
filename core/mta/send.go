package mta

import (
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// sendable says why a transaction must not be tried with this server, if so.
func (c *client) sendable(tx *transaction) *fate {
	if c.ext.size > 0 && tx.msg.Body.size() > c.ext.size {
		return &fate{status: envelope.PermFail, text: "message too large for peer", class: 5, code: 304}
	}
	return nil
}

// send hands a transaction over. When the server takes pipelined commands, the body is
// followed in the same write by the commands of the next transaction, which next gives;
// it is returned, to be sent next. An error means that the connection is not usable any
// more; recipients whose fate is open then were not refused.
func (c *client) send(tx *transaction, sender func(*Message) address.Address, next func() *transaction) (*transaction, error) {
	c.limit = time.Now().Add(c.times.Transaction)
	if f := c.sendable(tx); f != nil {
		tx.settle(*f)
		return nil, nil
	}
	open, err := c.envelope(tx, sender)
	if err != nil || !open {
		return nil, err
	}
	if tx.accepted == 0 { // DATA was accepted although no recipient was
		r, err := c.ask(c.times.DataDone, ".")
		c.dirty = r.class() != 2
		return nil, err
	}
	tx.body, c.dirty = true, false
	if err := c.writeBody(&tx.msg.Body); err != nil {
		return nil, err
	}
	var following *transaction
	if c.ext.pipelining {
		if following = next(); following != nil && len(following.rcpts) <= groupSize && c.sendable(following) == nil {
			c.writeGroup(following, sender, 0, c.steps(following))
			following.begun = true
		}
	}
	if err := c.flush(); err != nil {
		return following, err
	}
	r, err := c.reply(c.times.DataDone)
	if err != nil {
		return following, err
	}
	return following, tx.finish(r)
}

// finish notes the reply to the final dot.
func (tx *transaction) finish(r reply) error {
	switch r.class() {
	case 2:
		tx.settleTaken(delivered(r))
	case 4, 5:
		tx.settleTaken(verdict(r))
	default:
		return errSequence
	}
	return nil
}

// The commands of a transaction are numbered: RSET when it is needed, MAIL, each RCPT, DATA.

func (c *client) firstRcpt() int {
	if c.dirty {
		return 2
	}
	return 1
}

func (c *client) steps(tx *transaction) int { return c.firstRcpt() + len(tx.rcpts) + 1 }

// writeGroup writes the commands from up to, not including, to.
func (c *client) writeGroup(tx *transaction, sender func(*Message) address.Address, from, to int) {
	first := c.firstRcpt()
	for n := from; n < to; n++ {
		switch i := n - first; {
		case i == -2:
			c.command("RSET")
		case i == -1:
			c.command(c.mail(sender(tx.msg), tx.msg))
		case i < len(tx.rcpts):
			c.command(c.rcpt(&tx.rcpts[i]))
		default:
			c.command("DATA")
		}
	}
}

// envelope sends everything before the body, as far as it was not sent already, and reads
// the replies. It reports whether the server waits for the body.
func (c *client) envelope(tx *transaction, sender func(*Message) address.Address) (open bool, err error) {
	first, total := c.firstRcpt(), c.steps(tx)
	written, group := 0, 1
	if tx.begun {
		written = total
	}
	if c.ext.pipelining {
		group = groupSize + 3
	}
	var refused *reply // to MAIL
	for n := 0; n < total; n++ {
		if n == written {
			if len(tx.later) > 0 { // the rest can only be refused for the same reason
				for ; n < total-1; n++ {
					tx.later = append(tx.later, n-first)
				}
			}
			if refused != nil || n == total-1 && tx.accepted == 0 {
				break // what would follow can only be refused, too
			}
			written = min(total, n+group)
			c.writeGroup(tx, sender, n, written)
			if err := c.flush(); err != nil {
				return false, err
			}
		}
		wait := c.times.Command
		if n == total-1 {
			wait = c.times.DataInit
		}
		r, err := c.reply(wait)
		if err != nil {
			return false, err
		}
		switch i := n - first; {
		case i == -2:
			if r.class() != 2 {
				return false, errSequence
			}
		case i == -1:
			if r.class() == 3 {
				err = errSequence
			} else if r.class() != 2 {
				refused = &r
			}
		case n == total-1:
			open, err = tx.dataReply(r, refused)
		case refused == nil:
			err = tx.rcptReply(i, r)
		}
		if err != nil {
			return false, err
		}
	}
	// A transaction that got no further than this is still open at the server.
	c.dirty = !open && refused == nil
	if refused != nil {
		// Should the server want the body all the same, it gets an empty one.
		if tx.accepted = 0; c.closing == nil {
			tx.settle(verdict(*refused))
		}
	}
	return open, nil
}

// dataReply notes the reply to DATA.
func (tx *transaction) dataReply(r reply, refused *reply) (open bool, err error) {
	switch {
	case r.code == 354:
		return true, nil
	case r.class() == 2 || r.class() == 3:
		return false, errSequence
	case refused == nil && tx.accepted > 0:
		tx.settleTaken(verdict(r))
	}
	return false, nil
}

// writeBody writes the body and the final dot; the last part may wait in c.out.
func (c *client) writeBody(b *Body) error {
	var e encoder
	err := b.chunks(func(p []byte) error {
		if c.out == nil {
			c.out = make([]byte, 0, min(2*chunkSize, len(p)+len(p)/16+512))
		}
		c.out = e.append(c.out, p)
		if len(c.out) < chunkSize {
			return nil
		}
		return c.flush()
	})
	if err != nil {
		return err
	}
	c.out = e.end(c.out)
	return nil
}

// helo introduces us: EHLO, or HELO where that is not understood.
func (c *client) helo(name string, extended bool) error {
	r, err := c.ask(c.times.Command, "EHLO ", name)
	if err != nil {
		return err
	}
	if r.class() == 2 {
		c.ext = parseExtensions(r.lines)
		return nil
	}
	if extended || r.class() == 4 {
		return &refusal{r}
	}
	c.ext = extensions{}
	if r, err = c.ask(c.times.Command, "HELO ", name); err != nil {
		return err
	}
	if r.class() != 2 {
		return &refusal{r}
	}
	return nil
}

// refusal is a reply that ended a session before it began.
type refusal struct{ reply reply }

func (e *refusal) Error() string { return strings.TrimSpace(e.reply.text()) }
