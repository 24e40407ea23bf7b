package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var testEnv = Environment{
	Hostname:   "mail.example.org",
	LibexecDir: "/libexec",
	LookupPort: func(name string) (uint16, error) {
		if name == "mail-alt" {
			return 2525, nil
		}
		return 0, errors.New("unknown service")
	},
	Executable: func(path string) bool { return path == "/libexec/table-ldap" },
}

// rule makes a file complete.
const rule = "action end mbox\nmatch from local for local action end\n"

func includes(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
}

func mustParse(t *testing.T, text string) (*Config, []Warning) {
	t.Helper()
	cfg, warnings, err := Parse("smtpd.conf", []byte(text), nil, nil, testEnv)
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	return cfg, warnings
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestDefaults(t *testing.T) {
	cfg, warnings := mustParse(t, rule)
	equal(t, "warnings", len(warnings), 0)
	equal(t, "hostname", cfg.Hostname, "mail.example.org")
	equal(t, "admd", cfg.ADMD, "mail.example.org")
	equal(t, "size", cfg.MaxMessageSize, int64(36700160))
	equal(t, "delimiter", cfg.SubAddrDelim, "+")
	equal(t, "ttl", cfg.QueueTTL, 345600*time.Second)
	equal(t, "srs", cfg.SRS, SRS{TTL: 96 * time.Hour})
	equal(t, "warn", cfg.WarnIntervals, []time.Duration{4 * time.Hour})
	equal(t, "rcpt", cfg.MaxRcpt, 1000)
	equal(t, "mails", cfg.MaxMails, 100)
	equal(t, "deferred", cfg.MTAMaxDeferred, 100)
	equal(t, "mda", cfg.MDA, MDALimits{50, 7, 50, 30, 10})
	equal(t, "scheduler", cfg.Scheduler, SchedulerLimits{5000, 256, 1024, 10})
	equal(t, "mta", cfg.MTALimits, []MTALimits{{
		MaxConnPerHost: 10, MaxConnPerRoute: 5, MaxConnPerSource: 100, MaxConnPerConnector: 20,
		MaxConnPerRelay: 100, MaxConnPerDomain: 100,
		SessionMailMax: 1000, StartConn: 5, SessionKeepalive: 10 * time.Second,
		MaxFailuresPerSession: 25, TaskHiwat: 50, TaskLowat: 30, TaskRelease: 10,
	}})
	equal(t, "action", cfg.Actions, []Action{{
		Pos: Pos{"smtpd.conf", 1, 1}, Name: "end", Method: MBox, UserBase: GetPwNam,
	}})
	equal(t, "rule", cfg.Rules, []Rule{{
		Pos: Pos{"smtpd.conf", 2, 1}, Action: "end",
		From: Match{On: true, Table: LocalHost}, For: Match{On: true, Table: LocalNames},
	}})
	equal(t, "unsupported", len(cfg.Unsupported), 0)
}

func TestSettings(t *testing.T) {
	hours := func(n ...int) (d []time.Duration) {
		for _, h := range n {
			d = append(d, time.Duration(h)*time.Hour)
		}
		return d
	}
	tests := []struct {
		text string
		got  func(*Config) any
		want any
	}{
		{"admd example.com", func(c *Config) any { return c.ADMD }, "example.com"},
		{"bounce warn-interval 1h", func(c *Config) any { return c.WarnIntervals }, hours(1)},
		{"bounce warn-interval 1h, 6h,1d , 2d", func(c *Config) any { return c.WarnIntervals }, hours(1, 6, 24, 48)},
		{"", func(c *Config) any { return c.Bounce }, Bounce{ReturnAuthenticated, 100 << 10, 30, 1000, 10000}},
		{"bounce limit max-per-sender 1 max-per-domain 2 max-total 3\nbounce max-return-size 64K\nbounce return-full any",
			func(c *Config) any { return c.Bounce }, Bounce{ReturnAny, 64 << 10, 1, 2, 3}},
		{"bounce limit max-total 0\nbounce return-full none\nbounce max-return-size 0",
			func(c *Config) any { return c.Bounce }, Bounce{ReturnNone, 0, 30, 1000, 0}},
		{"bounce return-full authenticated", func(c *Config) any { return c.Bounce.ReturnFull }, ReturnAuthenticated},
		{"bounce warn-interval 0s", func(c *Config) any { return len(c.WarnIntervals) }, 0},
		{"", func(c *Config) any { return c.DANE.On }, false},
		{"mta tls-policy { example.org = encrypt }", func(c *Config) any { return c.Tables[0].Entries }, []Entry{{Key: "example.org", Value: "encrypt"}}},
		{"mta tls-policy { example.org = encrypt }", func(c *Config) any { return c.TLSPolicy == c.Tables[0].Name }, true},
		{"table p file:/p\nmta tls-policy <p>", func(c *Config) any { return c.TLSPolicy }, "p"},
		{"mta tls-report \"Example Inc.\" contact a@example.org", func(c *Config) any { return c.TLSReport }, TLSReport{"Example Inc.", "a@example.org", "a@example.org", 4 * time.Hour}},
		{"mta tls-report x spread 0s sender b@example.org contact a@example.org", func(c *Config) any { return c.TLSReport }, TLSReport{"x", "a@example.org", "b@example.org", 0}},
		{"mta sts", func(c *Config) any { return c.STS }, true},
		{"mta dane", func(c *Config) any { return c.DANE }, DANE{On: true}},
		{"mta dane 192.0.2.53 \"2001:db8::53\"", func(c *Config) any { return c.DANE },
			DANE{true, []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}}},
		{"mta max-deferred 7", func(c *Config) any { return c.MTAMaxDeferred }, 7},
		{"queue schedule 5m, 15m,1h , 4h", func(c *Config) any { return c.Schedule },
			[]time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour}},
		{"", func(c *Config) any { return len(c.Schedule) }, 0},
		{"queue max-body-memory 1M", func(c *Config) any { return c.MaxBodyMemory }, int64(1 << 20)},
		{"", func(c *Config) any { return c.MaxBodyMemory }, int64(32 << 20)},
		{"queue ttl 90m", func(c *Config) any { return c.QueueTTL }, 90 * time.Minute},
		{"queue ttl \"2d\"", func(c *Config) any { return c.QueueTTL }, 48 * time.Hour},
		{"queue compression", func(c *Config) any { return c.QueueCompress }, "gzip"},
		{"queue compression gzip", func(c *Config) any { return c.QueueCompress }, "gzip"},
		{"queue compression \"zstd\"", func(c *Config) any { return c.QueueCompress }, "zstd"},
		{"queue encryption", func(c *Config) any { return c.QueueKeys }, []string{"stdin"}},
		{"queue encryption \"-\"", func(c *Config) any { return c.QueueKeys }, []string{"stdin"}},
		{"queue encryption stdin", func(c *Config) any { return c.QueueKeys }, []string{"stdin"}},
		{"queue encryption 0123456789abcdef0123456789abcdef", func(c *Config) any { return c.QueueKeys },
			[]string{"0123456789abcdef0123456789abcdef"}},
		{"queue encryption none file:/a file:/b", func(c *Config) any { return c.QueueKeys }, []string{"none", "file:/a", "file:/b"}},
		{"smtp ciphers \"HIGH:!aNULL\"", func(c *Config) any { return c.Ciphers }, "HIGH:!aNULL"},
		{"smtp max-message-size 1000", func(c *Config) any { return c.MaxMessageSize }, int64(1000)},
		{"smtp max-message-size 35M", func(c *Config) any { return c.MaxMessageSize }, int64(35 << 20)},
		{"smtp max-message-size 1.5k", func(c *Config) any { return c.MaxMessageSize }, int64(1536)},
		{"smtp max-message-size \"12\"", func(c *Config) any { return c.MaxMessageSize }, int64(12)},
		{"smtp max-message-size 12b", func(c *Config) any { return c.MaxMessageSize }, int64(12)},
		{"smtp sub-addr-delim \"-\"", func(c *Config) any { return c.SubAddrDelim }, "-"},
		{"smtp sub-addr-delim _", func(c *Config) any { return c.SubAddrDelim }, "_"},
		{"smtp limit max-rcpt 5 max-mails 6", func(c *Config) any { return []int{c.MaxRcpt, c.MaxMails} }, []int{5, 6}},
		{"smtp limit", func(c *Config) any { return c.MaxRcpt }, 1000},
		{"smtp limit command-timeout 1m data-timeout 2m session-timeout 1h", func(c *Config) any {
			return []time.Duration{c.SMTP.CommandTimeout, c.SMTP.DataTimeout, c.SMTP.SessionTimeout}
		}, []time.Duration{time.Minute, 2 * time.Minute, time.Hour}},
		{"smtp limit max-session 1 max-errors 2 max-auth-errors 3 min-data-rate 4", func(c *Config) any {
			return []int{c.SMTP.MaxSession, c.SMTP.MaxErrors, c.SMTP.MaxAuthErrors, c.SMTP.MinDataRate}
		}, []int{1, 2, 3, 4}},
		{"smtp limit max-session-per-source 1 max-session-per-network 2 max-connect-per-source 3 max-connect-per-network 4 \\\n" +
			"max-errors-per-source 5 max-errors-per-network 6 max-auth-errors-per-source 7 max-auth-errors-per-network 8 \\\n" +
			"max-rcpt-per-source 9 max-rcpt-per-network 0", func(c *Config) any {
			return []PerClient{c.SMTP.Session, c.SMTP.Connect, c.SMTP.Errors, c.SMTP.AuthErrors, c.SMTP.Rcpt}
		}, []PerClient{{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 0}}},
		{"smtp limit exempt 10.1.2.3/8 exempt 192.0.2.1\nsmtp limit exempt \"2001:db8::/32\"", func(c *Config) any {
			return c.SMTP.Exempt
		}, []string{"10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"}},
		{"smtp early-talkers log", func(c *Config) any { return c.SMTP.TakeEarly }, true},
		{"smtp early-talkers log\nsmtp early-talkers reject", func(c *Config) any { return c.SMTP.TakeEarly }, false},
		{"mda limit max-session 1 max-session-per-user 2 task-hiwat 3 task-lowat 4 task-release 5",
			func(c *Config) any { return c.MDA }, MDALimits{1, 2, 3, 4, 5}},
		{"scheduler limit max-inflight 1 max-evp-batch-size 2 max-msg-batch-size 3 max-schedule 4",
			func(c *Config) any { return c.Scheduler }, SchedulerLimits{1, 2, 3, 4}},
		{"srs key \"a\"\nsrs key backup \"b\"\nsrs ttl 2d", func(c *Config) any { return c.SRS },
			SRS{"a", "b", 48 * time.Hour}},
		{"mda wrapper w \"/bin/w %{mda}\"", func(c *Config) any { return c.Wrappers },
			[]Wrapper{{"w", "/bin/w %{mda}"}}},
		{"ca Corp cert \"/ca.pem\"", func(c *Config) any { return c.CAs }, []CA{{Pos{"smtpd.conf", 1, 1}, "corp", "/ca.pem"}}},
		{"pki MX1.example.org cert \"/c\"\npki mx1.Example.org key \"/k\" dhe AUTO", func(c *Config) any { return c.PKIs },
			[]PKI{{Pos{"smtpd.conf", 1, 1}, "mx1.example.org", "/c", "/k", "auto"}}},
		{"pki \"*\" cert \"/c\" key \"/k\"", func(c *Config) any { return c.PKIs }, []PKI{{Pos{"smtpd.conf", 1, 1}, "*", "/c", "/k", "none"}}},
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, tt.text+"\n"+rule)
		equal(t, tt.text, tt.got(cfg), tt.want)
	}
}

