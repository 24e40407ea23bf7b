package expand

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
	"github.com/godwit-mta/godwit/core/table"
)

// fake is tables and rules in one: every address gets the action that its domain names.
type fake struct {
	values map[string]string // "table key" -> value
	asked  []string
}

func (f *fake) Lookup(_ context.Context, name string, _ table.Service, key string) (string, bool, error) {
	f.asked = append(f.asked, key)
	if strings.HasPrefix(key, "fail") {
		return "", false, errors.New("connection refused")
	}
	if name == config.GetPwNam {
		return "1000:1000:/home", true, nil
	}
	v, ok := f.values[key]
	return v, ok, nil
}

func (f *fake) Prepare(name string, _ table.Service) error {
	if name == "nosuch" {
		return errors.New(`table "nosuch" is not defined`)
	}
	return nil
}

func (f *fake) Evaluate(_ context.Context, _ *rules.Session, dest address.Address) (*config.Rule, error) {
	return &config.Rule{Action: dest.Domain}, nil
}

func expander(t testing.TB, f *fake) *Expander {
	t.Helper()
	e, err := New(&config.Config{SubAddrDelim: "+", Actions: []config.Action{
		{Name: "local", Method: config.MBox, Alias: "a"},
		{Name: "virtual", Method: config.Maildir, Virtual: "a", TTL: time.Hour},
		{Name: "relay", Method: config.RelayMethod},
	}}, Sources{Tables: f, Rules: f, DaemonUser: "_smtpd"})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func rcpt(local, domain string) *rules.Session {
	return &rules.Session{Rcpt: address.Address{Local: local, Domain: domain}}
}

func TestEnvelopes(t *testing.T) {
	f := &fake{values: map[string]string{"list": "bob+x, |cmd, far@relay, joe@virtual", "joe": "joe"}}
	base := &envelope.Envelope{Helo: "client.example", TTL: 4 * time.Hour, Flags: envelope.TLS, EnvID: "e", Notify: envelope.NotifyDelay,
		MDAUser: "root", MDAExec: "|evil", Rcpt: address.Address{Local: "list", Domain: "local"}}
	got, err := expander(t, f).Expand(t.Context(), rcpt("list", "local"), base)
	if err != nil {
		t.Fatal(err)
	}
	list := address.Address{Local: "list", Domain: "local"}
	want := []func(*envelope.Envelope){
		func(e *envelope.Envelope) {
			e.Dispatcher, e.Type, e.Dest = "local", envelope.MDA, list
			e.MDAUser = "_smtpd"
			e.MDAExec = "|cmd"
		},
		func(e *envelope.Envelope) {
			e.Dispatcher, e.Type, e.Dest = "relay", envelope.MTA, address.Address{Local: "far", Domain: "relay"}
		},
		func(e *envelope.Envelope) {
			e.Dispatcher, e.Type, e.Dest = "local", envelope.MDA, list
			e.MDAUser = "bob"
			e.MDASubaddress = "x"
		},
		func(e *envelope.Envelope) {
			e.Dispatcher, e.Type, e.Dest = "virtual", envelope.MDA, address.Address{Local: "joe", Domain: "virtual"}
			e.MDAUser, e.TTL = "joe", time.Hour
		},
	}
	if len(got) != len(want) {
		t.Fatalf("%d envelopes, want %d", len(got), len(want))
	}
	for _, w := range want {
		e := *base
		e.MDAUser, e.MDAExec = "", ""
		w(&e)
		found := false
		for _, g := range got {
			found = found || *g == e
		}
		if !found {
			t.Errorf("no envelope %+v", e)
		}
	}
}

func TestLookupOrder(t *testing.T) {
	tests := []struct{ local, domain, want string }{
		{"U+Tag", "local", "u+tag u u"},
		{"u", "local", "u u"},
		{"u+", "local", "u+ u"},
		{"U+T", "virtual", "u+t@virtual u@virtual u+t u @virtual @"},
		{"u", "virtual", "u@virtual u @virtual @"},
		{"far", "relay", ""},
	}
	for _, tt := range tests {
		f := &fake{}
		_, _ = expander(t, f).Expand(t.Context(), rcpt(tt.local, tt.domain), &envelope.Envelope{})
		if got := strings.Join(f.asked, " "); got != tt.want {
			t.Errorf("%s@%s asks for %q, want %q", tt.local, tt.domain, got, tt.want)
		}
	}
}

// chain is a list whose entries double at each step.
func chain(n int) map[string]string {
	values := map[string]string{}
	for i := range n {
		values[fmt.Sprint("c", i)] = strings.Repeat(fmt.Sprintf("c%d,", i+1), 900)
	}
	return values
}

func TestLimits(t *testing.T) {
	wide := map[string]string{"wide": ""}
	for i := range 9000 {
		wide["wide"] += fmt.Sprintf("u%d,", i)
	}
	over := map[string]string{"over": strings.Repeat("sub0,sub1,sub2,", 4)}
	for i := range 3 {
		var b strings.Builder
		for j := range 5000 {
			fmt.Fprintf(&b, "s%d-%d,", i, j)
		}
		over[fmt.Sprint("sub", i)] = b.String()
	}
	tests := []struct {
		name   string
		values map[string]string
		count  int
		code   int
	}{
		{"wide", wide, 9000, 0},
		{"over", over, 0, 424},
		{"c0", chain(20), 0, 524},
		{"c0", chain(8), 1, 0},
		{"fail", nil, 0, 451},
		{"x", map[string]string{"x": "bob, y", "y": "failing"}, 0, 451},
		{"x", map[string]string{"x": "bob, y", "y": "("}, 0, 424},
	}
	for _, tt := range tests {
		got, err := expander(t, &fake{values: tt.values}).Expand(t.Context(), rcpt(tt.name, "local"), &envelope.Envelope{})
		code := 0
		var reply *gosmtp.SMTPError
		if errors.As(err, &reply) {
			code = reply.Code
		}
		if len(got) != tt.count || code != tt.code || (err == nil) != (code == 0) {
			t.Errorf("%s: %d envelopes, %v, want %d and %d", tt.name, len(got), err, tt.count, tt.code)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var reply *gosmtp.SMTPError
	_, err := expander(t, &fake{}).Expand(ctx, rcpt("bob", "local"), &envelope.Envelope{})
	if !errors.As(err, &reply) || !reply.Temporary() {
		t.Errorf("error %v is not a temporary reply", err)
	}
}

func TestNewErrors(t *testing.T) {
	pos := config.Pos{File: "smtpd.conf", Line: 3}
	_, err := New(&config.Config{
		Actions: []config.Action{{Pos: pos, Name: "t", Method: config.MBox, Alias: "nosuch"}},
	}, Sources{Tables: &fake{}})
	if want := `smtpd.conf:3: action "t": table "nosuch" is not defined`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// RFC 3461 section 5.2.7: who asked to be told of the success is told of the expansion into
// several, and one destination keeps what was asked.
func TestConfirmation(t *testing.T) {
	const success, failure, never = envelope.NotifySuccess, envelope.NotifyFailure, envelope.NotifyNever
	sender := address.Address{Local: "s", Domain: "example.net"}
	tests := []struct {
		name, list   string
		sender       address.Address
		notify, want envelope.Notify
		told         bool
	}{
		{"one", "joe", sender, success, success, false},
		{"several", "joe, bob", sender, success, never, true},
		{"several and failure", "joe, far@relay", sender, success | failure, failure, true},
		{"not asked", "joe, bob", sender, failure, failure, false},
		{"never", "joe, bob", sender, never, never, false},
		{"nothing said", "joe, bob", sender, 0, 0, false},
		{"null sender", "joe, bob", address.Address{}, success, success, false},
	}
	for _, tt := range tests {
		base := &envelope.Envelope{Sender: tt.sender, Rcpt: address.Address{Local: "list", Domain: "local"}, Notify: tt.notify,
			EnvID: "id", ORcpt: "rfc822;list@local", Ret: "HDRS"}
		got, err := expander(t, &fake{values: map[string]string{"list": tt.list}}).Expand(t.Context(), rcpt("list", "local"), base)
		if err != nil {
			t.Fatal(err)
		}
		if told := got[0].Type == envelope.Bounce; told != tt.told {
			t.Fatalf("%s: first is %+v", tt.name, got[0])
		} else if told {
			n := got[0]
			if n.BounceType != envelope.BounceExpanded || n.Dest != base.Rcpt || n.EnvID != "id" || n.LastBounce.IsZero() || n.Dispatcher == "" {
				t.Errorf("%s: %+v", tt.name, n)
			}
			got = got[1:]
		}
		for _, e := range got {
			if e.Notify != tt.want || e.EnvID != "id" || e.ORcpt != base.ORcpt || e.Ret != "HDRS" || e.Type == envelope.Bounce {
				t.Errorf("%s: %+v", tt.name, e)
			}
		}
	}
}
