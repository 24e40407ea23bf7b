package control

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/stats"
)

func TestParseCommand(t *testing.T) {
	const all = ^envelope.ID(0)
	msgFirst, msgLast := envelope.ID(0x99b6aa0300000000), envelope.ID(0x99b6aa03ffffffff)
	evp := envelope.ID(0x99b6aa0346ee5eb0)
	tests := []struct {
		line string
		want Request
	}{
		{"show queue", Request{Op: ShowQueue, Last: all}},
		{"show queue 99b6aa03", Request{Op: ShowQueue, First: msgFirst, Last: msgLast}},
		{"sh q", Request{Op: ShowQueue, Last: all}},
		{"show hosts", Request{Op: ShowHosts, Last: all}},
		{"show hosts", Request{Op: ShowHosts, Last: all}},
		{"show hostst", Request{Op: ShowHostStats, Last: all}},
		{"show envelope 99b6aa0346ee5eb0", Request{Op: ShowEnvelope, First: evp, Last: evp}},
		{"show message 99b6aa03", Request{Op: ShowMessage, First: msgFirst, Last: msgLast}},
		{"show message 99b6aa0346ee5eb0", Request{Op: ShowMessage, First: evp, Last: evp}},
		{"pause envelope all", Request{Op: PauseEnvelope, Last: all}},
		{"p e 99b6aa0346ee5eb0", Request{Op: PauseEnvelope, First: evp, Last: evp}},
		{"pause mta", Request{Op: PauseMTA, Last: all}},
		{"pause mta from 192.0.2.1", Request{Op: BlockMTA, Last: all, Source: "192.0.2.1"}},
		{"pause mta for example.com", Request{Op: BlockMTA, Last: all, Domain: "example.com"}},
		{"res mta fr 2001:db8::1 fo example.com", Request{Op: UnblockMTA, Last: all, Source: "2001:db8::1", Domain: "example.com"}},
		{"show mta paused", Request{Op: ShowBlocks, Last: all}},
		{"resume route 12", Request{Op: ResumeRoute, Last: all, Route: 12}},
		{"queue action 99b6aa0346ee5eb0 out", Request{Op: QueueAction, First: evp, Last: evp, Name: "out"}},
		{"q a 99b6aa03 all", Request{Op: QueueAction, First: msgFirst, Last: msgLast, Name: "all"}},
		{"queue action all out", Request{Op: QueueAction, Last: all, Name: "out"}},
		{"queue action h local", Request{Op: QueueActionHeld, Last: all, Name: "local"}},
		{"remove all", Request{Op: Remove, Last: all}},
		{"rem a", Request{Op: Remove, Last: all}},
		{"schedule 99b6aa03", Request{Op: Schedule, First: msgFirst, Last: msgLast}},
		{"log verbose", Request{Op: LogVerbose, Last: all}},
		{"trace smtp", Request{Op: Trace, Last: all, Name: "smtp"}},
		{"trace smtp 192.0.2.1", Request{Op: Trace, Last: all, Name: "smtp", Client: "192.0.2.1"}},
		{"untrace mta 2001:db8::/32", Request{Op: Untrace, Last: all, Name: "mta", Client: "2001:db8::/32"}},
		{"trace smtp 99b6aa0346ee5eb0", Request{Op: Trace, Last: all, Name: "smtp", Client: "99b6aa0346ee5eb0"}},
		{"update table aliases", Request{Op: UpdateTable, Last: all, Name: "aliases"}},
		{"encrypt", Request{Op: Encrypt, Last: all}},
		{"config convert /etc/smtpd.conf", Request{Op: ConvertConfig, Last: all, Name: "/etc/smtpd.conf"}},
		{"encrypt-scram", Request{Op: EncryptScram, Last: all}},
		{"encrypt-scram secret", Request{Op: EncryptScram, Last: all, Name: "secret"}},
		{"encrypt secret", Request{Op: Encrypt, Last: all, Name: "secret"}},
		{"spf walk", Request{Op: SPFWalk, Last: all}},
		{"stop", Request{Op: Stop, Last: all}},
		{"reload", Request{Op: Reload, Last: all}},
	}
	for _, tt := range tests {
		got, err := ParseCommand(strings.Fields(tt.line))
		if err != nil || got != tt.want {
			t.Errorf("%s: %+v %v", tt.line, got, err)
		}
		if !got.Op.Alone() && !got.Check() {
			t.Errorf("%s: the daemon would refuse %+v", tt.line, got)
		}
	}
}

