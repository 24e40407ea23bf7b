package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oldIncludes are what the files of testdata/old include, and the maps that they name.
var oldIncludes = map[string]string{
	"/part":          "# of the part\ntable t { a }\naccept for domain <t> deliver to mbox\n# its end\n",
	"/empty":         "",
	"/relays":        "# relays\nssl://mx1.example.org\ntls://mx2.example.org\n",
	"/domain-relays": "\nexample.net smtps://mx.example.net\n",
}

func convert(t *testing.T, name string, text []byte) ([]byte, []Unsupported) {
	t.Helper()
	env := testEnv
	env.Executable = nil
	out, lost, err := Convert(name, text, includes(oldIncludes), env)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return out, lost
}

// TestOld: what the old files become, and that it says the same and stays as it is.
func TestOld(t *testing.T) {
	files, err := filepath.Glob("testdata/old/*.conf")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := convert(t, "smtpd.conf", text)
			golden := strings.TrimSuffix(file, ".conf") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if again, _ := convert(t, "smtpd.conf", got); !bytes.Equal(again, got) {
				t.Errorf("again:\n%s", again)
			}
			sameMeaning(t, text, got)
		})
	}
}

// sameMeaning compares what a file and its translation are checked to.
func sameMeaning(t *testing.T, old, today []byte) {
	t.Helper()
	env := testEnv
	env.Executable = nil
	before, warnings, err := Parse("smtpd.conf", old, nil, includes(oldIncludes), env)
	if err != nil {
		t.Fatal(err)
	}
	after, _, err := Parse("smtpd.conf", today, nil, nil, env)
	if err != nil {
		t.Fatal(err)
	}
	if before.Language == Today || after.Language != Today {
		t.Errorf("languages %v and %v", before.Language, after.Language)
	}
	equal(t, "configuration", plain(after), plain(before))
	told := func(w Warning) bool { return strings.Contains(w.Message, "smtpctl config convert smtpd.conf") }
	if !slices.ContainsFunc(warnings, told) {
		t.Errorf("warnings %v", warnings)
	}
}

func TestConvertToday(t *testing.T) {
	text := "# as it is\n" + rule + "\tlisten   on lo  # x"
	out, lost := convert(t, "smtpd.conf", []byte(text))
	if string(out) != text || lost != nil {
		t.Errorf("%s %v", out, lost)
	}
}

// TestTodayWithOldWords: words of older languages are strings of today's in some places.
func TestTodayWithOldWords(t *testing.T) {
	text := "pki a cert \"/c\" key \"/k\"\n" +
		"listen on lo tls pki a protocols secure ciphers secure tag ssl hostname secure\n" +
		"action x relay protocols secure\nmatch tag ssl for any action x\n"
	cfg, _, err := Parse("smtpd.conf", []byte(text), nil, nil, testEnv)
	if err != nil {
		t.Fatal(err)
	}
	if l := cfg.Listeners[0]; cfg.Language != Today || l.Protocols != "secure" || l.Tag != "ssl" {
		t.Errorf("%v, %+v", cfg.Language, l)
	}
}

// TestOldLost: what cannot be said today keeps smtpd from starting.
func TestOldLost(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"5.3-filter", "a filter of OpenSMTPD before 6.4 is not supported yet"},
		{"5.4-filters", "a filter of OpenSMTPD before 6.4 is not supported yet"},
		{"5.4-secure-verify", `"verify" with a relay for smtps and tls is not supported yet`},
		{"5.7", `"dsn-ret headers" is not supported yet`},
		{"5.9-socket-filter", "a filter of OpenSMTPD before 6.4 is not supported yet"},
	} {
		text, err := os.ReadFile("testdata/old/" + tt.file + ".conf")
		if err != nil {
			t.Fatal(err)
		}
		_, lost := convert(t, "smtpd.conf", text)
		cfg, _, err := Parse("smtpd.conf", text, nil, nil, testEnv)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]Unsupported{lost, cfg.Unsupported} {
			if !slices.ContainsFunc(list, func(u Unsupported) bool { return u.What == tt.want && u.Pos.Line > 0 }) {
				t.Errorf("%s: %v", tt.file, list)
			}
		}
	}
}

