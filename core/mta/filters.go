package mta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/trace"
)

// Filters are those that see the sessions of a relay, and decide about its messages.
type Filters struct {
	Chain *filter.Chain
	// Hold keeps them running for a session, and tells whether they do; Release is called at its end.
	Hold    func() bool
	Release func()
}

// Errors of a session with filters.
var (
	errWithheld    = errors.New("message withheld by a filter")
	errFiltersGone = errors.New("the filters of an earlier configuration have ended")
	errFilterLMTP  = errors.New("filters for LMTP are not supported yet")
)

// filterFactor and filterMore bound what filters may make of a message: so many times its size, and
// as many octets more.
const (
	filterFactor = 2
	filterMore   = 1 << 20
)

// onlooker is the filters' part in a connection. A nil one does nothing.
type onlooker struct {
	*filter.Link
	ctx  context.Context
	tr   *trace.Trace
	told string // the id of the message whose beginning was reported
	junk bool   // the message is to be marked
	over bool   // a filter ends the session, or has ended itself
	sent int64  // octets of the message as stored, when filters made it
}

// filtered opens the filters for a new connection, whose end they are told of by unfiltered.
func (s *session) filtered(conn net.Conn, to netip.AddrPort) *onlooker {
	if s.opts.Filters == nil {
		return nil
	}
	s.unfiltered()
	f := &onlooker{ctx: s.ctx, tr: s.tr}
	name := s.m.name(s.ctx, to.Addr())
	f.Link = s.opts.Filters.Chain.Open(&filter.Session{ID: s.tr.ID, Subsystem: filter.SMTPOut, Host: name, FCrDNS: filter.Pass}, s.tr)
	f.Report(filter.LinkConnect, name, string(filter.Pass), conn.LocalAddr().String(), to.String())
	s.onlooker = f
	return f
}

func (s *session) unfiltered() {
	if s.onlooker != nil {
		s.onlooker.Close()
		s.onlooker = nil
	}
}

// hold keeps the filters of the session running. They are those of the configuration with which
// the session begins.
func (s *session) hold() error {
	f := s.opts.Filters
	switch {
	case f == nil:
		return nil
	case !f.Hold():
		return &policyError{"filters", errFiltersGone}
	}
	s.release = f.Release
	return nil
}

// decides reports whether anything is asked. Then no transaction is begun before the one before it has
// ended.
func (f *onlooker) decides() bool { return f != nil && f.Deciding() }

// rewrites reports whether the size of a message is not known before it was sent.
func (f *onlooker) rewrites() bool { return f != nil && (f.junk || f.Decides(filter.DataLine)) }

// said reports a line of ours, heard a reply.
func (f *onlooker) said(secret bool, parts []string) {
	if f != nil {
		f.Report(filter.ProtocolClient, masked(secret, parts))
	}
}

// masked gives a line without what belongs to AUTH.
func masked(secret bool, parts []string) string {
	switch {
	case secret && parts[0] == "AUTH ":
		return "AUTH " + parts[1] + " ********"
	case secret:
		return "********"
	}
	return strings.Join(parts, "")
}

func (f *onlooker) heard(r reply, err error) {
	switch {
	case f == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Report(filter.Timeout)
	case err == nil:
		for i, line := range r.lines {
			sep := " "
			if i < len(r.lines)-1 {
				sep = "-"
			}
			f.Report(filter.ProtocolServer, strconv.Itoa(r.code)+sep+line)
		}
	}
}

func (f *onlooker) report(e filter.Event, params ...string) {
	if f != nil {
		f.Report(e, params...)
	}
}

// replied reports what a reply means for the transaction.
func (f *onlooker) replied(x *exchange, n int, r reply, sender func(*Message) address.Address) {
	if f == nil {
		return
	}
	id := x.tx.msg.ID.String()
	switch i := n - x.first; {
	case i == -1 && r.class() == 2:
		f.told = id
		f.Report(filter.TxBegin, id)
		f.Report(filter.TxMail, id, "ok", sender(x.tx.msg).String())
	case i >= 0 && n < x.total-1 && f.told != "":
		f.Report(filter.TxRcpt, id, resultWord(r), x.tx.rcpts[i].Dest.String())
	case n == x.total-1 && f.told != "":
		f.Report(filter.TxData, id, resultWord(r))
	}
}

