package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// wrong are files with one error. The line and column are those of the error.
var wrong = []struct {
	text      string
	line, col int
	message   string
	hint      string
}{
	// Words and tokens.
	{"listen on lo tsl", 1, 14, `unexpected "tsl"`, "tls"},
	{"lisen on lo", 1, 1, `unexpected "lisen"`, "listen"},
	{"foo bar", 1, 1, `unexpected "foo": expected a directive or the definition of a macro`, ""},
	{"port 25", 1, 1, `unexpected "port": expected a directive`, ""},
	{"accept from any for local deliver to mbox", 1, 1, `this line is in the language of OpenSMTPD 5.3 to 6.0, but line 2 of smtpd.conf is in today's`, ""},
	{"12", 1, 1, "unexpected number 12", ""},
	{"{", 1, 1, `unexpected "{"`, ""},
	{"\u201cx\u201d", 1, 1, "is no quote here", ""},
	{"admd\u00a0x", 1, 5, "a blank that is not ASCII (U+00A0)", ""},
	{"listen on lo \u2013tag x", 1, 14, "is no hyphen here", ""},
	{"admd m\u00fcller.example", 1, 7, "is not ASCII: write it in quotes", ""},
	{"admd \xff", 1, 6, "is not ASCII", ""},
	{"admd \x00", 1, 6, "unexpected character 0x0", ""},
	{"listen on lo\rx", 1, 13, "unexpected character 0xd", ""},
	{"pki mx cert \"/c\" key \"/k\"", 1, 5, `"mx" is a reserved word and has to be quoted`, ""},
	{"admd 12", 1, 6, "a number has to be quoted", ""},
	{"table t /etc/x", 1, 9, `what begins with "/" has to be quoted`, ""},
	{"admd \"x", 1, 6, "the closing quote is missing", ""},
	{"admd 'x\n# y", 1, 6, "the closing quote is missing", ""},
	{"admd \"a\x01b\"", 1, 6, "a control character in a string", ""},
	{"admd " + strings.Repeat("x", 9000), 1, 6, "string too long", ""},
	{"admd \"" + strings.Repeat("x", 9000) + "\"", 1, 6, "string too long", ""},
	{"smtp max-message-size 99999999999999999999", 1, 23, "number out of range", ""},
	{"admd a b", 1, 8, `unexpected "b": expected the end of the line`, ""},
	{"admd", 1, 5, "unexpected end of line: expected a domain", ""},
	{"admd $x", 1, 6, `macro "x" is not defined`, ""},
	{"a = $a", 1, 5, `macro "a" is not defined`, ""},
	{"a = 12", 1, 5, "a number has to be quoted", ""},
	{"\"a b\" = c", 1, 1, "the name of a macro has no blanks", ""},
	{"tag = c", 1, 1, `unexpected "tag"`, ""},
	{"a = \"b\" c", 1, 9, "expected the end of the line", ""},
	{"# comment \\\nadmd a b\nadmd a b", 3, 8, "expected the end of the line", ""},
	{"admd \\\n  a \\\n  b", 3, 3, "expected the end of the line", ""},

	// Includes.
	{"include \"/none\"", 1, 9, `cannot include "/none"`, ""},
	{"include \"/self\"", 1, 9, `"/self" includes itself`, ""},
	{"include", 1, 8, "expected the path of a file", ""},
	{"include \"/deep1\"", 1, 9, "more than 16 files", ""},

	// Settings.
	{"bounce interval 1h", 1, 8, `unexpected "interval": expected "limit", "max-return-size", "return-full" or "warn-interval"`, ""},
	{"bounce warn-interval 4", 1, 22, "a delay needs a unit: write 4s, 4m, 4h or 4d", ""},
	{"bounce warn-interval 4h 5h", 1, 25, "expected the end of the line", ""},
	{"mta dane ns.example", 1, 10, `"ns.example" is no IP address`, ""},
	{"mta dane 127.0.0.1 fe80::1%lo", 1, 20, `"fe80::1%lo" is no IP address`, ""},
	{"mta dane" + strings.Repeat(" ::1", 17), 1, 74, "more than 16 name servers", ""},
	{"mta tls-report", 1, 15, "expected the name of the organization", ""},
	{"mta tls-report x", 1, 1, "tls-report needs somebody to ask", ""},
	{"mta tls-report x contact y", 1, 26, `"y" is no address`, ""},
	{"mta tls-report x contact y@z.example spread 1d", 1, 45, "spread \"1d\" is too long", ""},
	{"mta tls-report x from y", 1, 18, "from", ""},
	{"mta sts on", 1, 9, "expected the end of the line", ""},
	{"mta tls-policy { a.example = encript }", 1, 18, `unknown TLS policy "encript"`, "encrypt"},
	{"mta tls-policy { a.example }", 1, 16, `"tls-policy" needs a mapping`, ""},
	{"queue schedule", 1, 15, "expected a delay", ""},
	{"queue schedule 5", 1, 16, "a delay needs a unit: write 5s, 5m, 5h or 5d", ""},
	{"queue schedule 5m,", 1, 19, "expected a delay", ""},
	{"queue schedule 5m 1h", 1, 19, "expected the end of the line", ""},
	{"queue schedule 5m, 0s", 1, 20, `a wait of "0s": write 1s or more`, ""},
	{"queue schedule 5m, 25h", 1, 20, `a wait of "25h" is more than a day: write 1d or less`, ""},
	{"queue schedule 5m, 1w", 1, 20, `invalid delay "1w"`, ""},
	{"queue schedule " + strings.Repeat("1h, ", 100) + "1d", 1, 416, "a schedule of more than 100 waits", ""},
	{"queue max-body-memory 1X", 1, 23, `invalid size "1X"`, ""},
	{"action a forward-only schedule 1h", 1, 23, `"schedule" has no meaning with "forward-only": remove it`, ""},
	{"action a relay schedule 1h ttl", 1, 31, "expected a delay", ""},
	{"bounce warn-interval 4w", 1, 22, `invalid delay "4w"`, ""},
	{"queue ttl 4", 1, 11, "a delay needs a unit", ""},
	{"queue ttl 999999999999d", 1, 11, `invalid delay "999999999999d"`, ""},
	{"queue ttl \"-1d\"", 1, 11, `invalid delay "-1d"`, ""},
	{"queue compression gz", 1, 19, `"gz" is no method of compression: write gzip or zstd`, ""},
	{"queue encryption abc", 1, 18, "a key has 32 characters, this one has 3: write a key, file:/PATH or stdin", ""},
	{"queue encryption \"/etc/key\"", 1, 18, "a key has 32 characters, this one has 8: write a key, file:/PATH or stdin", "file:/etc/key"},
	{"queue encryption file:/a none", 1, 26, `"none" can only be the first key: write it first`, ""},
	{"queue compresion", 1, 7, `unexpected "compresion"`, "compression"},
	{"srs ttl 23h", 1, 9, "less than a day", ""},
	{"srs keys x", 1, 5, `unexpected "keys"`, "key"},
	{"smtp max-message-size 35X", 1, 23, `invalid size "35X"`, ""},
	{"smtp max-message-size -1", 1, 23, "invalid size -1", ""},
	{"smtp max-message-size 9E", 1, 23, `invalid size "9E"`, ""},
	{"smtp max-message-size 1e3", 1, 23, `invalid size "1e3"`, ""},
	{"smtp sub-addr-delim ab", 1, 21, "sub-addr-delim is one character", ""},
	{"smtp sub-addr-delim \"@\"", 1, 21, `sub-addr-delim cannot be "@"`, ""},
	{"smtp limit max-rcpts 5", 1, 12, `unexpected "max-rcpts"`, "max-rcpt"},
	{"smtp limit max-rcpt -5", 1, 21, "number out of range", ""},
	{"smtp limit max-errors 0", 1, 23, "max-errors cannot be 0", ""},
	{"smtp limit command-timeout 0s", 1, 28, "too short", ""},
	{"smtp limit command-timeout 5", 1, 28, "a delay needs a unit", ""},
	{"smtp limit data-timeout 5x", 1, 25, `invalid delay "5x"`, ""},
	{"smtp limit exempt example.org", 1, 19, "is no address and no network", ""},
	{"smtp early-talkers drop", 1, 20, `unexpected "drop"`, ""},
	{"smtp limit max-rcpt many", 1, 21, `expected a number after "max-rcpt"`, ""},
	{"mda limit max-sesion 5", 1, 11, `unexpected "max-sesion"`, "max-session"},
	{"mta limit for max-conn-per-host 5", 1, 15, `expected "domain"`, ""},
	{"mta limit max-conn-per-hots 5", 1, 11, `unexpected "max-conn-per-hots"`, "max-conn-per-host"},
	{"scheduler limit max-infligth 5", 1, 17, `unexpected "max-infligth"`, "max-inflight"},
	{"mda wrapper w a\nmda wrapper w b", 2, 13, `mda wrapper "w" is already declared at smtpd.conf:1`, ""},

	// Certificates.
	{"pki \"a b\" cert c key k", 1, 5, `"a b" is no host name`, ""},
	{"pki a.example cert c", 1, 5, `pki "a.example" has no "key"`, ""},
	{"pki a.example key c", 1, 5, `pki "a.example" has no "cert"`, ""},
	{"pki a.example cert c key k dhe manual", 1, 32, `invalid dhe mode "manual"`, ""},
	{"pki a.example cert c key k dhe legcay", 1, 32, `invalid dhe mode "legcay"`, "legacy"},
	{"ca corp file x", 1, 9, `expected "cert"`, ""},

	// Tables.
	{"table t file:etc/x", 1, 9, `the path of table "t" is not absolute`, ""},
	{"table t flie:/x", 1, 9, `unknown table type "flie"`, "file"},
	{"table t \"a/b:/x\"", 1, 9, `invalid table type "a/b"`, ""},
	{"table t { }", 1, 11, "expected a string", ""},
	{"table t { a, b = c }", 1, 16, "expected no value", ""},
	{"table t { a = b, c }", 1, 20, `expected "=" and a value`, ""},
	{"table t { 12 }", 1, 11, "a number has to be quoted", ""},
	{"table t { a, }", 1, 14, "expected a string", ""},
	{"table t { a }\ntable t { b }", 2, 7, `table "t" is already declared at smtpd.conf:1`, ""},
	{"table \"<x>\" { b }", 1, 7, `cannot begin with "<"`, ""},
	{"table \"\" { b }", 1, 7, "the name is empty", ""},
	{"table t {\n a\n b\n c = d\n}\n", 4, 4, "expected no value", ""},

	// Listeners.
	{"listen lo", 1, 8, `expected "on"`, ""},
	{"listen on", 1, 10, "expected an interface", ""},
	{"listen on lo port 0", 1, 19, "invalid port 0", ""},
	{"listen on lo port 65536", 1, 19, "invalid port 65536", ""},
	{"listen on lo port submision", 1, 19, `unknown port "submision"`, "submission"},
	{"listen on lo port 25 port 26", 1, 22, `"port" is given twice`, ""},
	{"listen on lo inet4 inet6", 1, 20, `"inet4" and "inet6" exclude each other`, ""},
	{"listen on lo tls smtps pki x.example\npki x.example cert c key k", 1, 18, `"tls" and "smtps" exclude each other`, ""},
	{"listen on lo tls", 1, 14, `"tls" needs a certificate: write "pki NAME"`, ""},
	{"pki x.example cert c key k\nlisten on lo pki x.example", 2, 14, `"pki" needs TLS: write "tls"`, ""},
	{"pki x.example cert c key k\nlisten on lo tls pki x.exampel", 2, 22, `there is no pki "x.exampel"`, "x.example"},
	{"listen on lo auth", 1, 14, `"auth" needs TLS: write "tls"`, ""},
	{"listen on lo ca corp", 1, 17, `there is no ca "corp"`, ""},
	{"listen on lo tag " + strings.Repeat("x", 32), 1, 18, "at most 31 characters", ""},
	{"listen on lo hostnames { a }", 1, 24, `"hostnames" needs a mapping`, ""},
	{"listen on lo filter f", 1, 21, `there is no filter "f"`, ""},
	{"listen on socket port 25", 1, 18, `unexpected "port": expected "filter", "mask-src", "no-dsn" or "tag"`, ""},
	{"listen on lo scram", 1, 14, `"scram" needs a table with keys of users`, ""},
	{"listen on socket normalize", 1, 18, `unexpected "normalize"`, ""},
	{"listen on socket\nlisten on socket", 2, 1, `listen on "socket" is already declared`, ""},

	// Actions.
	{"action a", 1, 9, `unexpected end of line: expected "expand-only"`, ""},
	{"action a maildir \"/m/%{user.usrname}\"", 1, 22, `format specifier "%{user.usrname}": "user.usrname" is not known`, ""},
	{"action a mda \"x %{rcpt[0]:lower}\"", 1, 17, `modifier "lower" is not known`, ""},
	{"action a mda 'x %{rcpt'", 1, 17, "the closing brace is missing", ""},
	{"action a mda \"x\\\"y\\\" %{rcpt\"", 1, 14, "the closing brace is missing", ""},
	{"action a mda \"x %{mda}\"", 1, 17, "only the command of a wrapper can hold it", ""},
	{"action a lmtp \"/run/%{user.nosuch}\"", 1, 21, `"user.nosuch" is not known`, ""},
	{"mda wrapper w \"x %{mda} %{nosuch}\"", 1, 25, `"nosuch" is not known`, ""},
	{"mda wrapper w \"x %{mda:strip}\"", 1, 18, "no part or modifier", ""},
	{"action a maildri", 1, 10, `unexpected "maildri"`, "maildir"},
	{"action a mbox\naction a mbox", 2, 8, `action "a" is already declared at smtpd.conf:1`, ""},
	{"action a mbox user x", 1, 15, `"user" has no meaning with "mbox"`, ""},
	{"action a mbox alias <aliases>", 1, 21, `there is no table "aliases"`, ""},
	{"table aliases file:/x\naction a mbox alias <aliass>", 2, 21, `there is no table "aliass"`, "aliases"},
	{"action a mbox alias { a }", 1, 21, `"alias" needs a mapping`, ""},
	{"action a mbox alias <b", 1, 23, `expected ">"`, ""},
	{"action a mbox alias { a = b } virtual { a = b }", 1, 31, `"alias" and "virtual" exclude each other`, ""},
	{"action a mbox wrapper w", 1, 23, `there is no mda wrapper "w"`, ""},
	{"action a mbox junk", 1, 15, `unexpected "junk"`, ""},
	{"action a lmtp", 1, 14, "expected a destination", ""},
	{"action a mda \"\"", 1, 14, `"mda" needs more than an empty string`, ""},
	{"action a mbox ttl 4", 1, 19, "a delay needs a unit: write 4s, 4m, 4h or 4d", ""},
	{"action a mbox ttl 1d ttl 2d", 1, 22, `"ttl" is given twice`, ""},
	{"action a relay backup host x", 1, 23, `"backup" and "host" exclude each other`, ""},
	{"action a relay auth { a = b }", 1, 16, `"auth" needs a relay: write "host"`, ""},
	{"action a relay srs", 1, 16, `"srs" needs a key: write a line "srs key`, ""},
	{"action a relay host smpt://x", 1, 21, `unknown scheme "smpt"`, "smtp"},
	{"action a relay host smtp+auth://l@x", 1, 21, `unknown scheme "smtp+auth"`, ""},
	{`action a relay domain { a = "smtp+auth://x" }`, 1, 25, `unknown scheme "smtp+auth"`, ""},
	{"action a relay host x:0", 1, 21, `invalid port "0"`, ""},
	{"action a relay host x:99999", 1, 21, `invalid port "99999"`, ""},
	{"action a relay tls no-verfy", 1, 20, `unexpected "no-verfy"`, ""},

	// Rules.
	{"match from any for any action nd", 1, 31, `there is no action "nd"`, "end"},
	{"match from any for any", 1, 23, `unexpected end of line: expected "action" or "reject"`, ""},
	{"match for all reject", 1, 11, `unexpected "all": expected "any", "domain", "local" or "rcpt-to"`, ""},
	{"match from any from local reject", 1, 16, `"from any" and "from local" exclude each other`, ""},
	{"match for any for any reject", 1, 15, `"for any" is given twice`, ""},
	{"match from auth auth reject", 1, 17, `"from auth" and "auth" exclude each other`, ""},
	{"match from any from any reject", 1, 16, `"from any" is given twice`, ""},
	{"match ! reject", 1, 9, `unexpected "reject"`, ""},
	{"match tls tls reject", 1, 11, `"tls" is given twice`, ""},
	{"match reject tag x", 1, 14, "expected the end of the line", ""},
	{"match for domain { a\n b\naction x mbox", 3, 1, `"}" is missing before this line`, ""},

	// Filters.
	{"proc p x\nproc p y", 2, 6, `proc "p" is already declared`, ""},
	{"proc p x user a user b", 1, 17, `"user" is given twice`, ""},
	{"proc p \"\"", 1, 8, "the command is empty", ""},
	{"filter f proc p", 1, 15, `there is no proc "p"`, ""},
	{"filter f phase quit match rdns junk", 1, 16, `unexpected "quit"`, ""},
	{"filter f phase connect match helo x junk", 1, 30, `expected "fcrdns", "rdns" or "src"`, ""},
	{"filter f phase auth match mail-from x junk", 1, 27, `unexpected "mail-from"`, ""},
	{"filter f phase data match rcpt-to x junk", 1, 27, `unexpected "rcpt-to"`, ""},
	{"filter f phase commit match rdns junk", 1, 34, `unexpected "junk"`, ""},
	{"filter f phase connect match rdns fcrdns junk", 1, 35, `unexpected "fcrdns"`, ""},
	{"filter f phase connect match rdns", 1, 34, "unexpected end of line", ""},
	{"filter f chain { f }", 1, 18, `"f" is a chain`, ""},
	{"filter f phase connect match rdns junk\nfilter c chain { f, f }", 2, 21, `filter "f" is in the chain twice`, ""},
	{"filter f chain f", 1, 16, `expected "{"`, ""},
}