func TestMTALimits(t *testing.T) {
	cfg, _ := mustParse(t, `mta limit max-conn-per-host 3 inet4
mta limit for domain Example.org inet6 conn-delay-route 9 max-conn-per-domain 2
mta limit max-conn-per-host 4 conn-delay-host 1 conn-delay-source 2 conn-delay-connector 3 \
	conn-delay-relay 4 conn-delay-domain 5 reconn-delay-route 6 session-mail-max 7 \
	session-transaction-delay 8 session-keepalive 9 max-failures-per-session 10 \
	task-hiwat 11 task-lowat 12 task-release 13 max-conn-per-route 14 max-conn-per-source 15 \
	max-conn-per-connector 16 max-conn-per-relay 17 start-conn 18 prefer inet6 \
	max-mail-per-minute-per-host 19 max-mail-per-minute-per-domain 20
`+rule)
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	equal(t, "number", len(cfg.MTALimits), 2)
	equal(t, "all", cfg.MTALimits[0], MTALimits{
		Family: "inet4", MaxConnPerHost: 4, MaxConnPerRoute: 14, MaxConnPerSource: 15,
		MaxConnPerConnector: 16, MaxConnPerRelay: 17, MaxConnPerDomain: 100,
		ConnDelayHost: second(1), ConnDelaySource: second(2),
		ConnDelayConnector: second(3), ConnDelayRelay: second(4), ConnDelayDomain: second(5),
		ReconnDelayRoute: second(6), SessionMailMax: 7, TransactionDelay: second(8),
		SessionKeepalive: second(9), MaxFailuresPerSession: 10, TaskHiwat: 11, TaskLowat: 12,
		TaskRelease: 13, StartConn: 18, Prefer: "inet6", MailPerMinuteHost: 19, MailPerMinuteDomain: 20,
	})
	one := cfg.MTALimits[1]
	equal(t, "domain", one.Domain, "example.org")
	equal(t, "family", one.Family, "inet6")
	equal(t, "own", []any{one.ConnDelayRoute, one.MaxConnPerDomain}, []any{second(9), 2})
	equal(t, "copied where first named", one.MaxConnPerHost, 3)
}

