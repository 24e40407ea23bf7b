package bounce

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

var testDate = time.Date(2026, 11, 23, 12, 50, 42, 0, time.UTC)

func failedNotice() *Notice {
	return &Notice{
		Kind: envelope.BounceFailed, Host: "mx1.example.org",
		To:   address.Address{Local: "alice", Domain: "example.org"},
		Date: testDate, Arrival: testDate.Add(-2 * time.Second), EnvID: "QQ+2B314159", MaxFull: 100 << 10,
		Recipients: []Recipient{
			{
				Final: address.Address{Local: "u1", Domain: "reject.example.net"},
				ORcpt: "rfc822;List+2Bu1@example.org", EscClass: 5, EscCode: 101,
				Text: "550 5.1.1 no such user", MTA: "mx.reject.example.net", LastTry: testDate,
			},
			{
				Final: address.Address{Local: "carol", Domain: "example.org"},
				Text:  `Error ("mail.maildir: disk full")`, LastTry: testDate,
			},
		},
	}
}

const testMessage = "Subject: 16-dsn-full\nFrom: alice@example.org\nX-Folded: a\n\tb\n\nfirst body line\n.dot\n..\n"

// report is a parsed notice.
type report struct {
	header   mail.Header
	boundary string
	raw      []byte
	parts    []string
	types    []string
	encoding []string
}

func parse(t *testing.T, raw []byte) report {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, raw)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("content type %q %v %v", kind, params, err)
	}
	r := report{header: m.Header, raw: raw, boundary: params["boundary"]}
	parts := multipart.NewReader(m.Body, r.boundary)
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return r
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, raw)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, raw)
		}
		r.parts = append(r.parts, string(body))
		r.types = append(r.types, p.Header.Get("Content-Type"))
		r.encoding = append(r.encoding, p.Header.Get("Content-Transfer-Encoding"))
	}
}

func build(t *testing.T, n *Notice, message string) report {
	t.Helper()
	var b bytes.Buffer
	if err := Build(&b, n, strings.NewReader(message)); err != nil {
		t.Fatal(err)
	}
	return parse(t, b.Bytes())
}