func deep(path string) ([]byte, error) {
	var n int
	if _, err := fmt.Sscanf(path, "/deep%d", &n); err == nil {
		return fmt.Appendf(nil, "include \"/deep%d\"\n", n+1), nil
	}
	if path == "/self" {
		return []byte("include \"/self\"\n"), nil
	}
	return nil, errors.New("no such file")
}

func TestErrors(t *testing.T) {
	for _, tt := range wrong {
		cfg, _, err := Parse("smtpd.conf", []byte(tt.text+"\n"+rule), nil, deep, testEnv)
		var errs Errors
		if !errors.As(err, &errs) || cfg != nil {
			t.Errorf("%.60q: no error", tt.text)
			continue
		}
		if len(errs) != 1 {
			t.Errorf("%.60q: %d errors:\n%v", tt.text, len(errs), err)
		}
		e := errs[0]
		if !strings.HasPrefix(e.Pos.File, "/") && (e.Pos != Pos{"smtpd.conf", tt.line, tt.col}) {
			t.Errorf("%.60q: at %d:%d, not at %d:%d: %s", tt.text, e.Pos.Line, e.Pos.Column, tt.line, tt.col, e.Message)
		}
		if !strings.Contains(e.Message, tt.message) {
			t.Errorf("%.60q:\n got %s\nwant %s", tt.text, e.Message, tt.message)
		}
		if e.Suggestion != tt.hint {
			t.Errorf("%.60q: suggestion %q, not %q", tt.text, e.Suggestion, tt.hint)
		}
	}
}