func TestListeners(t *testing.T) {
	const before = "pki a.example.org cert \"/c\" key \"/k\"\npki b.example.org cert \"/c\" key \"/k\"\n" +
		"ca corp cert \"/ca\"\ntable cred file:/cred\n"
	tests := []struct {
		text string
		want Listener
	}{
		{"lo0", Listener{Interface: "lo0", Port: 25}},
		{"::1 inet6", Listener{Interface: "::1", Port: 25, Family: "inet6"}},
		{"192.0.2.1 inet4 port 2525", Listener{Interface: "192.0.2.1", Port: 2525, Family: "inet4"}},
		{"all port smtp", Listener{Interface: "all", Port: 25}},
		{"all port smtps", Listener{Interface: "all", Port: 465}},
		{"all port submission", Listener{Interface: "all", Port: 587}},
		{"all port mail-alt", Listener{Interface: "all", Port: 2525}},
		{"all tls pki A.example.org", Listener{Interface: "all", Port: 25, TLS: true, PKI: []string{"a.example.org"}}},
		{"all smtps pki a.example.org pki b.example.org ca CORP", Listener{Interface: "all", Port: 465, SMTPS: true,
			PKI: []string{"a.example.org", "b.example.org"}, CA: "corp"}},
		{"all smtps verify port 25 pki a.example.org", Listener{Interface: "all", Port: 25, SMTPS: true, TLSVerify: true,
			PKI: []string{"a.example.org"}}},
		{"all tls-require pki a.example.org", Listener{Interface: "all", Port: 25, TLS: true, TLSRequire: true,
			PKI: []string{"a.example.org"}}},
		{"all tls-require verify pki a.example.org", Listener{Interface: "all", Port: 25, TLS: true, TLSRequire: true,
			TLSVerify: true, PKI: []string{"a.example.org"}}},
		{"all tls pki a.example.org auth normalize", Listener{Interface: "all", Port: 25, TLS: true,
			PKI: []string{"a.example.org"}, Auth: true, Normalize: true}},
		{"all tls pki a.example.org scram auth <cred> tag scram", Listener{Interface: "all", Port: 25, TLS: true,
			PKI: []string{"a.example.org"}, Auth: true, AuthTable: "cred", Scram: true, Tag: "scram"}},
		{"all tls pki a.example.org auth-optional <cred> hostname x.example.org",
			Listener{Interface: "all", Port: 25, TLS: true, PKI: []string{"a.example.org"},
				AuthOptional: true, AuthTable: "cred", Hostname: "x.example.org"}},
		{"all senders <cred> masquerade hostnames <cred> ciphers HIGH protocols all",
			Listener{Interface: "all", Port: 25, Senders: "cred", Masquerade: true, Hostnames: "cred",
				Ciphers: "HIGH", Protocols: "all"}},
		{"all mask-src received-auth no-dsn proxy-v2 tag normalize", Listener{Interface: "all", Port: 25,
			MaskSrc: true, ReceivedAuth: true, NoDSN: true, ProxyV2: true, Tag: "normalize"}},
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, before+"listen on "+tt.text+"\n"+rule)
		tt.want.Pos = Pos{"smtpd.conf", 5, 1}
		if tt.want.Hostname == "" {
			tt.want.Hostname = testEnv.Hostname
		}
		equal(t, tt.text, cfg.Listeners, []Listener{tt.want})
	}
	cfg, _ := mustParse(t, "filter f phase connect match fcrdns junk\nlisten on socket filter f mask-src no-dsn tag T\n"+rule)
	equal(t, "socket", cfg.Socket, SocketListener{"T", true, true, "f"})
}

