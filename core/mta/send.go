package mta

import (
	"errors"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/filter"
)

// send hands a transaction over. When the server takes pipelined commands, the body is
// followed in the same write by the commands of the next transaction, which next gives;
// it is returned, to be sent next. An error means that the connection is not usable any
// more; recipients whose fate is open then were not refused.
func (c *client) send(tx *transaction, sender func(*Message) address.Address, next func() *transaction) (*transaction, error) {
	c.limit = time.Now().Add(c.times.Transaction)
	if f := c.sendable(tx, sender(tx.msg).String()); f != nil {
		tx.settle(*f)
		return nil, nil
	}
	defer c.filters.ended(tx, false)
	if c.filters.decides() {
		return nil, c.sendFiltered(tx, sender(tx.msg))
	}
	return c.transfer(tx, sender, nil, next)
}

// transfer sends a transaction, with the body as the filters in through leave it if there are any.
func (c *client) transfer(tx *transaction, sender func(*Message) address.Address, through *filter.Stream, next func() *transaction) (*transaction, error) {
	open, err := c.envelope(tx, sender)
	if err != nil || !open {
		return nil, err
	}
	if tx.accepted == 0 { // DATA was accepted although no recipient was
		r, err := c.ask(c.times.DataDone, ".")
		c.dirty = r.class() != 2
		return nil, err
	}
	if c.unasked() { // such as the reply to the body, which would be believed
		return nil, errSequence
	}
	if !tx.bodyMayBegin() {
		return nil, errSlow
	}
	tx.body, c.dirty = true, false
	if err := c.writeMessage(tx, through); err != nil {
		return nil, err
	}
	var following *transaction
	if c.ext.pipelining && next != nil {
		if following = next(); following != nil && len(following.rcpts) <= groupSize && c.sendable(following, sender(following.msg).String()) == nil {
			x := c.exchange(following)
			c.write(x, sender, 0, x.total)
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
	c.filters.ended(tx, r.class() == 2)
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

// exchange is the part of a transaction before the body. Its commands are numbered: RSET
// when it is needed, MAIL, each RCPT, DATA.
type exchange struct {
	tx      *transaction
	first   int    // number of the first RCPT
	total   int    // number of commands
	refused *reply // to MAIL
	open    bool   // the server waits for the body
}

func (c *client) exchange(tx *transaction) *exchange {
	x := &exchange{tx: tx, first: 1}
	if c.dirty {
		x.first = 2
	}
	x.total = x.first + tx.sending + 1
	return x
}

// write writes the commands from up to, not including, to.
func (c *client) write(x *exchange, sender func(*Message) address.Address, from, to int) {
	for n := from; n < to; n++ {
		switch i := n - x.first; {
		case i == -2:
			c.command("RSET")
		case i == -1:
			c.command(c.mail(sender(x.tx.msg).String(), x.tx))
		case n < x.total-1:
			c.command(c.rcpt(&x.tx.rcpts[i]))
			c.filters.report(filter.TxEnvelope, x.tx.msg.ID.String(), x.tx.rcpts[i].ID.String())
		default:
			c.command("DATA")
		}
	}
}

// envelope sends everything before the body, as far as it was not sent already, and reads
// the replies. It reports whether the server waits for the body.
func (c *client) envelope(tx *transaction, sender func(*Message) address.Address) (bool, error) {
	x := c.exchange(tx)
	written, group, begin := 0, 1, 0
	if tx.begun {
		written, begin = x.total, -1
	}
	if c.ext.pipelining {
		group = groupSize + 3
	}
	for n := 0; n < x.total; n++ {
		if n == written {
			if n = x.skip(n); n == x.total {
				break
			}
			if c.unasked() {
				return false, errSequence
			}
			begin, written = n, min(x.total, n+group)
			c.write(x, sender, n, written)
			if err := c.flush(); err != nil {
				return false, err
			}
		}
		wait := c.times.Command
		if n == x.total-1 {
			wait = c.times.DataInit
		}
		r, err := c.reply(wait)
		if err == nil {
			c.filters.replied(x, n, r, sender)
			err = x.reply(n, r)
		}
		if err != nil {
			c.stalled = c.ext.pipelining && n > begin && errors.Is(err, os.ErrDeadlineExceeded)
			return false, err
		}
	}
	// A transaction that got no further than this is still open at the server.
	c.dirty = !x.open && x.refused == nil
	if x.refused != nil {
		// Should the server want the body all the same, it gets an empty one.
		if tx.accepted = 0; c.closing == nil {
			tx.settle(verdict(*x.refused))
		}
	}
	return x.open, nil
}

// skip gives the number of the next command that is worth sending, from n on.
func (x *exchange) skip(n int) int {
	if len(x.tx.later) > 0 { // the other recipients can only be refused for the same reason
		for ; n < x.total-1; n++ {
			x.tx.later = append(x.tx.later, n-x.first)
		}
	}
	if x.refused != nil || n == x.total-1 && x.tx.accepted == 0 {
		return x.total
	}
	return n
}

// reply notes the reply to command n.
func (x *exchange) reply(n int, r reply) error {
	switch i := n - x.first; {
	case i == -2 && r.class() != 2, i == -1 && r.class() == 3:
		return errSequence
	case i == -1 && r.class() != 2:
		x.refused, x.tx.unwelcome = &r, true
	case n == x.total-1:
		return x.data(r)
	case i >= 0 && x.refused == nil:
		return x.tx.rcptReply(i, r)
	}
	return nil
}

// data notes the reply to DATA.
func (x *exchange) data(r reply) error {
	switch {
	case r.code == 354:
		x.open = true
	case r.class() == 2 || r.class() == 3:
		return errSequence
	case x.refused == nil && x.tx.accepted > 0:
		x.tx.settleTaken(verdict(r))
	}
	return nil
}

// writeBody writes the body and the final dot; the last part may wait in c.out.
func (c *client) writeBody(b *Body) error {
	var e encoder
	if err := b.chunks(func(p []byte) error { return c.encode(&e, p) }); err != nil {
		return err
	}
	c.out = e.end(c.out)
	return nil
}

// encode adds a part of a body to what is to be written.
func (c *client) encode(e *encoder, p []byte) error {
	if c.out == nil {
		c.out = make([]byte, 0, min(2*chunkSize, len(p)+len(p)/16+512))
	}
	c.out = e.append(c.out, p)
	if len(c.out) < chunkSize {
		return nil
	}
	return c.flush()
}