func TestParseCommandErrors(t *testing.T) {
	top := "discover,pause,queue,resume,show,log,monitor,remove,schedule,trace,untrace,update,encrypt,encrypt-scram,config,spf,reload,stop"
	tests := []struct{ line, want string }{
		{"", top},
		{"foo", top},
		{"uncorrupt 12345678", top},
		{"show envelope zz", "show envelope <evpid>"},
		{"show envelope 99B6AA0346EE5EB0", "show envelope <evpid>"},
		{"show envelope 99b6aa0300000000", "show envelope <evpid>"},
		{"show envelope", "show envelope <evpid>"},
		{"update map aliases", "update table"},
		{"update table", "update table <name>"},
		{"re", "resume,remove,reload"},
		{"s", "show,schedule,spf,stop"},
		{"show st", "show stats,show status"},
		{"show h", "show hosts,show hoststats"},
		{"pause envelope", "pause envelope <evpid>,pause envelope <msgid>,pause envelope all"},
		{"stop now", "stop"},
		{"remove", "remove <evpid>,remove <msgid>,remove all"},
		{"resume route x", "resume route <routeid>"},
	}
	for _, tt := range tests {
		_, err := ParseCommand(strings.Fields(tt.line))
		var usage *UsageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		if got := strings.Join(usage.Possibilities, ","); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.line, got, tt.want)
		}
	}
	if _, err := ParseCommand([]string{"trace", "nosuch"}); err == nil || err.Error() != "invalid trace keyword: nosuch" {
		t.Errorf("trace nosuch: %v", err)
	}
	if _, err := ParseCommand([]string{"show", ""}); err == nil {
		t.Error("an empty word was taken")
	}
	if got := (&UsageError{[]string{"a", "b"}}).Error(); got != "possibilities are:\na\nb" {
		t.Errorf("%q", got)
	}
}