func TestTables(t *testing.T) {
	cfg, _ := mustParse(t, `table a "/etc/a"
table b file:/etc/b
table c static:/etc/c
table d db:/etc/d.db
table e ldap:/etc/e
table f getpwnam
table g static
table h { one, "two three"
	four

	five, six }
table i {
	a = b, "c" => d
	e=f
}
action x mbox alias { k = v } ttl 1d
match for domain y action x
`+rule)
	want := []Table{
		{Name: "a", Backend: "file", Path: "/etc/a"},
		{Name: "b", Backend: "file", Path: "/etc/b"},
		{Name: "c", Backend: "file", Path: "/etc/c"},
		{Name: "d", Backend: "db", Path: "/etc/d.db"},
		{Name: "e", Backend: "ldap", Path: "/etc/e"},
		{Name: "f", Backend: "getpwnam", Kind: MapKind},
		{Name: "g", Backend: "static"},
		{Name: "h", Backend: "static", Kind: ListKind, Entries: []Entry{
			{Key: "one"}, {Key: "two three"}, {Key: "four"}, {Key: "five"}, {Key: "six"}}},
		{Name: "i", Backend: "static", Kind: MapKind, Entries: []Entry{{"a", "b"}, {"c", "d"}, {"e", "f"}}},
		{Name: "<dynamic:0>", Backend: "static", Kind: MapKind, Entries: []Entry{{"k", "v"}}},
		{Name: "<dynamic:1>", Backend: "static", Kind: ListKind, Entries: []Entry{{Key: "y"}}},
	}
	for i := range cfg.Tables {
		if cfg.Tables[i].Pos.Line == 0 {
			t.Errorf("table %q has no place", cfg.Tables[i].Name)
		}
		cfg.Tables[i].Pos = Pos{}
	}
	equal(t, "tables", cfg.Tables, want)
}

