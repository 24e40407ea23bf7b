package mta

import (
	"bufio"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/filter"
	"github.com/godwit-mta/godwit/core/trace"
)

// groupSize is the number of recipients whose RCPT commands are sent before their replies
// are read. It keeps commands and replies within what the buffers of both ends hold, so
// that neither waits for the other (RFC 2920 section 3.1).
const groupSize = 100

// extensions are what a server said to EHLO.
type extensions struct {
	startTLS, pipelining, eightBit, dsn, sizeGiven, utf8, requireTLS bool

	size int64    // largest message in octets; 0: no limit is known
	rcpt int      // most recipients of a transaction; 0: no limit is known (RFC 9422)
	mail int      // most transactions of a session; 0: no limit is known
	auth []string // mechanisms in upper case
	name string   // of the server, as it says it
}

func parseExtensions(lines []string) (x extensions) {
	if len(lines) > 0 {
		x.name, _, _ = strings.Cut(lines[0], " ")
	}
	for _, line := range lines[min(1, len(lines)):] {
		word, args, _ := strings.Cut(strings.ToUpper(line), " ")
		switch word {
		case "STARTTLS":
			x.startTLS = true
		case "PIPELINING":
			x.pipelining = true
		case "8BITMIME":
			x.eightBit = true
		case "DSN":
			x.dsn = true
		case "SIZE":
			x.sizeGiven = true
			if n, err := strconv.ParseInt(strings.TrimSpace(args), 10, 64); err == nil && n > 0 {
				x.size = n
			}
		case "SMTPUTF8":
			x.utf8 = true
		case "REQUIRETLS":
			x.requireTLS = true
		case "LIMITS":
			x.limits(args)
		case "AUTH":
			x.auth = append(x.auth, strings.Fields(args)...)
		}
	}
	return x
}

// limits reads what a server says about itself. What is not understood counts for nothing,
// https://www.rfc-editor.org/rfc/rfc9422#section-3
func (x *extensions) limits(args string) {
	for word := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseInt(value, 10, 32)
		switch {
		case err != nil || n <= 0:
		case name == "RCPTMAX":
			x.rcpt = int(n)
		case name == "MAILMAX":
			x.mail = int(n)
		}
	}
}

// client speaks SMTP on one connection.
type client struct {
	conn  *guard
	br    *bufio.Reader
	out   []byte // commands and body that were not written yet
	times Timeouts
	ext   extensions
	limit time.Time // end of the time for the replies of this transaction
	tr    *trace.Trace
	auth  bool // between AUTH and its end: nothing that is said is traced
	known bool // we have authenticated
	// filters are nil without any.
	filters *onlooker

	dirty   bool  // the server has a transaction open that must be reset
	closing *fate // the server said 421
	stalled bool  // it left commands that were sent together unanswered
}

func newClient(conn net.Conn, times Timeouts) *client {
	g := &guard{Conn: conn, block: times.DataBlock}
	return &client{conn: g, br: bufio.NewReaderSize(g, maxReplyLine), times: times}
}

func (c *client) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > 2*chunkSize {
		c.out = nil
	}
	return err
}

// command adds a line to what is to be written. No part of it may contain a line end:
// they come from addresses that were parsed and from parameters that were checked.
func (c *client) command(parts ...string) {
	if c.tr.Traces(trace.MTA) {
		c.told(">>>", parts...)
	}
	c.filters.said(c.auth, parts)
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
	c.out = append(c.out, '\r', '\n')
}

// reply reads one reply, all of which must arrive within d.
func (c *client) reply(d time.Duration) (reply, error) {
	deadline := time.Now().Add(d)
	if !c.limit.IsZero() && c.limit.Before(deadline) {
		deadline = c.limit
	}
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return reply{}, err
	}
	r, err := readReply(c.br)
	c.filters.heard(r, err)
	if err == nil && c.tr.Traces(trace.MTA) {
		c.toldReply(r)
	}
	if err == nil && r.code == 421 { // https://www.rfc-editor.org/rfc/rfc5321#section-3.8
		f := verdict(r)
		c.closing = &f
	}
	return r, err
}

// told traces a line. What belongs to AUTH is left out, and so is what a server says to it, which
// may be the same.
func (c *client) told(way string, parts ...string) {
	switch {
	case c.auth && parts[0] == "AUTH ":
		parts = []string{"AUTH ", parts[1], " (...)"}
	case c.auth:
		parts = []string{"(...)"}
	}
	c.tr.Tracef(trace.MTA, "mta: %s: %s %s", c.tr.SID(), way, strings.Join(parts, ""))
}

func (c *client) toldReply(r reply) {
	code := strconv.Itoa(r.code)
	if c.auth {
		c.tr.Tracef(trace.MTA, "mta: %s: <<< %s (...)", c.tr.SID(), code)
		return
	}
	for i, line := range r.lines {
		sep := " "
		if i < len(r.lines)-1 {
			sep = "-"
		}
		c.told("<<<", code, sep, line)
	}
}