// The lines are those that the scripts of administrators read.
func TestQueueLines(t *testing.T) {
	u2 := address.Address{Local: "u2", Domain: "tempfail.example.net"}
	e := envelope.Envelope{
		ID: 0x99b6aa0346ee5eb0, Type: envelope.MTA, Sockaddr: "127.0.0.1",
		Sender: address.Address{Local: "alice", Domain: "example.org"}, Rcpt: u2, Dest: u2,
		Created: time.Unix(1795438627, 0), LastTry: time.Unix(1795438630, 0), TTL: 4 * 24 * time.Hour, Retry: 1,
		ErrorLine: "451 4.7.1 greylisted, try later",
	}
	local := e
	local.Sockaddr, local.Type, local.Sender, local.TTL, local.LastTry = "local", envelope.MDA, address.Address{}, 0, time.Time{}
	local.Flags = envelope.Authenticated | envelope.BounceMessage | envelope.Internal
	local.ErrorLine = "bad\nline"
	v6 := e
	v6.Sockaddr = "[::1]"
	utf8 := e
	utf8.ErrorLine = "later \xff à"
	tests := []struct {
		env  envelope.Envelope
		info scheduler.Info
		want string
	}{
		{e, scheduler.Info{State: scheduler.Pending, Wait: 397 * time.Second},
			"99b6aa0346ee5eb0|inet4|mta||alice@example.org|u2@tempfail.example.net|u2@tempfail.example.net|1795438627|1795784227|1795438630|1|pending|397|451 4.7.1 greylisted, try later"},
		{v6, scheduler.Info{State: scheduler.Inflight, Wait: 3 * time.Second},
			"99b6aa0346ee5eb0|inet6|mta||alice@example.org|u2@tempfail.example.net|u2@tempfail.example.net|1795438627|1795784227|1795438630|1|inflight|3|451 4.7.1 greylisted, try later"},
		{local, scheduler.Info{State: scheduler.Parked, Suspended: true, Held: true},
			`99b6aa0346ee5eb0|local|mda|bounce,auth,internal,suspend,hold|@|u2@tempfail.example.net|u2@tempfail.example.net|1795438627|1795438687|0|1|pending|0|bad\nline`},
		{utf8, scheduler.Info{State: scheduler.Pending},
			`99b6aa0346ee5eb0|inet4|mta||alice@example.org|u2@tempfail.example.net|u2@tempfail.example.net|1795438627|1795784227|1795438630|1|pending|0|later \xff à`},
	}
	for _, tt := range tests {
		if got := string(AppendQueueLine([]byte("x"), &tt.env, &tt.info, time.Minute)); got != "x"+tt.want+"\n" {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestOutput(t *testing.T) {
	if got := (Status{MTA: true}).String(); got != "MDA running\nMTA paused\nSMTP running\n" {
		t.Errorf("status %q", got)
	}
	for _, tt := range []struct {
		op   Op
		n    uint64
		want string
	}{
		{PauseEnvelope, 1, "1 envelope paused"}, {ResumeEnvelope, 0, "0 envelopes resumed"},
		{Schedule, 3, "3 envelopes scheduled"}, {Remove, 4, "4 envelopes removed"},
		{Discover, 0, "0 envelopes discovered"}, {Stop, 1, ""},
	} {
		if got := CountLine(tt.op, tt.n); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	s := Stats{Values: []stats.Value{{Name: stats.MDAUser, Value: 2}}, Uptime: 65}
	if got := s.String(); got != "mda.user=2\nuptime=65\nuptime.human=1m5s\n" {
		t.Errorf("stats %q", got)
	}
}

// The numbers are those of a server that took one message for five recipients, of which
// two were delivered; then one more of them.
func TestMonitorLine(t *testing.T) {
	first := []stats.Value{{Name: stats.DeliveryOK, Value: 2}, {Name: stats.DeliveryTempFail, Value: 2},
		{Name: stats.Envelope, Value: 3}, {Name: stats.SMTPSession, Value: 0}, {Name: stats.SMTPSessionInet4, Value: 1}}
	if got, want := MonitorLine(nil, first), "   0    1    1     3    5    2    2       2       0    0      0      0      0"; got != want {
		t.Errorf("\n%s\n%s", got, want)
	}
	second := []stats.Value{{Name: stats.DeliveryOK, Value: 3}, {Name: stats.DeliveryTempFail, Value: 2},
		{Name: stats.Envelope, Value: 2}, {Name: stats.SMTPSession, Value: 1}, {Name: stats.SMTPSessionInet4, Value: 2}}
	if got, want := MonitorLine(first, second), "   1    1    0     2    0    1    1       0       0    0      0      0      0"; got != want {
		t.Errorf("\n%s\n%s", got, want)
	}
	for line := range strings.SplitSeq(MonitorHeader, "\n") {
		if len(line) != len(MonitorLine(nil, nil)) {
			t.Errorf("header line of %d columns", len(line))
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	for op := Op(1); op < ops; op++ {
		if got := op.Allowed(1000); got != (op == Enqueue) {
			t.Errorf("operation %d for a user: %v", op, got)
		}
		if !op.Allowed(0) {
			t.Errorf("operation %d is refused to root", op)
		}
	}
	for _, r := range []Request{{}, {Op: ops}, {Op: Encrypt}, {Op: Remove, First: 2, Last: 1}, {Op: Trace, Name: strings.Repeat("x", MaxName+1)}} {
		if r.Check() {
			t.Errorf("%+v was taken", r)
		}
	}
}

// FuzzParseCommand: nothing that is typed may panic, and what is understood is in range.
func FuzzParseCommand(f *testing.F) {
	f.Add("show queue 99b6aa03")
	f.Add("resume route 99999999999999999999")
	f.Add("< < <evpid>")
	f.Fuzz(func(t *testing.T, line string) {
		r, err := ParseCommand(strings.Split(line, " "))
		if err == nil && !r.Op.Alone() && !r.Check() {
			t.Errorf("%q: %+v", line, r)
		}
	})
}