func TestActions(t *testing.T) {
	const before = "table t { a = b }\ntable s { 192.0.2.1 }\nmda wrapper w \"x\"\nsrs key k\nca corp cert \"/ca\"\n" +
		"pki p.example.org cert \"/c\" key \"/k\"\nfilter f phase connect match fcrdns junk\n"
	local := func(a Action) Action {
		if a.UserBase == "" {
			a.UserBase = GetPwNam
		}
		return a
	}
	relay := func(r Relay) Action { return Action{Method: RelayMethod, Relay: r} }
	tests := []struct {
		text string
		want Action
	}{
		{"mbox alias <t>", local(Action{Method: MBox, Alias: "t"})},
		{"mbox ttl 1h alias <t>", local(Action{Method: MBox, Alias: "t", TTL: time.Hour})},
		{"maildir", local(Action{Method: Maildir})},
		{"maildir junk user vmail", local(Action{Method: Maildir, Junk: true, User: "vmail"})},
		{"maildir \"~/M/%{rcpt}\" junk virtual <t> ttl 2d", local(Action{Method: Maildir, Path: "~/M/%{rcpt}",
			Junk: true, Virtual: "t", TTL: 48 * time.Hour})},
		{"lmtp \"/run/lmtp\" rcpt-to userbase <t>", local(Action{Method: LMTP, Path: "/run/lmtp", RcptTo: true, UserBase: "t"})},
		{"lmtp localhost:24 wrapper w", local(Action{Method: LMTP, Path: "localhost:24", Wrapper: "w"})},
		{"mda \"procmail -f -\" user x alias <t>", local(Action{Method: MDACommand, Path: "procmail -f -", User: "x", Alias: "t"})},
		{"forward-only virtual <t>", local(Action{Method: ForwardOnly, Virtual: "t"})},
		{"expand-only alias <t> userbase <\"<getpwnam>\">", local(Action{Method: ExpandOnly, Alias: "t"})},
		{"relay", relay(Relay{})},
		{"relay backup", relay(Relay{Backup: true})},
		{"relay backup mx mx1.example.org", relay(Relay{Backup: true, BackupMX: "mx1.example.org"})},
		{"relay helo h.example.org mail-from \"@example.org\" ca corp src <s>",
			relay(Relay{Helo: "h.example.org", MailFrom: "@example.org", CA: "corp", Src: "s"})},
		{"relay host smtp+tls://l@smtp.example.org:587 auth <t> tls no-verify",
			relay(Relay{Host: "smtp+tls://l@smtp.example.org:587", Auth: "t", TLS: true, NoVerify: true})},
		{"relay tls host smtp.example.org", relay(Relay{Host: "smtp.example.org", TLS: true})},
		{"relay host lmtp://[::1]:24", relay(Relay{Host: "lmtp://[::1]:24"})},
		{"relay host \"[192.0.2.1]\"", relay(Relay{Host: "[192.0.2.1]"})},
		{"relay host { smtp://a.example.org, smtps://b.example.org }", relay(Relay{HostTable: "<dynamic:0>"})},
		{"relay auth <t> domain <t> pki p.example.org ciphers HIGH protocols secure helo-src <t> filter f srs",
			relay(Relay{Auth: "t", DomainTable: "t", PKI: "p.example.org", Ciphers: "HIGH", Protocols: "secure",
				HeloSrc: "t", Filter: "f", SRS: true})},
		{"relay filter { f }", relay(Relay{Filter: "<dynchain:00000000>"})},
		{"relay src 2001:db8::1", relay(Relay{Src: "<dynamic:0>"})},
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, before+"action \"one\" "+tt.text+"\n"+rule)
		tt.want.Pos, tt.want.Name = Pos{"smtpd.conf", 8, 1}, "one"
		equal(t, tt.text, cfg.Actions[0], tt.want)
	}
}

