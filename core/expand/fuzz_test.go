package expand

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/srs"
	"github.com/godwit-mta/godwit/core/table"
)

// FuzzExpand expands a recipient with tables, included files and .forward files of
// strangers. Whatever they hold, the answer is a reply or envelopes that can be stored.
func FuzzExpand(f *testing.F) {
	f.Add("a=b, c@virtual\nb=|x\nc@virtual=a", "a, \\b\n", "A+x", "local", "s@example.com")
	f.Add("@=:include:/list", "error:550 x, /box", "x", "virtual", "")
	f.Add("a=a@local\nb=c\nc=b, d", "b, a+t", "b", "only", "")
	f.Add("", "", "SRS0=QyK1=JO=example.com=alice", "local", "")
	f.Fuzz(func(t *testing.T, aliases, forward, local, domain, sender string) {
		to, err := address.Parse(address.Address{Local: local, Domain: domain}.String())
		if err != nil {
			return
		}
		from, err := address.ParsePath(sender)
		if err != nil {
			return
		}
		tab := &fake{values: map[string]string{}}
		for line := range strings.Lines(aliases) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			tab.values[key] = value
		}
		e, err := New(&config.Config{SubAddrDelim: "+", Actions: []config.Action{
			{Name: "local", Method: config.MBox, Alias: "a"},
			{Name: "virtual", Method: config.Maildir, Virtual: "a"},
			{Name: "only", Method: config.ForwardOnly, Alias: "a"},
			{Name: "relay", Method: config.RelayMethod},
		}}, Sources{Tables: tab, Rules: tab, DaemonUser: "_smtpd", SRS: srs.New("key", "", time.Hour*24),
			Forward:  func(context.Context, table.User) ([]byte, bool, error) { return []byte(forward), true, nil },
			ReadFile: func(string) ([]byte, error) { return []byte(forward), nil }})
		if err != nil {
			t.Fatal(err)
		}
		base := &envelope.Envelope{Sender: from, Rcpt: to, Created: time.Unix(1, 0), TTL: time.Hour}
		envs, err := e.Expand(t.Context(), &rules.Session{Rcpt: to, Sender: from}, base)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		checkEnvelopes(t, envs)
	})
}

func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) {
		t.Fatalf("no reply: %v", err)
	}
	if reply.Code < 400 || reply.Code > 599 || reply.EnhancedCode[0] != reply.Code/100 || strings.ContainsAny(reply.Message, "\r\n\x00") {
		t.Errorf("reply %+v", reply)
	}
}

func checkEnvelopes(t *testing.T, envs []*envelope.Envelope) {
	t.Helper()
	if len(envs) == 0 {
		t.Error("neither envelopes nor a reply")
	}
	seen := map[envelope.Envelope]bool{}
	for _, env := range envs {
		if seen[*env] {
			t.Errorf("twice: %+v", env)
		}
		seen[*env] = true
		text, err := env.AppendText(nil)
		if err != nil {
			t.Fatalf("%+v: %v", env, err)
		}
		if back, err := envelope.Parse(env.ID, text); err != nil || *back != *env {
			t.Errorf("%+v is read back as %+v, %v", env, back, err)
		}
		if env.Type == envelope.MDA && env.MDAUser == "" || env.Dest.Domain == "" {
			t.Errorf("for nobody: %+v", env)
		}
	}
}