func resultWord(r reply) string {
	switch r.class() {
	case 2, 3:
		return "ok"
	case 5:
		return "permfail"
	}
	return "tempfail"
}

// authWord is the word for the outcome of AUTH.
func authWord(r reply) string {
	switch r.class() {
	case 2:
		return "pass"
	case 5:
		return "fail"
	}
	return "error"
}

// ended reports the end of a transaction that was reported as begun.
func (f *onlooker) ended(tx *transaction, done bool) {
	if f == nil || f.told == "" {
		return
	}
	if size := tx.msg.Body.size(); done {
		if f.sent > 0 {
			size = f.sent
		}
		f.Report(filter.TxCommit, f.told, strconv.FormatInt(size, 10))
	} else {
		f.Report(filter.TxRollback, f.told)
	}
	f.Report(filter.TxReset, f.told)
	f.told = ""
}

// refusedBy is the fate that a filter gives. The server has no part in it.
func refusedBy(e *gosmtp.SMTPError) fate {
	text := strings.ReplaceAll(e.Message, "\n", " ")
	if v := e.EnhancedCode; v != gosmtp.NoEnhancedCode && v != gosmtp.EnhancedCodeNotSet {
		text = enhancedText(v) + " " + text
	}
	f := verdict(reply{code: e.Code, lines: []string{text}})
	f.text, f.said, f.filter = limitText(clean("refused by a filter: "+f.text)), 0, true
	return f
}

// consult asks about the envelope of a transaction, and sets the recipients aside that are refused. It gives the
// sender to name, and whether there is anything left to send.
func (f *onlooker) consult(tx *transaction, sender address.Address) (address.Address, bool) {
	f.junk, f.sent = false, 0
	f.Sender, f.Mail = sender.String(), true
	out := f.ask(filter.MailFrom, sender.String())
	if out.Reply == nil && out.Rewritten {
		a, err := address.ParsePath(unbracketed(out.Arg))
		if err != nil || a.International() != sender.International() {
			out.Reply = unusable(fmt.Sprintf("it rewrites the sender as %q", out.Arg))
		}
		sender = a
	}
	if out.Reply != nil {
		tx.settle(refusedBy(out.Reply))
		return sender, false
	}
	for i := range tx.rcpts {
		to := tx.rcpts[i].Dest.String()
		out := f.ask(filter.RcptTo, to)
		if out.Reply == nil && out.Rewritten && unbracketed(out.Arg) != to {
			out.Reply = unusable("it rewrites a recipient, which could be one of another server")
		}
		if out.Reply == nil {
			continue
		}
		if tx.fates[i] = refusedBy(out.Reply); out.Close {
			tx.settle(tx.fates[i])
			return sender, false
		}
	}
	if tx.setAside(); tx.sending == 0 {
		return sender, false
	}
	if out := f.ask(filter.Data, ""); out.Reply != nil {
		tx.settle(refusedBy(out.Reply))
		return sender, false
	}
	return sender, true
}

func (f *onlooker) ask(p filter.Phase, arg string) filter.Outcome {
	if !f.Decides(p) {
		return filter.Outcome{Arg: arg}
	}
	out := f.Ask(f.ctx, p, arg)
	if out.Junk && p == filter.Commit {
		f.tr.Warnf("%s mta: filters cannot mark a message any more that was sent", f.tr.SID())
	}
	f.junk = f.junk || out.Junk
	f.over = f.over || out.Close
	return out
}

// unusable is the reply for an answer that cannot be carried out.
func unusable(what string) *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: what}
}

func unbracketed(s string) string {
	if t, ok := strings.CutPrefix(s, "<"); ok {
		return strings.TrimSuffix(t, ">")
	}
	return s
}

// setAside puts the recipients that have a fate behind the others, which alone are sent.
func (tx *transaction) setAside() {
	own := *tx.task
	tx.task = &own
	rcpts, fates := make([]Recipient, 0, len(tx.rcpts)), make([]fate, 0, len(tx.rcpts))
	for _, refused := range []bool{false, true} {
		for i := range tx.rcpts {
			if (tx.fates[i].status != 0) == refused {
				rcpts, fates = append(rcpts, tx.rcpts[i]), append(fates, tx.fates[i])
			}
		}
		if !refused {
			tx.sending = len(rcpts)
		}
	}
	tx.rcpts, tx.fates = rcpts, fates
}

