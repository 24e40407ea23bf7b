package trace

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
)

type memory struct {
	mu   sync.Mutex
	text strings.Builder
}

func (m *memory) Log(_ Level, line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.text.WriteString(line + "\n")
}

func TestParseClient(t *testing.T) {
	for _, tt := range []struct {
		sub        Subsystem
		text, want string // "": refused
	}{
		{SMTP, "192.0.2.1", "smtp 192.0.2.1"},
		{SMTP, "::ffff:192.0.2.1", "smtp 192.0.2.1"},
		{SMTP, "[2001:db8::1]", "smtp 2001:db8::1"},
		{SMTP, "2001:db8:0::1/32", "smtp 2001:db8::/32"},
		{SMTP, "192.0.2.1/24", "smtp 192.0.2.0/24"},
		{SMTP, "local", "smtp local"},
		{SMTP, "00000000deadbeef", "smtp 00000000deadbeef"},
		{MTA, "192.0.2.1", "mta 192.0.2.1"},
		{MTA, "00000000deadbeef", "mta 00000000deadbeef"},
		{MTA, "local", ""},
		{Queue, "192.0.2.1", ""},
		{All, "192.0.2.1", ""},
		{SMTP, "", ""},
		{SMTP, "0000000000000000", ""},
		{SMTP, "deadbeef", ""},
		{SMTP, "00000000DEADBEEFF", ""},
		{SMTP, "fe80::1%lo", ""},
		{SMTP, "192.0.2.0/33", ""},
		{SMTP, "::ffff:192.0.2.1/120", ""},
		{SMTP, "example.org", ""},
		{SMTP, "192.0.2.1\n", ""},
	} {
		c, ok := ParseClient(tt.sub, tt.text)
		if ok != (tt.want != "") || ok && c.String() != tt.want {
			t.Errorf("%q: %v, %v", tt.text, c, ok)
		}
		if again, ok := ParseClientText(tt.want); tt.want != "" && (!ok || again != c) {
			t.Errorf("%q is read as %v", tt.want, again)
		}
	}
}

// Only the lines of the sessions that are meant are written, of all subsystems.
func TestWatched(t *testing.T) {
	work := map[string]*Trace{
		"four":    {ID: 1, Of: SMTP, Remote: netip.MustParseAddr("::ffff:192.0.2.1")},
		"six":     {ID: 2, Of: SMTP, Remote: netip.MustParseAddr("2001:db8::1")},
		"scoped":  {ID: 3, Of: SMTP, Remote: netip.MustParseAddr("fe80::1%eth0")},
		"socket":  {ID: 4, Of: SMTP, Local: true},
		"relay":   {ID: 5, Of: MTA, Remote: netip.MustParseAddr("192.0.2.1")},
		"nothing": {ID: 6},
	}
	for text, want := range map[string]string{
		"smtp 192.0.2.1": "four", "smtp 192.0.2.0/24": "four", "smtp 2001:db8::/32": "six", "smtp fe80::1": "scoped",
		"smtp local": "socket", "mta 192.0.2.1": "relay", "smtp 0000000000000002": "six", "mta 0000000000000005": "relay",
		"smtp 0.0.0.0/0": "four", "smtp 0000000000000005": "", "mta 10.0.0.0/8": "",
	} {
		var m memory
		l := New(&m)
		c, ok := ParseClientText(text)
		if !ok {
			t.Fatal(text)
		}
		l.SetClients([]Client{c})
		for name, w := range work {
			w.Logger = l
			w.Tracef(SMTP, "x: %s", name)
			w.Debugf("%s", name)
			if w.Watched() != (name == want) {
				t.Errorf("%s: %s is traced: %v", text, name, w.Watched())
			}
		}
		l.Tracef(SMTP, "of everybody")
		l.Debugf("of everybody")
		lines := ""
		if want != "" {
			lines = "x: " + want + "\ndebug: " + work[want].SID() + " " + want + "\n"
		}
		if m.text.String() != lines {
			t.Errorf("%s: %q, want %q", text, m.text.String(), lines)
		}
		l.SetClients(nil)
		if len(l.Clients()) > 0 {
			t.Error("not forgotten")
		}
	}
}

// A trace that nobody began has nothing to tell.
func TestNilTrace(t *testing.T) {
	var tr *Trace
	tr.Tracef(SMTP, "x")
	tr.Debugf("x")
	(&Trace{}).Tracef(SMTP, "x")
	if tr.Watched() || (&Trace{}).Traces(All) {
		t.Error("traced")
	}
}

func TestAbout(t *testing.T) {
	var m memory
	l := New(&m)
	a := l.About(0xbeef)
	a.Tracef(Rules, "rule")
	a.Debugf("debug")
	a.Warnf("line\nend")
	if got, want := m.text.String(), "000000000000beef rule\n000000000000beef debug: debug\n000000000000beef warn: line\\nend\n"; got != want {
		t.Errorf("%q", got)
	}
}
