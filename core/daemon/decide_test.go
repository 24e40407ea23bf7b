package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// decides gives what the dispatcher decides by a configuration: the action of the envelope, the code of the
// refusal, or "lookup".
func decides(t *testing.T, conf string, s session, from, to string, traced trace.Subsystem) string {
	t.Helper()
	cfg, _, err := config.Parse("smtpd.conf", []byte(conf), nil, nil, config.Environment{Hostname: "mx.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	c := &dispatcherConfig{Hostname: cfg.Hostname, Interfaces: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, SRS: cfg.SRS.Key != "", QueueTTL: cfg.QueueTTL}
	c.Rules, c.RuleTables = decidable(cfg)
	for _, a := range cfg.Actions {
		if a.Method == config.RelayMethod {
			c.Relays = append(c.Relays, a)
		}
	}
	log := trace.New(NewStderrSink(t.Output()))
	log.SetTraced(traced)
	d, err := newDecider(c, log)
	if err != nil {
		t.Fatal(err)
	}
	s.SMTPName = cfg.Hostname
	e, err := d.decide(t.Context(), &recipientRequest{Session: s, Sender: from, Rcpt: to}, log)
	var reply *gosmtp.SMTPError
	switch {
	case errors.Is(err, errUndecided):
		return "lookup"
	case errors.As(err, &reply):
		return fmt.Sprint(reply.Code)
	case err != nil:
		return err.Error()
	case e.Type != envelope.MTA || e.Dest.String() != to || e.TTL == 0:
		return fmt.Sprintf("%+v", e)
	}
	return e.Dispatcher
}

func TestDecide(t *testing.T) {
	const conf = `
table here { "example.org", "*.example.org" }
table users { joe = secret }
table file file:/nowhere
srs key k
action out relay
action in maildir
match from src { 192.0.2.0/24, "local" } for any action out
match from any mail-from "spam@example.net" for any reject
match from any for domain <here> rcpt-to { "joe@example.org" } action in
match from any for domain "via.example.net" action out
match from any for domain <file> action out
match from any for domain "late.example.net" action out
`
	outside := session{Addr: netip.MustParseAddr("198.51.100.7"), Helo: "x"}
	for _, c := range []struct {
		name     string
		s        session
		from, to string
		traced   trace.Subsystem
		want     string
	}{
		{"by a list", session{Addr: netip.MustParseAddr("192.0.2.9")}, "a@example.net", "b@example.com", 0, "out"},
		{"by the socket", session{Local: true}, "a@example.net", "b@example.com", 0, "out"},
		{"refused", outside, "spam@example.net", "b@example.com", 0, "550"},
		{"local", outside, "a@example.net", "joe@example.org", 0, "lookup"},
		{"relayed", outside, "a@example.net", "b@via.example.net", 0, "out"},
		{"no list", outside, "a@example.net", "b@example.com", 0, "lookup"},
		{"after what is no list", outside, "a@example.net", "b@late.example.net", 0, "lookup"},
		{"rewritten sender", session{Local: true}, "", "SRS0=aaaa=bb=example.net=joe@via.example.net", 0, "lookup"},
		{"postmaster", outside, "a@example.net", "postmaster", 0, "lookup"},
		{"postmaster in quotes", outside, "a@example.net", "\"Postmaster\"", 0, "lookup"},
		{"traced rules", session{Local: true}, "a@example.net", "b@example.com", trace.Rules, "lookup"},
		{"traced session", session{Local: true, Watched: 7}, "a@example.net", "b@example.com", 0, "lookup"},
		{"no address", session{Local: true}, "a@example.net", "b@@", 0, "lookup"},
	} {
		if got := decides(t, conf, c.s, c.from, c.to, c.traced); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	// Where all rules can be tried here, so can the refusal of who is covered by none.
	if got := decides(t, "action out relay\nmatch for any action out\n", outside, "a@example.net", "b@example.com", 0); got != "550" {
		t.Errorf("no rule: %s", got)
	}
	// The values of a table may be secret: it stays in lookup.
	if got := decides(t, "table users { joe = secret }\naction out relay\nmatch from auth <users> for any action out\n",
		session{Authenticated: true, Username: "joe"}, "a@example.net", "b@example.com", 0); got != "lookup" {
		t.Errorf("a table with values: %s", got)
	}
}

// TestDecidedInPart sends to recipients of whom some are decided here and some by lookup: each gets the message,
// and the log names each with its envelope.
func TestDecidedInPart(t *testing.T) {
	l := start(t, `
listen on 127.0.0.1 port PORT
table inside { "via.example.net" }
action "local" maildir userbase <people>
action "out" relay host "smtp://127.0.0.1:1"
match from any for domain <inside> action "out"
match from any for domain "example.org" action "local"
`)
	to := []string{"a@via.example.net", "b@via.example.net", "joe@example.org", "c@via.example.net"}
	l.mustSend("ann@example.net", to, "Subject: parts\r\n\r\n")
	l.log.wait(t, 0, `mda delivery .*result=Ok`)
	byID := make(map[string]string)
	for _, e := range l.queue(3) {
		byID[e.ID.String()] = e.Rcpt
	}
	for _, rcpt := range to {
		line := l.log.wait(t, 0, `smtp envelope evpid=[0-9a-f]{16} from=<ann@example.net> to=<`+rcpt+`>`)
		_, rest, _ := strings.Cut(line, "evpid=")
		if listed := byID[rest[:16]]; listed != rcpt && rcpt != "joe@example.org" {
			t.Errorf("the log gives <%s> the envelope %s, which is of <%s>", rcpt, rest[:16], listed)
		}
	}
}

// TestQueueTakesOnlyRelayed: a dispatcher that is not itself any more gets nothing delivered here.
func TestQueueTakesOnlyRelayed(t *testing.T) {
	for _, list := range [][]*envelope.Envelope{{nil}, {{Type: envelope.MDA}}, {{Type: envelope.MTA}, {Type: envelope.Bounce}},
		make([]*envelope.Envelope, mostRelayed+1)} {
		if err := checkRelayed(list); err == nil {
			t.Errorf("%v is taken", list)
		}
	}
	if err := checkRelayed([]*envelope.Envelope{{Type: envelope.MTA}}); err != nil {
		t.Error(err)
	}
}
