package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestReach: which lines of a pair or more are said to be never reached. Saying nothing is
// always allowed, saying it of a line that can be reached never.
func TestReach(t *testing.T) {
	const before = "table d { a.example, b.example }\ntable e { a.example }\ntable f file:/f\ntable r { x }\n"
	tests := []struct {
		lines string
		want  string // numbers of the lines
	}{
		{"from any for any reject\nfrom any for domain <d> action end", "2"},
		{"from any for any reject\nfrom local for local action end\nfrom src <r> for any action end", "2 3"},
		{"from any for domain <d> action end\nfrom any for domain <d> reject", "2"},
		{"from any for domain <d> action end\nfrom any for domain <e> reject", "2"},
		{"from any for domain A.example action end\nfrom local for domain a.example reject", "2"},
		{"from any for domain <f> action end\nfrom any for domain <f> tls reject", "2"},
		{"from any ! for domain <e> action end\nfrom any ! for domain <d> action end", "2"},
		{"from local for local action end\nfrom local for local tag x action end", "2"},
		{"from any tag { x, y } for any reject\nfrom any tag x for any mail-from <r> action end", "2"},
		{"from any auth for any action end\nfrom any auth for any reject", "2"},
		{"from any for any action end\n! from any for local action end", "2"},
		{"! from any for local action end\nfrom any for any action end", "1"},
		{"from any ! for any action end\nfrom any for any action end", "1"},
		{"from any for domain regex <r> reject\nfrom any for domain regex <r> action end", "2"},

		{"from any for domain <e> action end\nfrom any for domain <d> reject", ""},
		{"from any ! for domain <d> action end\nfrom any ! for domain <e> action end", ""},
		{"from any for domain <d> action end\nfrom any ! for domain <d> action end", ""},
		{"from any for domain <f> action end\nfrom any for domain <d> action end", ""},
		{"from any for domain <d> action end\nfrom any for domain <f> action end", ""},
		{"from any for domain regex <r> reject\nfrom any for domain <r> action end", ""},
		{"from any for local action end\nfrom any for any action end", ""},
		{"from local for any action end\nfrom any for any reject", ""},
		{"from local for any action end\nfrom socket for any reject", ""},
		{"from socket for any action end\nfrom any for any reject", ""},
		{"from rdns <r> for any action end\n! from rdns <r> for any action end", ""},
		{"from auth for any action end\nfrom any for any reject", ""},
		{"from auth for any action end\nfrom auth <r> for any reject", ""},
		{"from auth <r> for any action end\nfrom auth for any reject", ""},
		{"from any tls for any action end\nfrom any ! tls for any action end", ""},
		{"from any helo <r> for any action end\nfrom any mail-from <r> for any action end", ""},
		{"from any for rcpt-to <r> action end\nfrom any for any action end", ""},
		{"from any tag x for any reject\nfrom any tag { x, y } for any action end", ""},
		{"! from local for any reject\n! from src <r> for any reject", ""},
	}
	for _, tt := range tests {
		text := before + "action end mbox\nmatch " + strings.ReplaceAll(tt.lines, "\n", "\nmatch ") + "\n"
		_, warnings := mustParse(t, text)
		var got []string
		for _, w := range warnings {
			if strings.Contains(w.Message, "never reached") || strings.Contains(w.Message, "matches nothing") {
				got = append(got, fmt.Sprint(w.Pos.Line-5))
			}
		}
		equal(t, tt.lines, strings.Join(got, " "), tt.want)
	}
}

func TestHidden(t *testing.T) {
	tests := []struct{ line, want string }{
		{"match from any for any reject", ""},
		{"match ! from rdns ! for rcpt-to x reject", ""},
		{"match for any reject", `without "from" this line is "from local"`},
		{"match auth for any reject", `without "from" this line is "from local"`},
		{"match from any reject", `without "for" this line is "for local"`},
		{"match from mail-from x reject", `without "for" this line is "for local"`},
		{"match mail-from x reject", `this line is "from local for local"`},
	}
	for _, tt := range tests {
		_, warnings := mustParse(t, rule+tt.line+"\n")
		var got string
		for _, w := range warnings {
			got += w.String()
		}
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestUnused(t *testing.T) {
	_, warnings := mustParse(t, `table a { x }
table b { x }
table c { x = y }
proc p x
proc q x
filter f proc p
filter g phase connect match src <b> junk
filter h chain { f }
filter i proc-exec x
mda wrapper w x
mda wrapper v x
listen on lo filter h
action one mbox alias <c> wrapper w
action two mbox
`+rule)
	var got []string
	for _, w := range warnings {
		got = append(got, fmt.Sprint(w.Pos.Line))
	}
	equal(t, "lines", strings.Join(got, " "), "1 5 7 9 11 13 14")
}
