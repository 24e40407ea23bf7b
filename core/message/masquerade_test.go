package message

import (
	"strings"
	"testing"
)

func TestMasquerade(t *testing.T) {
	const addr = "s@example.com"
	for _, v := range [][2]string{
		{"From: ann@example.org\n", "From: s@example.com\n"},
		{"From: Ann <ann@example.org>\n", "From: Ann <s@example.com>\n"},
		{"from : \"Ann, <the> first\" <ann@example.org> (she)\n", "from : \"Ann, <the> first\" <s@example.com> (she)\n"},
		{"From: ann (Ann <x@y>, \\) z)\n", "From: s@example.com (Ann <x@y>, \\) z)\n"},
		{"From: (a (b) c) ann@example.org (d)\n", "From: (a (b) c) s@example.com (d)\n"},
		{"From: Ann\n <ann@example.org>,\n\tbob@example.org\nTo: ann@example.org\n",
			"From: Ann\n <s@example.com>,\n\ts@example.com\nTo: ann@example.org\n"},
		{"From: \"a\\\"b\" <\"x>y\"@example.org>\n", "From: \"a\\\"b\" <s@example.com>\n"},
		{"From: ann@[IPv6:::1]\n", "From: s@example.com\n"},
		{"From: <@a,@b:c@d>\n", "From: <s@example.com>\n"},
		{"From: <>\n", "From: <s@example.com>\n"},
		{"From: a@b, , c@d,\n", "From: s@example.com, , s@example.com,\n"},
		{"From: ann@example.org", "From: s@example.com"},
		{"From: Ann Smith\n", "From: s@example.com\n"},
		{"Subject: x\nFrom: a@b\nSender: a@b\nFrom: c@d\n", "Subject: x\nFrom: s@example.com\nSender: a@b\n"},
		// What is not understood is not kept.
		{"From: x: forged@example.org;\n", "From: <s@example.com>\n"},
		{"From: \"a <forged@example.org>\n", "From: <s@example.com>\n"},
		{"From: a <forged@example.org\n", "From: <s@example.com>\n"},
		{"From: a <x@y> <forged@example.org>\n", "From: <s@example.com>\n"},
		{"From: a) <forged@example.org>\n", "From: <s@example.com>\n"},
		{"From: a@[b\n", "From: <s@example.com>\n"},
		{"From: x\\\n", "From: <s@example.com>\n"},
		{"From:\n", "From: <s@example.com>\n"},
		{"From: " + strings.Repeat("a,", maxMailboxes+1) + "\n", "From: <s@example.com>\n"},
		{"X-From: a@b\nFrom-X: a@b\n", "X-From: a@b\nFrom-X: a@b\n"},
		{"", ""},
	} {
		if got := string(Masquerade(nil, []byte(v[0]), addr)); got != v[1] {
			t.Errorf("%q:\ngot  %q\nwant %q", v[0], got, v[1])
		}
	}
}

// The section stays one, no line is lost, and it grows by no more than From may hold.
func FuzzMasquerade(f *testing.F) {
	f.Add([]byte("From: \"A, B\" <a@b> (c), d@e\nSubject: x\n y\n"))
	f.Add([]byte("From: a:b;\nFrom: <"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := Scan(b, true)
		if err != nil {
			return
		}
		got := Masquerade(nil, b[:h.Len], "s@example.com")
		again, err := Scan(got, true)
		if err != nil || again.Received != h.Received || again.HasDate != h.HasDate || again.HasFrom != h.HasFrom || again.Len < len(got)-1 {
			t.Errorf("%q became %q: %+v, %v", b[:h.Len], got, again, err)
		}
		if len(got) > len(b)+(maxMailboxes+1)*len("s@example.com") {
			t.Errorf("%d octets became %d", len(b), len(got))
		}
	})
}