func TestFailed(t *testing.T) {
	r := build(t, failedNotice(), testMessage)
	for name, want := range map[string]string{
		"Subject":                   "Delivery status notification: failed",
		"From":                      "Mailer Daemon <MAILER-DAEMON@mx1.example.org>",
		"To":                        "alice@example.org",
		"Date":                      "Mon, 23 Nov 2026 12:50:42 +0000 (UTC)",
		"Auto-Submitted":            "auto-replied",
		"Mime-Version":              "1.0",
		"Content-Transfer-Encoding": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id := r.header.Get("Message-Id"); !strings.HasSuffix(id, "@mx1.example.org>") {
		t.Errorf("message id %q", id)
	}
	if len(r.parts) != 3 {
		t.Fatalf("%d parts", len(r.parts))
	}
	for _, line := range []string{
		"u1@reject.example.net: 550 5.1.1 no such user (said by mx.reject.example.net)\n",
		"carol@example.org: Error (\"mail.maildir: disk full\")\n",
	} {
		if !strings.Contains(r.parts[0], line) {
			t.Errorf("no %q in:\n%s", line, r.parts[0])
		}
	}
	want := `Reporting-MTA: dns; mx1.example.org
Original-Envelope-Id: QQ+314159
Arrival-Date: Mon, 23 Nov 2026 12:50:40 +0000 (UTC)

Original-Recipient: rfc822; List+u1@example.org
Final-Recipient: rfc822; u1@reject.example.net
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.reject.example.net
Diagnostic-Code: smtp; 550 5.1.1 no such user
Last-Attempt-Date: Mon, 23 Nov 2026 12:50:42 +0000 (UTC)

Final-Recipient: rfc822; carol@example.org
Action: failed
Status: 5.0.0
Diagnostic-Code: x-local; Error ("mail.maildir: disk full")
Last-Attempt-Date: Mon, 23 Nov 2026 12:50:42 +0000 (UTC)
`
	if r.parts[1] != want || r.types[1] != "message/delivery-status" {
		t.Errorf("%s\ngot:\n%s\nwant:\n%s", r.types[1], r.parts[1], want)
	}
	if header, _, _ := strings.Cut(testMessage, "\n\n"); r.parts[2] != header+"\n" || r.types[2] != "text/rfc822-headers" {
		t.Errorf("%s returned:\n%s", r.types[2], r.parts[2])
	}
}

func TestReturnedMessage(t *testing.T) {
	body := "Subject: x\n\n" + strings.Repeat(strings.Repeat("y", 70)+"\n", 2000)
	tests := []struct {
		name, message, want, wantType, encoding string
		full                                    bool
	}{
		{"full", testMessage, testMessage, "message/rfc822", "", true},
		{"full 8 bit", "A: b\n\nf\xfcr\n", "A: b\n\nf\xfcr\n", "message/rfc822", "8bit", true},
		{"too large", body, "Subject: x\n", "text/rfc822-headers", "", true},
		{"long line", "A: b\n\n" + strings.Repeat("x", 999), "A: b\n", "text/rfc822-headers", "", true},
		{"bare CR", "A: b\n\na\rb\n", "A: b\n", "text/rfc822-headers", "", true},
		{"NUL", "A: b\x00c\n\na\n", "A: b?c\n", "text/rfc822-headers", "", true},
		{"8 bit header", "Subject: gr\xc3\xbc\xc3\x9fe\n\nx\n", "Subject: gr\xc3\xbc\xc3\x9fe\n", "text/rfc822-headers", "8bit", false},
		{"no header", "just words\nmore\n", "", "text/rfc822-headers", "", false},
		{"no end of header", "A: b\nwords\n", "A: b\n", "text/rfc822-headers", "", false},
		{"no line end", "A: b\nC: d", "A: b\nC: d\n", "text/rfc822-headers", "", false},
		{"empty", "", "", "text/rfc822-headers", "", false},
		{"long field", "A: " + strings.Repeat("x", 2000) + "\nB: c\n\n", "A: " + strings.Repeat("x", 995) + "\nB: c\n", "text/rfc822-headers", "", false},
	}
	for _, tt := range tests {
		n := failedNotice()
		n.Full = tt.full
		r := build(t, n, tt.message)
		if r.parts[2] != tt.want || r.types[2] != tt.wantType || r.encoding[2] != tt.encoding {
			t.Errorf("%s: %s %s %.200q", tt.name, r.types[2], r.encoding[2], r.parts[2])
		}
		if top := r.header.Get("Content-Transfer-Encoding"); top != tt.encoding {
			t.Errorf("%s: the notice says %q", tt.name, top)
		}
	}
	header := strings.Repeat("X-Many: of these\n", 10000)
	if got := build(t, failedNotice(), header).parts[2]; len(got) > MaxHeader || !strings.HasPrefix(header, got) || len(got) < MaxHeader-20 {
		t.Errorf("%d octets of a long header", len(got))
	}
}

// Addresses in UTF-8 stand in the report in ASCII, and what is returned of such a message is
// named so (RFC 6533).
func TestInternational(t *testing.T) {
	n := failedNotice()
	n.UTF8, n.Full, n.To = true, true, at("ö@example.org")
	n.Recipients[0].Final, n.Recipients[0].ORcpt = at("ü@reject.example.net"), `utf-8;ü+2Bx@example.org`
	n.Recipients[1].Rcpt = at("用户@example.org")
	r := build(t, n, "Subject: gr\xc3\xbc\xc3\x9fe\n\nx\n")
	for _, line := range []string{"\nOriginal-Recipient: utf-8; ?+x@example.org\n", "\nFinal-Recipient: utf-8; \\x{FC}@reject.example.net\n"} {
		if !strings.Contains(r.parts[1], line) || has8bit(r.parts[1]) {
			t.Errorf("no %q in:\n%s", line, r.parts[1])
		}
	}
	if r.types[2] != "message/global" || r.header.Get("To") != "ö@example.org" || !strings.Contains(r.parts[0], "ü@reject.example.net: 550") ||
		!strings.Contains(r.parts[0], "(reached through 用户@example.org)") {
		t.Errorf("%s to %s:\n%s", r.types[2], r.header.Get("To"), r.parts[0])
	}
	n.Full = false
	if r := build(t, n, "Subject: gr\xc3\xbc\xc3\x9fe\n\nx\n"); r.types[2] != "message/global-headers" {
		t.Error(r.types[2])
	}
	if r := build(t, n, "Subject: x\n\n\xc3\xbc\n"); r.types[2] != "text/rfc822-headers" {
		t.Error(r.types[2])
	}
}

func TestDelayed(t *testing.T) {
	n := failedNotice()
	n.Kind, n.Delay, n.Full = envelope.BounceDelayed, 4*time.Hour, true
	n.Recipients = n.Recipients[:1]
	n.Recipients[0].Expires = testDate.Add(92 * time.Hour)
	n.Recipients[0].EscClass, n.Recipients[0].EscCode = 4, 701
	r := build(t, n, testMessage)
	if !strings.Contains(r.parts[0], "tried for 4 hours.") || !strings.Contains(r.parts[0], "until Fri, 27 Nov 2026 08:50:42 +0000 (UTC).") {
		t.Errorf("text:\n%s", r.parts[0])
	}
	for _, line := range []string{"Action: delayed\n", "Status: 4.7.1\n", "Will-Retry-Until: Fri, 27 Nov 2026 08:50:42 +0000 (UTC)\n"} {
		if !strings.Contains(r.parts[1], line) {
			t.Errorf("no %q in:\n%s", line, r.parts[1])
		}
	}
	if r.types[2] != "text/rfc822-headers" { // RFC 3461 section 4.3: RET is for failures only
		t.Errorf("a delay returns %s", r.types[2])
	}
}

func TestDelivered(t *testing.T) {
	n := failedNotice()
	n.Kind = envelope.BounceDelivered
	n.Recipients = []Recipient{{Final: at("a@b")}, {Final: at("c@d"), Kind: envelope.BounceRelayed, Text: "250 ok"}}
	r := build(t, n, testMessage)
	if got := r.header.Get("Subject"); got != "Delivery status notification: delivered" {
		t.Errorf("subject %q", got)
	}
	if !strings.Contains(r.parts[0], "a@b: delivered\nc@d: relayed\n") ||
		!strings.Contains(r.parts[1], "a@b\nAction: delivered\nStatus: 2.0.0\n") || !strings.Contains(r.parts[1], "c@d\nAction: relayed\n") {
		t.Errorf("got:\n%s\n%s", r.parts[0], r.parts[1])
	}
	n.Recipients = n.Recipients[1:]
	if got := build(t, n, testMessage).header.Get("Subject"); got != "Delivery status notification: relayed" {
		t.Errorf("subject %q", got)
	}
}

func TestExpired(t *testing.T) {
	for _, tt := range []struct {
		text, last string
		yes        bool
	}{
		{ExpiredText(""), "", true}, {ExpiredText("451 later"), "451 later", true}, {"451 later", "451 later", false}, {"", "", false},
	} {
		if last, yes := (&Recipient{Text: tt.text}).expired(); last != tt.last || yes != tt.yes {
			t.Errorf("%q: %q %v", tt.text, last, yes)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	n := failedNotice()
	broken := errors.New("broken")
	if err := Build(io.Discard, n, iotest.ErrReader(broken)); err != broken {
		t.Errorf("reader: %v", err)
	}
	pr, pw := io.Pipe()
	pr.CloseWithError(broken)
	if err := Build(pw, n, nil); err != broken {
		t.Errorf("writer: %v", err)
	}
	n.Recipients = nil
	if err := Build(io.Discard, n, nil); err != ErrNoRecipient {
		t.Errorf("no recipient: %v", err)
	}
	n.To = address.Address{}
	if err := Build(io.Discard, n, nil); err != ErrNoSender {
		t.Errorf("no sender: %v", err)
	}
}

func TestLostMessage(t *testing.T) {
	var b bytes.Buffer
	if err := Build(&b, failedNotice(), nil); err != nil {
		t.Fatal(err)
	}
	if r := parse(t, b.Bytes()); len(r.parts) != 2 {
		t.Errorf("%d parts", len(r.parts))
	}
}

func TestWanted(t *testing.T) {
	alice := address.Address{Local: "alice", Domain: "example.org"}
	const failed, delayed, delivered = envelope.BounceFailed, envelope.BounceDelayed, envelope.BounceDelivered
	const relayed, expanded = envelope.BounceRelayed, envelope.BounceExpanded
	tests := []struct {
		name string
		env  envelope.Envelope
		want []envelope.BounceType
	}{
		{"no NOTIFY", envelope.Envelope{Sender: alice}, []envelope.BounceType{failed, delayed}},
		{"null sender", envelope.Envelope{Notify: envelope.NotifyFailure}, nil},
		{"notice", envelope.Envelope{Sender: alice, Flags: envelope.BounceMessage}, nil},
		{"never", envelope.Envelope{Sender: alice, Notify: envelope.NotifyNever}, nil},
		{"never and failure", envelope.Envelope{Sender: alice, Notify: envelope.NotifyNever | envelope.NotifyFailure}, nil},
		{"success", envelope.Envelope{Sender: alice, Notify: envelope.NotifySuccess}, []envelope.BounceType{delivered, relayed, expanded}},
		{"failure", envelope.Envelope{Sender: alice, Notify: envelope.NotifyFailure}, []envelope.BounceType{failed}},
		{"delay", envelope.Envelope{Sender: alice, Notify: envelope.NotifyDelay}, []envelope.BounceType{delayed}},
		{"all", envelope.Envelope{Sender: alice, Notify: 7}, []envelope.BounceType{failed, delayed, delivered, relayed, expanded}},
	}
	for _, tt := range tests {
		var got []envelope.BounceType
		for kind := envelope.BounceType(0); kind <= expanded+1; kind++ {
			if Wanted(&tt.env, kind) {
				got = append(got, kind)
			}
		}
		if string(toBytes(got)) != string(toBytes(tt.want)) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func toBytes(kinds []envelope.BounceType) (b []byte) {
	for _, k := range kinds {
		b = append(b, byte(k))
	}
	return b
}

func TestUnxtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "a+2Bb": "a+b", "a+2": "a+2", "a+zz": "a+zz", "+0A": "\n", "a+2bc": "a+2bc"} {
		if got := unxtext(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// FuzzBuild gives hostile values to every field that comes from outside. The report must
// parse, have its three parts, no line that is too long, and keep what it returns in its part.
func FuzzBuild(f *testing.F) {
	f.Add("rfc822;a+0Ab", "+0D+0AX: y", "550 no\r\nAction: delivered", "mx\n.example", []byte(testMessage), true)
	f.Add(";;", "+", "\xff\x00", "", []byte("--=_\n\n--\n"), false)
	f.Add("", "", strings.Repeat("5", 5000), strings.Repeat("m", 5000), bytes.Repeat([]byte("A: b\n"), 30000), true)
	f.Fuzz(func(t *testing.T, orcpt, envid, text, mta string, message []byte, full bool) {
		n := failedNotice()
		n.Full, n.EnvID = full, envid
		n.Kind = 1 + envelope.BounceType(len(mta))%envelope.BounceExpanded
		n.Recipients[0].ORcpt, n.Recipients[0].Text, n.Recipients[0].MTA = orcpt, text, mta
		n.Recipients[1].Rcpt, n.Recipients[1].Text = at("list@example.org"), ExpiredText(text)
		var b bytes.Buffer
		if err := Build(&b, n, bytes.NewReader(message)); err != nil {
			t.Fatal(err)
		}
		r := parse(t, b.Bytes())
		if len(r.parts) != 3 {
			t.Fatalf("%d parts in:\n%q", len(r.parts), b.Bytes())
		}
		if got := bytes.Count(b.Bytes(), []byte("\n--"+r.boundary)); got != 4 {
			t.Errorf("%d boundaries", got)
		}
		if strings.Count(r.parts[1], "\nAction: ") != 2 || strings.Count(r.parts[1], "\n\n") != 2 {
			t.Errorf("status has other fields:\n%q", r.parts[1])
		}
		for group := range strings.SplitSeq(strings.TrimSuffix(r.parts[1], "\n"), "\n\n") {
			if _, err := mail.ReadMessage(strings.NewReader(group + "\n\n")); err != nil {
				t.Errorf("%v in the group %q", err, group)
			}
		}
		if r.types[2] == "message/rfc822" && r.parts[2] != string(message) {
			t.Errorf("message changed: %q", r.parts[2])
		}
		eightBit := has8bit(b.Bytes())
		if eightBit != (r.header.Get("Content-Transfer-Encoding") == "8bit") {
			t.Errorf("8 bit %v, said %q", eightBit, r.header.Get("Content-Transfer-Encoding"))
		}
		for line := range bytes.SplitSeq(b.Bytes(), []byte{'\n'}) {
			if len(line) > maxLine || bytes.ContainsAny(line, "\r\x00") {
				t.Errorf("bad line %.80q", line)
			}
		}
	})
}