// sendFiltered hands a transaction over as the filters leave it. No other is begun meanwhile.
func (c *client) sendFiltered(tx *transaction, sender address.Address) error {
	// A process that was started again knows nothing of this session: the next message gets one that it knows.
	defer func() {
		if c.filters.over && c.closing == nil {
			c.closing = &fate{status: envelope.TempFail, text: errWithheld.Error(), class: 4, code: 300}
		}
	}()
	sender, anybody := c.filters.consult(tx, sender)
	if !anybody {
		return nil
	}
	through, err := c.filters.Stream(filterFactor*tx.msg.Body.size() + filterMore)
	var said *gosmtp.SMTPError
	switch {
	case errors.As(err, &said):
		tx.settle(refusedBy(said))
		c.filters.over = c.filters.over || said.Code == 421
		return nil
	case err != nil:
		return err
	case through != nil:
		defer through.End()
	}
	_, err = c.transfer(tx, func(*Message) address.Address { return sender }, through, nil)
	return err
}

// commit asks about the message as a whole, before the server is told that it is whole.
func (f *onlooker) commit(tx *transaction) error {
	if out := f.ask(filter.Commit, ""); out.Reply != nil {
		tx.settleTaken(refusedBy(out.Reply))
		return errWithheld
	}
	return nil
}

// writeMessage is writeBody with what the filters have to say about it.
func (c *client) writeMessage(tx *transaction, through *filter.Stream) (err error) {
	if c.filters == nil {
		return c.writeBody(&tx.msg.Body)
	}
	var e encoder
	if c.filters.junk {
		err = c.encode(&e, []byte("X-Spam: Yes\n"))
	}
	switch {
	case err != nil:
	case through != nil:
		err = c.writeFiltered(tx, through, &e)
	default:
		err = tx.msg.Body.chunks(func(p []byte) error { return c.encode(&e, p) })
	}
	if err == nil {
		err = c.filters.commit(tx)
	}
	if err != nil {
		return err
	}
	c.out = e.end(c.out)
	c.filters.said(false, []string{"."})
	return nil
}

// writeFiltered writes what the filters make of a message while more of it comes. Where that cannot be
// sent the connection has to end, so that the server does not take the part it has for the message.
func (c *client) writeFiltered(tx *transaction, st *filter.Stream, e *encoder) error {
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		if err := feed(st, &tx.msg.Body); err != nil {
			st.Abort(err)
		}
	}()
	err := c.copyFiltered(tx, st, e)
	if err != nil {
		st.Abort(err)
	}
	<-fed
	var said *gosmtp.SMTPError
	if err != nil && errors.As(st.Failure(err), &said) {
		tx.settleTaken(refusedBy(said))
		return errWithheld
	}
	return err
}

// lostReason is the word for the log when a session ends with an error.
func lostReason(err error) string {
	if errors.Is(err, errWithheld) {
		return "filter"
	}
	return "io-error"
}

// feed writes a message to the filters.
func feed(st *filter.Stream, b *Body) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v: %s", errBody, p, debug.Stack())
		}
	}()
	err = b.chunks(func(p []byte) error {
		_, err := st.Write(p)
		return err
	})
	if err == nil {
		err = st.Close()
	}
	return err
}

func (c *client) copyFiltered(tx *transaction, st *filter.Stream, e *encoder) error {
	buf := make([]byte, chunkSize)
	for {
		n, err := st.Read(buf)
		p := buf[:n]
		c.filters.sent += int64(n)
		switch {
		case !c.ext.eightBit && has8bit(p):
			tx.settleTaken(*unfit(603, "8BITMIME not supported by remote host"))
			return errWithheld
		case c.ext.size > 0 && c.filters.sent > c.ext.size:
			tx.settleTaken(*unfit(304, "message too large for peer"))
			return errWithheld
		}
		if encErr := c.encode(e, p); encErr != nil {
			return encErr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// filterFates tells whether only filters refused something.
func filterFates(fates []fate) bool {
	refused := func(f fate) bool { return f.status == envelope.TempFail || f.status == envelope.PermFail }
	return slices.ContainsFunc(fates, func(f fate) bool { return f.filter }) &&
		!slices.ContainsFunc(fates, func(f fate) bool { return refused(f) && !f.filter })
}