func TestRules(t *testing.T) {
	on := func(table string) Match { return Match{On: true, Table: table} }
	const before = "table t { x }\ntable m { x = y }\n"
	here, local := on(LocalHost), on(LocalNames)
	anyone, all := on(AnyHost), on(AnyDestination)
	tests := []struct {
		text string
		want Rule
	}{
		{"", Rule{From: here, For: local}},
		{"from any for any", Rule{From: anyone, For: all}},
		{"! from any ! for any", Rule{From: Match{On: true, Not: true, Table: AnyHost},
			For: Match{On: true, Not: true, Table: AnyDestination}}},
		{"for local from local", Rule{From: here, For: local}},
		{"!from local !for local", Rule{From: Match{On: true, Not: true, Table: LocalHost},
			For: Match{On: true, Not: true, Table: LocalNames}}},
		{"from socket", Rule{From: anyone, FromSocket: on(""), For: local}},
		{"! from socket", Rule{From: anyone, FromSocket: Match{On: true, Not: true}, For: local}},
		{"from src <t> for domain <t>", Rule{From: on("t"), For: on("t")}},
		{"! from src regex <t> ! for domain regex <t>", Rule{
			From: Match{true, true, true, "t"}, For: Match{true, true, true, "t"}}},
		{"from rdns", Rule{From: anyone, RDNS: on(""), For: local}},
		{"! from rdns regex <t>", Rule{From: anyone, RDNS: Match{true, true, true, "t"}, For: local}},
		{"from auth for any", Rule{From: anyone, Auth: on(""), For: all}},
		{"! from auth <t>", Rule{From: anyone, Auth: Match{On: true, Not: true, Table: "t"}, For: local}},
		{"from auth regex <t>", Rule{From: anyone, Auth: Match{On: true, Regex: true, Table: "t"}, For: local}},
		{"from mail-from <m>", Rule{From: anyone, MailFrom: on("m"), For: local}},
		{"! from mail-from regex <t>", Rule{From: anyone, MailFrom: Match{true, true, true, "t"}, For: local}},
		{"for rcpt-to <m>", Rule{From: here, RcptTo: on("m"), For: all}},
		{"! for rcpt-to regex <t>", Rule{From: here, RcptTo: Match{true, true, true, "t"}, For: all}},
		{"auth", Rule{From: here, Auth: on(""), For: local}},
		{"! auth <m>", Rule{From: here, Auth: Match{On: true, Not: true, Table: "m"}, For: local}},
		{"auth regex <t> tls tag <t> helo <t>", Rule{From: here, For: local, Tag: on("t"), Helo: on("t"),
			TLS: on(""), Auth: Match{On: true, Regex: true, Table: "t"}}},
		{"! tls ! tag regex <t> ! helo regex <t>", Rule{From: here, For: local,
			TLS: Match{On: true, Not: true}, Tag: Match{true, true, true, "t"}, Helo: Match{true, true, true, "t"}}},
		{"mail-from <m> rcpt-to <t>", Rule{From: here, For: local, MailFrom: on("m"), RcptTo: on("t")}},
		{"! mail-from regex <t> ! rcpt-to regex <t>", Rule{From: here, For: local,
			MailFrom: Match{true, true, true, "t"}, RcptTo: Match{true, true, true, "t"}}},
		{"tag \"in place\"", Rule{From: here, For: local, Tag: on("<dynamic:0>")}},
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, before+"match "+tt.text+" reject\n"+rule)
		tt.want.Pos, tt.want.Reject = Pos{"smtpd.conf", 3, 1}, true
		equal(t, tt.text, cfg.Rules[0], tt.want)
	}
}

