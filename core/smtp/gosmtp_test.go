package smtp

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

const example = "Subject: x\r\n\r\n.dot\r\nend\r\n"

// deliver sends the example with the client of go-smtp.
func deliver(t *testing.T, conn net.Conn) {
	t.Helper()
	c := gosmtp.NewClient(conn)
	if err := c.Hello("client.example.net"); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("a@example.com", &gosmtp.MailOptions{Return: gosmtp.DSNReturnFull, EnvelopeID: "id+1"}); err != nil {
		t.Fatal(err)
	}
	opts := &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess},
		OriginalRecipientType: gosmtp.DSNAddressTypeRFC822, OriginalRecipient: "b+c@example.org"}
	if err := c.Rcpt("b@example.org", opts); err != nil {
		t.Fatal(err)
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, example); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Fatal(err)
	}
}

func checkDelivered(t *testing.T, b *sample) {
	t.Helper()
	got := b.taken()
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	m := got[0]
	if m.from != "a@example.com" || m.to[0] != "b@example.org" || m.body != strings.ReplaceAll(example, "\r\n", "\n") ||
		m.env.EnvelopeID != "id+1" || m.env.Return != gosmtp.DSNReturnFull ||
		m.opts[0].OriginalRecipient != "b+c@example.org" || m.opts[0].Notify[0] != gosmtp.DSNNotifySuccess {
		t.Errorf("%+v", m)
	}
}

// Our backend does the same under go-smtp's server.
func TestBackendUnderGoSMTP(t *testing.T) {
	b := &sample{}
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) {
		return &sampleSession{b: b}, nil
	}))
	server.Domain, server.EnableDSN = "mx1.example.org", true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	defer server.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, conn)
	checkDelivered(t, b)
}

// A backend that knows nothing but go-smtp does the same under our engine.
func TestPlainBackendUnderOurs(t *testing.T) {
	b := &sample{plain: true}
	s := start(t, context.Background(), testConfig(), b, testPeer())
	deliver(t, s)
	checkDelivered(t, b)
}

// crlfReader gives the same whatever the size of the reads.
func TestCRLFReader(t *testing.T) {
	const want = "a\r\n\r\nbc\r\n\r\n"
	for size := 1; size < 12; size++ {
		client, server := net.Pipe()
		c := &Conn{cfg: testConfig(), raw: server, conn: server, expires: time.Now().Add(time.Hour)}
		go func() {
			io.WriteString(client, want+".\r\n")
			client.Close()
		}()
		var got bytes.Buffer
		_, err := io.CopyBuffer(&got, struct{ io.Reader }{&crlfReader{b: newBody(c)}}, make([]byte, size))
		if err != nil || got.String() != want {
			t.Errorf("reads of %d: %q, %v", size, got.String(), err)
		}
	}
}
