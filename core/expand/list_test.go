package expand

import (
	"fmt"
	"strings"
	"testing"
)

func (t target) String() string {
	switch t.kind {
	case addressKind:
		return "address " + t.addr.String()
	case userKind:
		return "user " + t.text
	case fileKind:
		return "file " + t.text
	case pipeKind:
		return "pipe " + t.text
	case errorKind:
		return fmt.Sprintf("error %d %s", t.code, t.text)
	case includeKind:
		return "include " + t.text
	}
	return "nothing"
}

func TestParseList(t *testing.T) {
	tests := []struct {
		line string
		want []string
	}{
		{"", nil},
		{" , ,, ", nil},
		{"bob", []string{"user bob"}},
		{"Bob,\talice ,carol,", []string{"user bob", "user alice", "user carol"}},
		{`\bob, "dave"`, []string{"user bob", "user dave"}},
		{"bob+x, a-b_c.d", []string{"user bob+x", "user a-b_c.d"}},
		{"a@b.example, A@B.Example", []string{"address a@b.example", "address A@b.example"}},
		{`"a b"@example.org, 'x'`, []string{`address "a b"@example.org`, "user x"}},
		{`"a\"b,c"@example.org`, []string{`address "a\"b,c"@example.org`}},
		{"o'neil@example.org, d'arcy@example.org", []string{"address o'neil@example.org", "address d'arcy@example.org"}},
		{"a@[192.0.2.1]", []string{"address a@[192.0.2.1]"}},
		{"/var/mail/x, /dev/null", []string{"file /var/mail/x", "file /dev/null"}},
		{`"/with blank/x"`, []string{"file /with blank/x"}},
		{"/with blank/x", []string{"file /with blank/x"}},
		{"|cat, bob", []string{"pipe |cat", "user bob"}},
		{`"|prog a, b", bob`, []string{"pipe |prog a, b", "user bob"}},
		{`"|prog \"a\" \\n \x"`, []string{`pipe |prog "a" \n \x`}},
		{`|"prog a, b"`, []string{"pipe |prog a, b"}},
		{`|prog "a, b" 'c, d' e\, f`, []string{`pipe |prog "a, b" 'c, d' e, f`}},
		{"|prog\ta", []string{"pipe |prog a"}},
		{":include:/etc/list, include:/x y", []string{"include /etc/list", "include /x y"}},
		{`":Include: /etc/list"`, []string{"include /etc/list"}},
		{"error:550 gone away", []string{"error 550 gone away"}},
		{`":error:450 later, please", bob`, []string{"error 450 later, please", "user bob"}},
	}
	for _, tt := range tests {
		list, err := parseList(tt.line)
		var got []string
		for _, x := range list {
			got = append(got, x.String())
		}
		if err != nil || strings.Join(got, ";") != strings.Join(tt.want, ";") {
			t.Errorf("parseList(%q) = %q, %v, want %q", tt.line, got, err, tt.want)
		}
	}
}

func TestParseListErrors(t *testing.T) {
	for _, s := range []string{"a b", "bob;", `"bob`, "'bob", "a@", "@b", "a@b@c", "a@-", "|", `"|"`, "| ", "error:", "error:hello", "error:250 ok",
		"error:5x0 text", "error:550", "error:550 ", "error:550-text", "error:550 \xff", "include:", "include:x", ":include:", "bob, a b",
		"\x00", "a\x01", "a\nb", "|a\nb", "$HOME", "%{user}", "a!b", strings.Repeat("u", maxItem+1), strings.Repeat("u,", maxLine)} {
		if list, err := parseList(s); err == nil {
			t.Errorf("parseList(%.40q) = %v", s, list)
		}
	}
}

func TestParseLines(t *testing.T) {
	list, err := parseLines([]byte("# comment\r\n\r\n  bob, alice\r\n\t# another\nx@y.example"), 3)
	if len(list) != 3 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	for content, want := range map[string]string{
		"# empty lines are ignored\n\nuser@example.com\t   # anything after # is ignored\n\"|/path/to/examplemda\"\n": "address user@example.com;pipe /path/to/examplemda",
		"a, \\\n  b,\\\nc # d \\\ne":        "user a;user b;user c;user e",
		"# a \\\nb":                         "user b",
		"#a\n,#b\na,#c\n":                   "user a",
		"a#b@example.org, \\#c@example.org": "address a#b@example.org;address #c@example.org",
		"\"|prog # a\", b # c":              "pipe prog # a;user b",
		"|prog '# a' # b":                   "pipe prog '# a'",
		"error:550 call # 5":                "error 550 call # 5",
		"o'neil@example.org # it's":         "address o'neil@example.org",
		"\\\\\\bob":                         "",
	} {
		list, err := parseLines([]byte(content), 10)
		var got []string
		for _, x := range list {
			got = append(got, strings.Replace(x.String(), "pipe |", "pipe ", 1))
		}
		if strings.Join(got, ";") != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", content, got, err, want)
		}
	}
	if _, err := parseLines([]byte("a, \\"), 3); err == nil {
		t.Error("a backslash at the end of the file taken")
	}
	if _, err := parseLines([]byte(strings.Repeat("a,\\\n", maxLine)), 1<<20); err == nil {
		t.Error("lines joined without a limit")
	}
	if _, err := parseLines([]byte("a,b,c\nd"), 3); err == nil {
		t.Error("four of three destinations taken")
	}
	if _, err := parseLines([]byte("a\n\nb c\n"), 3); err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
		t.Errorf("error %v does not name the line", err)
	}
}

// checkTargets tests what the rest relies on.
func checkTargets(t *testing.T, list []target) {
	for _, x := range list {
		if x.kind == 0 || len(x.text) > maxItem+1 || strings.ContainsFunc(x.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("target %d %q", x.kind, x.text)
		}
		switch {
		case x.kind == userKind && !validUser(x.text),
			x.kind == addressKind && (x.addr.Domain == "" || x.addr.Local == ""),
			(x.kind == fileKind || x.kind == includeKind) && x.text[0] != '/',
			x.kind == pipeKind && (len(x.text) < 2 || x.text[0] != '|'),
			x.kind == errorKind && (x.code < 400 || x.code > 599 || x.text == ""):
			t.Errorf("target %v", x)
		}
	}
}

func FuzzList(f *testing.F) {
	for _, s := range []string{`\bob, "|prog a, b"`, `"a b"@example.org`, ":include:/x", "error:550 x", `|a\, "b`, "'", `"\`, `\`, "a,,b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseList(s)
		if err == nil {
			checkTargets(t, list)
		}
	})
}

func FuzzForward(f *testing.F) {
	f.Add([]byte("# x\n\\bob, alice\n\"|cat > x\"\n"))
	f.Add([]byte("/box\r\n:include:/x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseLines(b, maxForwardNodes)
		if err == nil && len(list) > maxForwardNodes {
			t.Errorf("%d destinations", len(list))
		}
		if err == nil {
			checkTargets(t, list)
		}
	})
}