func TestFilters(t *testing.T) {
	cfg, _ := mustParse(t, `table t { x }
proc p "/bin/p -x" user u group g chroot "/c"
filter a proc p
filter b proc-exec "filter-b" fail-open user u
filter c phase connect match !fcrdns disconnect "550 no"
filter d phase helo match rdns regex <t> junk
filter e phase ehlo match helo <t> bypass
filter f phase auth match ! auth regex <t> rewrite "x"
filter g phase mail-from match mail-from <t> report "y"
filter h phase rcpt-to match rcpt-to regex <t> reject "450 z"
filter i phase data match src <t> junk
filter j phase commit match auth reject "550 w"
filter k chain {
	a, b
	c
}
listen on lo filter { a, k2 }
filter k2 phase connect match rdns junk
`+rule)
	equal(t, "procs", cfg.Procs, []Proc{{"p", "/bin/p -x", "u", "g", "/c", false}, {"b", "filter-b", "u", "", "", true}})
	var got []string
	for _, f := range cfg.Filters {
		got = append(got, fmt.Sprint(f.Name, " ", f.Proc, f.Chain, f.Phase, " ", f.CondName, " ", f.Cond, " ", f.Decision, " ", f.Text))
	}
	equal(t, "filters", got, []string{
		"a p[]  {false false false }  ",
		"b b[]  {false false false }  ",
		"c []connect fcrdns {true true false } disconnect 550 no",
		"d []helo rdns {true false true t} junk ",
		"e []ehlo helo {true false false t} bypass ",
		"f []auth auth {true true true t} rewrite x",
		"g []mail-from mail-from {true false false t} report y",
		"h []rcpt-to rcpt-to {true false true t} reject 450 z",
		"i []data src {true false false t} junk ",
		"j []commit auth {true false false } reject 550 w",
		"k [a b c]  {false false false }  ",
		"<dynchain:00000000> [a k2]  {false false false }  ",
		"k2 []connect rdns {true false false } junk ",
	})
	equal(t, "listener", cfg.Listeners[0].Filter, "<dynchain:00000000>")
}

func TestMacrosAndIncludes(t *testing.T) {
	files := map[string]string{
		"/inc/one": "# nothing but an action\naction \"$name\" mbox\naction $name mbox\ninclude \"/inc/two\"",
		"/inc/two": "match from any for domain \"$dom\" action \"$name\"\nmatch from any for $dom action $name",
	}
	text := `name = "real"
dom = 'domain "a b"'
prt = "2525"
kw = "no-dsn"
sub = 192.0.2
empty = ""
include "/inc/one"
action "$name" relay $empty
listen on $sub1 port $prt	# a comment \
that goes on port 99
li\
sten on lo port \
 26
`
	cfg, warnings, err := Parse("smtpd.conf", []byte(text),
		map[string]string{"prt": "3535", "unused": "x"}, includes(files), testEnv)
	// Macros are not replaced in quotes, so "$name" is declared twice.
	var errs Errors
	if !errors.As(err, &errs) || cfg != nil {
		t.Fatalf("no errors: %v", err)
	}
	equal(t, "errors", errs.Error(), `smtpd.conf:8:8: action "$name" is already declared at /inc/one:2: write another name, or remove one
action "$name" relay $empty
       ^
smtpd.conf:9:11: macro "sub1" is not defined: write sub1 = "value" before it
listen on $sub1 port $prt	# a comment \
          ^`)
	equal(t, "warnings", fmt.Sprint(warnings), `[smtpd.conf:4:1: warning: macro "kw" is not used: remove it smtpd.conf:5:1: warning: macro "sub" is not used: remove it smtpd.conf:9:39: warning: a backslash makes the next line a part of this comment: remove it]`)

	text = strings.Replace(strings.Replace(text, "$sub1", "$sub\\\n.1 $kw", 1), "\"$name\" relay", "other relay", 1)
	cfg, _, err = Parse("smtpd.conf", []byte(text), map[string]string{"prt": "3535"}, includes(files), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "included action", cfg.Actions[1].Name, "real")
	equal(t, "place", cfg.Actions[1].Pos, Pos{"/inc/one", 3, 1})
	equal(t, "included rule", cfg.Rules[1].Pos, Pos{"/inc/two", 2, 1})
	equal(t, "macro with quotes", cfg.Tables[1].Entries, []Entry{{Key: "a b"}})
	equal(t, "macro runs into what follows", cfg.Listeners[0].Interface, "192.0.2.1")
	equal(t, "keyword from a macro", cfg.Listeners[0].NoDSN, true)
	equal(t, "command line wins", cfg.Listeners[0].Port, uint16(3535))
	equal(t, "continued line", cfg.Listeners[1].Port, uint16(26))
}