// wrongOld are mistakes in old files: the line, the column and the message.
var wrongOld = []struct {
	text         string
	line, column int
	want         string
}{
	{"accept for local deliver to mbox\nmatch for local action x", 1, 1, "but line 2 of smtpd.conf is in today's: write both in one language"},
	{"accept for local delivr to mbox", 1, 18, `unexpected "delivr", did you mean "deliver"?`},
	{"accept for local deliver to mbx", 1, 29, `did you mean "mbox"?`},
	{"accept for local alias <nobody> deliver to mbox", 1, 24, `there is no table "nobody"`},
	{"accept for local for any relay", 1, 18, `"for" is given twice`},
	{"accept from any from local for any relay", 1, 17, `"from" is given twice`},
	{"accept for local relay relay", 1, 24, `unexpected "relay"`},
	{"accept for local deliver to mbox deliver to mbox", 1, 45, "a rule has one action"},
	{"accept for network \"192.0.2.0/24\" relay", 1, 12, `"for network" never matched anything`},
	{"accept for any relay via foo://mx.example.org", 1, 26, `unknown scheme "foo"`},
	{"accept for any relay via tls+auth://mx.example.org", 1, 26, `needs credentials: write "auth" and a table`},
	{"accept for any relay via smtp://x@mx.example.org", 1, 26, "a label needs credentials"},
	{"accept for any relay via smtp://mx.example.org verify", 1, 26, `"verify" needs TLS`},
	{"accept for any relay port 25", 1, 22, `"port" needs "via"`},
	{"accept for any relay via map m tls\nmap m /m", 1, 32, "belongs into the relay URLs of the map"},
	{"accept for local deliver to mbox \"/x\"", 1, 34, "with a path is not possible"},
	{"accept for local deliver to mbox forward-only", 1, 1, `"forward-only" and an action exclude each other`},
	{"accept for any relay\nlisten on lo0 port 25 secure", 2, 15, "which need a port each"},
	{"accept for any relay\nlisten on lo0 tls smtps", 2, 19, "exclude each other"},
	{"accept for any relay\nmap x source dns", 2, 14, `maps of source "dns" never worked`},
	{"accept for any relay\nmap x { }", 2, 1, "the map has no source"},
	{"accept for any relay\nexpire 4", 2, 8, "a delay needs a unit"},
	{"accept for any relay\nexpre 4d", 2, 1, `unexpected "expre": expected a directive or the definition of a macro, did you mean "expire"?`},
	{"expire 4d", 1, 10, "no rules, nothing to do"},
	{"accept for any alias <a> virtual <a> relay\ntable a { b = c }", 1, 26, `"alias" and "virtual" exclude each other`},
}

func TestOldErrors(t *testing.T) {
	for _, tt := range wrongOld {
		_, _, err := Parse("smtpd.conf", []byte(tt.text), nil, nil, testEnv)
		var errs Errors
		if !errors.As(err, &errs) {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		e := errs[0]
		if e.Pos.Line != tt.line || e.Pos.Column != tt.column || !strings.Contains(e.Error(), tt.want) {
			t.Errorf("%q:\n%v\nwant %d:%d %s", tt.text, err, tt.line, tt.column, tt.want)
		}
		if !advice.MatchString(e.Message) && e.Suggestion == "" {
			t.Errorf("%q: no advice in %s", tt.text, e.Message)
		}
	}
}

// TestOursToday: the words that today's language has for what old files said.
func TestOursToday(t *testing.T) {
	cfg, _ := mustParse(t, `hostname mx.example.org
action "relay" relay
table or-trusted { "192.0.2.1" }
match from src <or-trusted> or-trusted for any action "relay"
match from src "or-trusted" for any action "relay"
`)
	equal(t, "hostname", cfg.Hostname, "mx.example.org")
	equal(t, "admd", cfg.ADMD, "mx.example.org")
	equal(t, "trusted", []bool{cfg.Rules[0].OrTrusted, cfg.Rules[1].OrTrusted}, []bool{true, false})
	_, _, err := Parse("smtpd.conf", []byte("match ! from src x or-trusted reject"), nil, nil, testEnv)
	if err == nil || !strings.Contains(err.Error(), `"or-trusted" cannot be negated`) {
		t.Errorf("error %v", err)
	}
}
