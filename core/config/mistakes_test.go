package config

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// odd are files that are read, but about which something is said: a warning, or that smtpd
// does not start with them.
var odd = []struct {
	text    string
	message string
}{
	{`admd "a b"`, `warning: the administrative domain "a b" is not used`},
	{`admd ""`, `warning: the administrative domain "" is not used`},
	{"srs key k\naction a relay mail-from \"x@example.org\" srs", `"srs" rewrites nothing where "mail-from" gives the sender`},
	{"bounce warn-interval 1h, 2h, 3h, 4h, 5h", `"5h" is not used: only the first 4 delays count`},
	{`pki a.example cert c key k dhe AUTO`, `warning: "dhe auto" has no effect`},
	{`pki a.example cert c key k dhe legacy`, `"dhe legacy" has no effect`},
	{"\ufeffadmd x", "the file begins with a byte order mark"},
	{"admd x\r\n", "lines end in a carriage return and a line feed"},
	{"listen on lo tag x \\ \n", "blanks after a backslash, so the line ends here"},
	{"# in C:\\\nadmd x", "a backslash makes the next line a part of this comment"},
	{"table t file", `table "t" is empty`},
	{`listen on lo hostname "a b"`, `the host name "a b" is empty or has a blank`},
	{`listen on lo tag ""`, "an empty tag is none"},
	{"pki x.example cert c key k\ntable l { a }\nlisten on lo tls pki x.example auth <l>", `"auth" needs a mapping of users and passwords`},
	{"pki x.example cert c key k\nlisten on lo tls pki x.example auth-optional passwords", `"auth-optional" needs a mapping of users`},
	{"listen on lo ciphers HIHG", `unknown word "HIHG"`},
	{"listen on lo protocols sslv3", `unknown word "sslv3"`},
	{`smtp ciphers "HIGH:!aNUL"`, `unknown word "aNUL"`},
	{`action a mda x user "a b"`, `the user "a b" is empty or has a blank`},
	{`action a relay helo "a b"`, `the name for HELO "a b" is empty or has a blank`},
	{`action a relay mail-from ""`, `the sender "" is empty`},
	{"action a relay host smtp://l@x", `a label needs TLS, so smtp+tls:// is taken`},
	{"action a relay host smtp+notls://l@x", "a label needs TLS: write smtp+tls:// or smtps://"},
	{`action a relay host "smtps://@x"`, "the label is empty"},
	{"action a relay host lmtp://x", "lmtp:// has no port of its own"},
	{`action a relay host "[::1"`, `invalid host "[::1"`},
	{`action a relay host "a b"`, `invalid host "a b"`},
	{`action a relay host { x, "y z" }`, `invalid host "y z"`},
	{"action a relay host smtp+notls://x tls", `"tls" and the relay`},
	{"action a relay src { 192.0.2.1, x }", `source "x" is no IP address`},
	{"action a relay src { x = y }", `source "x" is no IP address`},
	{`action a relay domain { a = "smtp+notls://l@x" }`, "a label needs TLS"},
	{`action a relay host "tls+auth://@x" auth { a = "b:c" }`, "the label is empty"},
	{`action a relay host "smtps://l@x" auth { l = secret }`, `the credentials for "l" have no password`},
	{`action a relay host "smtps://l@x"`, `relay "smtps://l@x" needs credentials: write "auth"`},
	{`action a relay host { x, "tls+auth://y" }`, `relay "tls+auth://y" needs credentials`},
	{`action a relay domain { a = "ssl+auth://y" }`, `relay "ssl+auth://y" needs credentials`},
	{"action a relay helo-src { x = a.example }", `source "x" is no IP address`},
	{`action a relay helo-src { 192.0.2.1 = "a b" }`, `"a b" is no name for EHLO`},
	{"action a relay ciphers HIHG", `unknown word "HIHG"`},
	{`action a relay ciphers "DHE-RSA-AES256-SHA"`, "none that can be used"},
	{`action a relay protocols "tlsv1.1,tlsv1.3"`, "cannot be left out"},
	{`action a relay ciphers TLS_AES_128_GCM_SHA256 protocols "tlsv1.2"`, "which protocols"},
	{"action a relay pki x.example", `there is no pki "x.example"`},
	{"action a relay ca corp", `there is no ca "corp"`},
	{"mda wrapper w x\naction a mbox wrapper w wrapper w", `"wrapper" replaces "wrapper" before it`},
	{"match tag { a = b } reject", `"tag" needs no values`},
	{"match auth regex { a = b } reject", `"auth regex" needs no values`},
	{"match auth from auth reject", `"from auth" replaces "auth" before it`},
	{"match mail-from a from mail-from b reject", `"from mail-from" replaces "mail-from" before it`},
	{"proc p x\nfilter f proc p\nfilter g proc p\nfilter c chain { f g }", `filter process "p" is in the chain twice`},
	{"proc f x\nfilter f proc-exec y", `the process "f" at smtpd.conf:1 is not used`},
	{"filter b phase mail-from match auth junk\naction a relay filter b", `filter "b" is about clients`},
	{"filter b phase mail-from match auth junk\nfilter p proc-exec x\naction a relay filter { p, b }", `filter "b" is about clients`},
	{"filter p proc-exec x\naction a relay host lmtp://x:24 filter p", "LMTP is not supported yet"},
}

// said gives what smtpd -n says about a text.
func said(text string) (lines []string, err error) {
	cfg, warnings, err := Parse("smtpd.conf", []byte(text+"\n"+rule), nil, deep, testEnv)
	for _, w := range warnings {
		lines = append(lines, w.String())
	}
	if err != nil {
		return append(lines, err.Error()), err
	}
	for _, u := range cfg.Unsupported {
		lines = append(lines, u.String())
	}
	return lines, nil
}

func TestOdd(t *testing.T) {
	for _, tt := range odd {
		lines, err := said(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
		}
		if !strings.Contains(strings.Join(lines, "\n"), tt.message) {
			t.Errorf("%q:\n got %s\nwant %s", tt.text, strings.Join(lines, "\n"), tt.message)
		}
	}
}

// advice is how a sentence tells what to write.
var advice = regexp.MustCompile(`expected |write |did you mean|remove |quote|is not supported yet|before 6.4`)

// TestMistakes compares all that is said about wrong and odd files with a golden file, and
// looks for advice in each sentence.
func TestMistakes(t *testing.T) {
	const golden = "testdata/mistakes.txt"
	var texts []string
	for _, tt := range wrong {
		texts = append(texts, tt.text)
	}
	for _, tt := range odd {
		texts = append(texts, tt.text)
	}
	var b strings.Builder
	for _, text := range texts {
		lines, _ := said(text)
		for _, line := range lines {
			if first, _, _ := strings.Cut(line, "\n"); !advice.MatchString(first) {
				t.Errorf("%.60q: no advice in %s", text, first)
			}
		}
		out := strings.Join(lines, "\n")
		if len(text) > 1000 { // one of too many characters
			text, out = text[:20]+"...", strings.ReplaceAll(out, text[20:maxShown], "...")
		}
		fmt.Fprintf(&b, "%q\n%s\n\n", text, out)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	got, all := strings.Split(b.String(), "\n\n"), strings.Split(string(want), "\n\n")
	if len(got) != len(all) {
		t.Errorf("%d mistakes, %d in %s", len(got), len(all), golden)
	}
	for i := range min(len(got), len(all)) {
		if got[i] != all[i] {
			t.Errorf("got\n%s\nwant\n%s", got[i], all[i])
		}
	}
}