func TestErrorText(t *testing.T) {
	_, _, err := Parse("/etc/smtpd.conf", []byte("listen on lo\ttsl\t\x1b[0m # x\nmatch for any\tactoin x\n"), nil, nil, testEnv)
	want := "/etc/smtpd.conf:1:14: unexpected \"tsl\", did you mean \"tls\"?\n" +
		"listen on lo\ttsl\t?[0m # x\n" +
		"            \t^\n" +
		"/etc/smtpd.conf:2:15: unexpected \"actoin\", did you mean \"action\"?\n" +
		"match for any\tactoin x\n" +
		"             \t^"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNoRules(t *testing.T) {
	for _, text := range []string{"", "listen on lo", "listen on lo\n", "# x\n\n"} {
		_, _, err := Parse("smtpd.conf", []byte(text), nil, nil, testEnv)
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != 1 || !strings.HasPrefix(errs[0].Message, "no rules, nothing to do") {
			t.Fatalf("%q: %v", text, err)
		}
		if want := strings.Count(text, "\n") + 1; errs[0].Pos.Line != want {
			t.Errorf("%q: line %d, not %d", text, errs[0].Pos.Line, want)
		}
	}
}

// TestRecovery: one mistake, one error, and the lines after it are read.
func TestRecovery(t *testing.T) {
	text := `table aliases file:etc/aliases
table broken { a, b =
	c
	d }
action "one" maildri alias <aliases>
action "two" mbox alias <broken>
match for local action "one"
match for any actoin "two"
table open { a
listen on lo tsl
match for any action "tow"
`
	_, _, err := Parse("smtpd.conf", []byte(text), nil, nil, testEnv)
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range errs {
		got = append(got, fmt.Sprintf("%d:%d", e.Pos.Line, e.Pos.Column))
	}
	if want := "1:15 2:21 5:14 8:15 10:1 10:14 11:22"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s\n%v", got, want, err)
	}
}