// unasked reports whether the server said something although nothing was asked: every reply
// from here on would be taken for that of another command. It may say 421 at any time
// (https://www.rfc-editor.org/rfc/rfc5321#section-3.8).
func (c *client) unasked() bool {
	early, _ := c.br.Peek(min(3, c.br.Buffered()))
	return len(early) > 0 && string(early) != "421"
}

// ask sends one command and reads its reply. Nothing else is under way.
func (c *client) ask(d time.Duration, parts ...string) (reply, error) {
	if c.unasked() {
		return reply{}, errSequence
	}
	c.command(parts...)
	if err := c.flush(); err != nil {
		return reply{}, err
	}
	return c.reply(d)
}

// quit ends the session politely, but does not wait long for the server's answer.
func (c *client) quit() {
	c.conn.block, c.limit = c.times.Quit, time.Time{}
	_, _ = c.ask(c.times.Quit, "QUIT") // nothing depends on it any more
	_ = c.conn.Close()
}

func (c *client) close() { _ = c.conn.Close() }

func (c *client) noDSN() bool { return !c.ext.dsn }
func (c *client) final() bool { return false }

// closed gives the reason when the server is about to close the connection.
func (c *client) closed() *fate { return c.closing }

// mail gives the MAIL command of a transaction.
func (c *client) mail(sender string, tx *transaction) string {
	var b strings.Builder
	msg := tx.msg
	b.WriteString("MAIL FROM:<" + sender + ">")
	if c.ext.sizeGiven && !c.filters.rewrites() {
		b.WriteString(" SIZE=" + strconv.FormatInt(msg.Body.size(), 10))
	}
	if c.ext.eightBit {
		b.WriteString(" BODY=8BITMIME")
	}
	if c.ext.utf8 && (msg.UTF8 || tx.international(sender)) {
		b.WriteString(" SMTPUTF8")
	}
	if msg.RequireTLS && c.ext.requireTLS && c.secured() {
		b.WriteString(" REQUIRETLS")
	}
	if c.known { // https://www.rfc-editor.org/rfc/rfc4954#section-5: we vouch for nobody
		b.WriteString(" AUTH=<>")
	}
	if c.ext.dsn {
		if msg.Ret == "FULL" || msg.Ret == "HDRS" {
			b.WriteString(" RET=" + msg.Ret)
		}
		if msg.EnvID != "" && printable(msg.EnvID) {
			b.WriteString(" ENVID=" + msg.EnvID)
		}
	}
	return b.String()
}

// rcpt gives the RCPT command of a recipient.
func (c *client) rcpt(r *Recipient) string {
	s := "RCPT TO:<" + r.Dest.String() + ">"
	if !c.ext.dsn {
		return s
	}
	if n := notify(r.Notify); n != "" {
		s += " NOTIFY=" + n
	}
	if o := original(r); o != "" && printable(o) {
		s += " ORCPT=" + o
	}
	return s
}

// original gives ORCPT: what the sender said, or the address that was expanded into this
// one (RFC 3461 section 5.2.1), in xtext.
func original(r *Recipient) string {
	if r.ORcpt != "" || r.Rcpt.Null() || r.Rcpt == r.Dest {
		return r.ORcpt
	}
	return originalOf(r.Rcpt)
}

// originalOf gives an address as ORCPT says it, in xtext; one in UTF-8 as RFC 6533 section 3
// does where it has to be ASCII.
func originalOf(a address.Address) string {
	text := strings.NewReplacer("+", "+2B", "=", "+3D", " ", "+20").Replace(a.String())
	if !a.International() {
		return "rfc822;" + text
	}
	return "utf-8;" + address.EmbedUnicode(text)
}

// notify gives the value of NOTIFY (RFC 3461 section 4.1).
func notify(n envelope.Notify) string {
	if n&envelope.NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, w := range [...]struct {
		bit  envelope.Notify
		name string
	}{{envelope.NotifySuccess, "SUCCESS"}, {envelope.NotifyFailure, "FAILURE"}, {envelope.NotifyDelay, "DELAY"}} {
		if n&w.bit != 0 {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, ",")
}

// helo introduces us: EHLO, or HELO where that is not understood.
func (c *client) helo(name string, extended bool) error {
	r, err := c.identify("EHLO", name)
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
	if r, err = c.identify("HELO", name); err != nil {
		return err
	}
	if r.class() != 2 {
		return &refusal{r}
	}
	return nil
}

func (c *client) identify(verb, name string) (reply, error) {
	if c.unasked() {
		return reply{}, errSequence
	}
	c.command(verb, " ", name)
	c.filters.report(filter.LinkIdentify, verb, name)
	if err := c.flush(); err != nil {
		return reply{}, err
	}
	return c.reply(c.times.Command)
}

// refusal is a reply that ended a session before it began.
type refusal struct{ reply reply }

func (e *refusal) Error() string { return strings.TrimSpace(e.reply.text()) }