func TestStrings(t *testing.T) {
	tests := []struct{ text, want string }{
		{`abc`, "abc"}, {`4d`, "4d"}, {`10.0.0.0/8`, "10.0.0.0/8"}, {`a"b'c`, `a"b'c`}, {`a\b`, "ab"},
		{`:x`, ":x"}, {`_x`, "_x"}, {`a$b`, "a$b"}, {`"a b"`, "a b"}, {`'a "b" c'`, `a "b" c`},
		{`"a \" b"`, `a " b`}, {`"a\ b"`, "a b"}, {`"a\nb"`, `a\nb`}, {`"a\\b"`, `a\\b`}, {"\"a\\\nb\"", "ab"},
		{"\"a\nb\"", "ab"}, {`"# $x"`, "# $x"}, {"\"\u00e9\"", "\u00e9"}, {"ab\\\ncd", "abcd"},
		{`"match"`, "match"}, {`"12"`, "12"}, {`x:443`, "x:443"},
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, "table t { "+tt.text+" }\n"+rule)
		equal(t, tt.text, cfg.Tables[0].Entries[0].Key, tt.want)
	}
}

// TestLineEnds: files of other systems mean the same.
func TestLineEnds(t *testing.T) {
	const text = "listen on lo \\\n tag \"a\\\nb\" # x\ntable t { a\n b }\nadmd \"x\ny\"\nmatch tag <t> reject\n"
	plain, warnings := mustParse(t, text)
	odd, more := mustParse(t, "\ufeff"+strings.ReplaceAll(text, "\n", "\r\n"))
	equal(t, "configuration", odd, plain)
	equal(t, "warnings", len(more), len(warnings)+2)
	_, _, err := Parse("smtpd.conf", []byte("\ufefflisen on lo\r\nadmd\r\n"), nil, nil, testEnv)
	equal(t, "errors", err.Error(), `smtpd.conf:1:1: unexpected "lisen": expected a directive or the definition of a macro, did you mean "listen"?
lisen on lo
^
smtpd.conf:2:5: unexpected end of line: expected a domain
admd
    ^
smtpd.conf:3:1: no rules, nothing to do: write a line "match"`)
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	main, part := filepath.Join(dir, "smtpd.conf"), filepath.Join(dir, "part.conf")
	if err := os.WriteFile(part, []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(main, []byte("include \""+part+"\"\nlisten on lo"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := Load(main, nil, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "place", cfg.Rules[0].Pos, Pos{part, 2, 1})
	equal(t, "listeners", len(cfg.Listeners), 1)
	if _, _, err := Load(filepath.Join(dir, "none"), nil, testEnv); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := Load(dir, nil, testEnv); err == nil {
		t.Error("a directory was loaded")
	}
}

// A schedule can stand anywhere among the options, and its name is no reserved word.
func TestSchedule(t *testing.T) {
	minutes := func(n ...int) (d []time.Duration) {
		for _, m := range n {
			d = append(d, time.Duration(m)*time.Minute)
		}
		return d
	}
	tests := []struct {
		options string
		want    []time.Duration
	}{
		{"relay", nil},
		{"relay schedule 5m", minutes(5)},
		{"relay schedule 5m, 1h,4h ttl 2d", minutes(5, 60, 240)},
		{"relay ttl 2d schedule 5m,1h helo schedule", minutes(5, 60)},
		{"relay helo schedule schedule 1d", minutes(24 * 60)},
		{"mbox schedule 1m, 2m", minutes(1, 2)},
		{"maildir \"~/Maildir\" schedule 1m", minutes(1)},
		{"maildir schedule", nil}, // a path
	}
	for _, tt := range tests {
		cfg, _ := mustParse(t, "action schedule "+tt.options+"\nmatch from any for any action schedule\n")
		if got := cfg.Actions[0].Schedule; !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.options, got, tt.want)
		}
	}
}

// What is printed is read as the same.
func TestPrintSchedule(t *testing.T) {
	for _, line := range []string{"queue schedule 5m, 15m, 1h", `action "x" relay schedule 5m, 1h ttl 2d`, "queue max-body-memory 1M"} {
		reprint := func(text string) string {
			return printed(parse("smtpd.conf", []byte(text), nil, nil, testEnv, &report{texts: map[string][]byte{}}).directives[0])
		}
		got := reprint(line)
		if again := reprint(got); again != got || strings.Count(got, ",") != strings.Count(line, ",") {
			t.Errorf("%s became %s, then %s", line, got, again)
		}
	}
}