func TestManyErrors(t *testing.T) {
	_, _, err := Parse("smtpd.conf", []byte(strings.Repeat("x\n", 10000)), nil, nil, testEnv)
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != maxErrors {
		t.Errorf("%d errors", len(errs))
	}
}

func TestWarnings(t *testing.T) {
	cfg, warnings := mustParse(t, `srs ttl 30h
pki a.example cert "/a" key "/k"
pki a.example cert "/b"
unused = x
filter f phase connect match rdns reject "go away"
listen on lo filter f
`+rule)
	if cfg.SRS.TTL.Hours() != 24 || cfg.PKIs[0].Cert != "/b" {
		t.Errorf("%+v", cfg)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.String())
	}
	want := `smtpd.conf:1:9: warning: srs ttl 30h is cut to whole days: write a number and d
smtpd.conf:3:15: warning: pki "a.example": "cert" replaces the one before: remove one
smtpd.conf:4:1: warning: macro "unused" is not used: remove it
smtpd.conf:5:42: warning: "reject" takes a reply code and a text: write one like "550 go away"`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

func TestSuggest(t *testing.T) {
	tests := []struct{ word, want string }{
		{"listne", "listen"}, {"actoin", "action"}, {"tabel", "table"}, {"pky", "pki"},
		{"foo", ""}, {"", ""}, {strings.Repeat("x", 1000), ""}, {"match", ""},
	}
	for _, tt := range tests {
		if got := suggest(tt.word, directives); got != tt.want {
			t.Errorf("suggest(%.20q) = %q, want %q", tt.word, got, tt.want)
		}
	}
}
