package message

import (
	"bytes"
	"strings"
	"testing"
)

func TestQualify(t *testing.T) {
	for _, v := range [][2]string{
		{"From: ann\n", "From: ann@mx.example.org\n"},
		{"To: ann, Bob <bob>,\n \"c d\" (Cee),<e@f>, g@h\n", "To: ann@mx.example.org, Bob <bob@mx.example.org>,\n \"c d\"@mx.example.org (Cee),<e@f>, g@h\n"},
		{"cc : ann (at home)\nReply-To: x\nSender: <y>\n", "cc : ann@mx.example.org (at home)\nReply-To: x@mx.example.org\nSender: <y@mx.example.org>\n"},
		{"From: größe\n", "From: größe@mx.example.org\n"},
		{"To: ann", "To: ann@mx.example.org"},
		// What is no local part, or nothing that is understood, stays.
		{"From: Ann Smith\n", "From: Ann Smith\n"},
		{"To: undisclosed-recipients:;\n", "To: undisclosed-recipients:;\n"},
		{"To: staff: ann, bob;\n", "To: staff: ann, bob;\n"},
		{"From: <>\n", "From: <>\n"},
		{"From:\n", "From:\n"},
		{"From: \"ann\n", "From: \"ann\n"},
		{"From: ann <bob\n", "From: ann <bob\n"},
		{"From: a..b, .c, [d]\n", "From: a..b, .c, [d]\n"},
		{"From: \xff\n", "From: \xff\n"},
		{"Subject: ann\nX-To: ann\nResent-To: ann\nReceived: from ann\n", "Subject: ann\nX-To: ann\nResent-To: ann\nReceived: from ann\n"},
		{"To: " + strings.Repeat("a,", maxMailboxes+1) + "\n", "To: " + strings.Repeat("a,", maxMailboxes+1) + "\n"},
		{"Bcc: ann\n bob\nTo: a@b\nBCC:c\n", "To: a@b\n"},
	} {
		if got := string(complete(nil, []byte(v[0]), "mx.example.org")); got != v[1] {
			t.Errorf("%q:\ngot  %q\nwant %q", v[0], got, v[1])
		}
	}
}

// What is taken out of the result again was put there: nothing else changes, no field comes
// or goes but Bcc.
func FuzzQualify(f *testing.F) {
	f.Add([]byte("From: ann\nTo: \"b c\" <d>, e@f\nBcc: x\n y\nSubject: z\n"))
	f.Add([]byte("To: a:b;\nCc: (\nFrom: <\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const mark = "mark.mark.example"
		h, err := Scan(b, true)
		if err != nil || bytes.Contains(b, []byte(mark)) || hasField(b[:h.Len], "Bcc") {
			return
		}
		got := complete(nil, b[:h.Len], mark)
		if !bytes.Equal(bytes.ReplaceAll(got, []byte("@"+mark), nil), b[:h.Len]) {
			t.Errorf("%q became %q", b[:h.Len], got)
		}
		again, err := Scan(got, true)
		if err != nil || again.Received != h.Received || again.HasFrom != h.HasFrom || again.HasDate != h.HasDate {
			t.Errorf("%q became %q: %v", b[:h.Len], got, err)
		}
		if twice := complete(nil, got, mark); !bytes.Equal(twice, got) {
			t.Errorf("%q became %q", got, twice)
		}
	})
}
