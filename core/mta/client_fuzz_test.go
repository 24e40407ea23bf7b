package mta

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// played is a server whose replies were all written down before it is asked anything. It says
// one line a read, so that what it says early is seen as such only where it is in one write.
type played struct {
	net.Conn // nil: nothing else of it may be used
	lines    [][]byte
	sent     bytes.Buffer
}

func (p *played) Read(b []byte) (int, error) {
	if len(p.lines) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.lines[0])
	if p.lines[0] = p.lines[0][n:]; len(p.lines[0]) == 0 {
		p.lines = p.lines[1:]
	}
	return n, nil
}

func (p *played) Write(b []byte) (int, error)      { return p.sent.Write(b) }
func (p *played) Close() error                     { return nil }
func (p *played) SetDeadline(time.Time) error      { return nil }
func (p *played) SetReadDeadline(time.Time) error  { return nil }
func (p *played) SetWriteDeadline(time.Time) error { return nil }

// FuzzClient gives a session replies of a hostile server: whole sessions with a message to
// three recipients and another one after it.
func FuzzClient(f *testing.F) {
	const ehlo = "220 x\r\n250-x\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250 8BITMIME\r\n"
	for _, s := range []string{
		ehlo + "250 ok\r\n250 ok\r\n550 no\r\n452 4.5.3 later\r\n354 go\r\n250 2.0.0 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n221 bye\r\n",
		"220 x\r\n500 what\r\n250 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n421 4.3.0 no\r\n",
		ehlo + "550 5.7.1 a\rb\x00\"\r\n503 x\r\n503 x\r\n503 x\r\n503 x\r\n",
		"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x01\x00\x05",
		"220 x\r\n250-x\r\n250 LIMITS RCPTMAX=1\r\n354 go\r\n",
		ehlo + "250 ok\r\n550 no\r\n550 no\r\n550 no\r\n354 go\r\n250 ok\r\n",
	} {
		f.Add([]byte(s))
	}
	log := trace.New(&logSink{})
	f.Fuzz(func(t *testing.T, replies []byte) {
		conn := &played{lines: bytes.SplitAfter(replies, []byte("\n"))}
		o := opener{relay: &Relay{}, helo: "us.example", tr: log.NewTrace(), times: Timeouts{}.withDefaults()}
		p, err := o.open(context.Background(), conn)
		if err != nil {
			wellSaid(t, openFate(err))
			return
		}
		first, second := fuzzed(1), fuzzed(2)
		for tx := first; tx != nil; {
			next := func() *transaction { return second }
			if tx == second {
				next = func() *transaction { return nil }
			}
			following, err := p.send(tx, func(m *Message) address.Address { return m.Sender }, next)
			delivered := tx.accepted
			tx.again(p.closed(), err, tx == first)
			if tx.accepted > delivered {
				t.Errorf("%d recipients became %d", delivered, tx.accepted)
			}
			for _, f := range tx.fates {
				if wellSaid(t, f); f.status == envelope.Delivered && !tx.body {
					t.Errorf("delivered without the message: %+v", f)
				}
			}
			if tx = following; err != nil || p.closed() != nil {
				break
			}
		}
		p.quit()
		sent := conn.sent.String()
		if n := strings.Count(sent, "\r\n"); strings.Count(sent, "\n") != n || strings.Count(sent, "\r") != n {
			t.Errorf("%q", sent)
		}
	})
}

func fuzzed(n uint32) *transaction {
	msg := &Message{ID: envelope.MessageID(n), Sender: address.Address{Local: "s", Domain: "us.example"}, Body: Body{Bytes: []byte("Subject: x\n\n.x\n")}}
	for _, user := range []string{"a", "b", "c"} {
		a := address.Address{Local: user, Domain: "example.com"}
		msg.Recipients = append(msg.Recipients, Recipient{ID: envelope.NewID(msg.ID, 1), Dest: a, Rcpt: a})
	}
	return newTransaction(&task{msg: msg, rcpts: msg.Recipients})
}

// wellSaid checks what gets into envelopes, notices and the log.
func wellSaid(t *testing.T, f fate) {
	if envelope.CleanErrorLine(f.text) != f.text || len(f.text) > envelope.MaxErrorLine || f.status > envelope.Loop || f.class > 5 || f.code > 9999 {
		t.Errorf("%+v", f)
	}
}
