package envelope

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

func full() *Envelope {
	return &Envelope{
		ID: NewID(0x0a1b2c3d, 0x11223344), Dispatcher: "out", Tag: "SUBMIT", Type: Bounce, SMTPName: "mx.example.org",
		Helo: "client", Hostname: "client.example.net", Username: "joe", Sockaddr: "[2001:db8::1]",
		Sender: address.Address{Local: "a b", Domain: "example.net"}, Rcpt: address.Address{Local: "r", Domain: "example.com"},
		Dest: address.Address{Local: "dest"}, Created: time.Unix(1700000000, 0), LastTry: time.Unix(1700000100, 0),
		LastBounce: time.Unix(1700000200, 0), TTL: 4 * 24 * time.Hour, Retry: 3, Flags: Authenticated | Internal | TLS | SMTPUTF8 | RequireTLS | TLSOptional,
		Notify: NotifyFailure | NotifyDelay, Ret: "HDRS", EnvID: "QQ314159", ORcpt: "rfc822;r@example.com",
		ErrorLine: "451 4.7.1 try: later", EscClass: 4, EscCode: 701, MDAUser: "joe", MDASubaddress: "list", MDAExec: "|cat >x",
		BounceType: BounceDelayed, BounceTTL: time.Hour, BounceDelay: 4 * time.Hour,
		Other:  "x-later: a: b\ny: c\n",
		Remote: "mx.example.com", Notice: 0x1a2b3c4d,
	}
}

func TestRoundTrip(t *testing.T) {
	null := full()
	null.Sender, null.Type, null.BounceType, null.BounceTTL, null.BounceDelay, null.Notice = address.Address{}, MTA, 0, 0, 0, 0
	null.LastTry, null.LastBounce = time.Time{}, time.Time{}
	for _, want := range []*Envelope{full(), null} {
		text, err := want.AppendText(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(want.ID, text)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v\nwant %+v", got, want)
		}
	}
}

// TestOpenSMTPD reads what OpenSMTPD 7.8 writes.
func TestOpenSMTPD(t *testing.T) {
	e, err := Parse(1<<32+1, []byte("version: 3\ndispatcher: out\ntag: PLAIN\ntype: mta\nsmtpname: mx\nhelo: c\nhostname: c\n"+
		"errorline: 451 4.7.1 try later\nsockaddr: 127.0.0.1\nsender: @\nrcpt: a@b.example\ndest: a@b.example\nctime: 1700000000\n"+
		"last-try: 0\nlast-bounce: 0\nttl: 0\nretry: 1\nflags: authenticated enqueued\ndsn-notify: 0\nesc-class: 4\nesc-code: 0\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !e.Sender.Null() || e.Flags != Authenticated || e.Retry != 1 || !e.LastTry.IsZero() || e.Created.Unix() != 1700000000 {
		t.Errorf("%+v", e)
	}
}

const least = "version: 3\ntype: mta\nsender: @\nrcpt: a@b.example\ndest: a@b.example\nctime: 1700000000\n"

func TestParseRefuses(t *testing.T) {
	if _, err := Parse(1<<32+1, []byte(least)); err != nil {
		t.Fatalf("the least envelope: %v", err)
	}
	for name, text := range map[string]string{
		"empty":              "",
		"no line end":        strings.TrimSuffix(least, "\n"),
		"doubled field":      least + "ctime: 1\n",
		"bad name of field":  least + "colour of it: red\n",
		"long name of field": least + strings.Repeat("x", maxOtherName+1) + ": red\n",
		"too many unknown":   least + numbered(maxOtherFields+1),
		"too many fields":    least + strings.ReplaceAll(numbered(maxFields), ": ", ":\nx"),
		"too much unknown":   least + "x: " + strings.Repeat("y", maxOtherText) + "\n",
		"no colon":           least + "helo\n",
		"no name":            least + ": x\n",
		"empty line":         least + "\n",
		"NUL":                least + "helo: a\x00b\n",
		"carriage return":    least + "helo: a\rb\n",
		"CRLF":               strings.ReplaceAll(least, "\n", "\r\n"),
		"delete":             least + "helo: a\x7fb\n",
		"other version":      strings.Replace(least, ": 3", ": 2", 1),
		"no recipient":       strings.Replace(least, "rcpt: a@b.example\n", "", 1),
		"bad recipient":      strings.Replace(least, "rcpt: a@b.example", "rcpt: a b@c", 1),
		"bad type":           strings.Replace(least, "mta", "mtx", 1),
		"bounce of no type":  strings.Replace(least, "mta", "bounce", 1),
		"negative time":      strings.Replace(least, "1700000000", "-1", 1),
		"time past all ends": strings.Replace(least, "1700000000", "9223372036854775807", 1),
		"negative retry":     least + "retry: -1\n",
		"notify":             least + "dsn-notify: 16\n",
		"ttl":                least + "ttl: 99999999999\n",
		"too large":          least + "helo: " + strings.Repeat("x", MaxText) + "\n",
	} {
		if e, err := Parse(1<<32+1, []byte(text)); err == nil {
			t.Errorf("%s: accepted as %+v", name, e)
		}
	}
}

// numbered gives n fields that nobody knows.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x-%d: %d\n", i, i)
	}
	return b.String()
}

// TestUnknownFields keeps fields of another version through a change.
func TestUnknownFields(t *testing.T) {
	text := "X-Later: a : b\n" + least + "new-time:17\nempty:\n" + numbered(maxOtherFields-2)
	e, err := Parse(1<<32+1, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e.Retry, e.ErrorLine = 5, "451 later"
	changed, err := e.AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := "X-Later: a : b\nnew-time: 17\n" + numbered(maxOtherFields-2); !strings.HasSuffix(string(changed), want) {
		t.Errorf("got\n%swant at the end\n%s", changed, want)
	}
	again, err := Parse(e.ID, changed)
	if err != nil || !reflect.DeepEqual(e, again) {
		t.Errorf("%+v, %v", again, err)
	}
	for _, bad := range []string{"a b: c\n", "a: \n", "a: b", "a: b\r\n", ": x\n", "\n", strings.Repeat("a", maxOtherName+1) + ": b\n",
		"x: " + strings.Repeat("y", maxOtherText) + "\n", numbered(maxOtherFields + 1)} {
		e := full()
		e.Other = bad
		if text, err := e.AppendText(nil); err == nil {
			t.Errorf("%q was written:\n%.200s", bad, text)
		}
	}
}

// TestAppendRefuses puts a line end into every string of an envelope.
func TestAppendRefuses(t *testing.T) {
	v := reflect.ValueOf(full()).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if v.Field(i).Kind() != reflect.String || name == "ErrorLine" {
			continue
		}
		for _, evil := range []string{"x\ny: z", "x\r", "x\x00", "x\x7f"} {
			e := full()
			reflect.ValueOf(e).Elem().Field(i).SetString(evil)
			if text, err := e.AppendText(nil); err == nil {
				t.Errorf("%s: %q was written:\n%s", name, evil, text)
			}
		}
	}
	if _, err := (&Envelope{}).AppendText(nil); err == nil {
		t.Error("an envelope without a type was written")
	}
}

func TestCleanErrorLine(t *testing.T) {
	for in, want := range map[string]string{
		"550 no":                 "550 no",
		" a\r\nb\x00c ":          "a??b?c",
		"\xff\u0085\u009f\u00e9": "???\u00e9",
		strings.Repeat("x", 600): strings.Repeat("x", MaxErrorLine),
	} {
		if got := CleanErrorLine(in); got != want {
			t.Errorf("CleanErrorLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	id := NewID(0x0000000a, 0xb)
	if id.String() != "0000000a0000000b" || id.Message().String() != "0000000a" {
		t.Errorf("%v of %v", id, id.Message())
	}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("ParseID: %v, %v", got, err)
	}
	for _, bad := range []string{"", "a", "0000000a00000000", "000000000000000b", "0000000A0000000b", "0000000a0000000b0",
		"+000000a0000000b", "0x00000a0000000b", "0000000a_000000b"} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %v", bad, id)
		}
	}
	for _, bad := range []string{"", "00000000", "0000000A", "000000001", "+0000001"} {
		if id, err := ParseMessageID(bad); err == nil {
			t.Errorf("ParseMessageID(%q) = %v", bad, id)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	text, err := full().AppendText(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(1<<32+1, text); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzParse: what is read can be written, and is the same when it is read again.
func FuzzParse(f *testing.F) {
	text, err := full().AppendText(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(least))
	f.Add([]byte(least + "errorline: a\xffb \u0085 c\nflags: tls tls new\n"))
	f.Add([]byte(least + "helo: a\x00b\n"))
	f.Add([]byte(least + "x-later: a\nX: b: c\n"))
	f.Add([]byte(least + "esc-class: 0\nesc-code: 5\nbounce-type: failed\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := Parse(1<<32+1, text)
		if err != nil {
			return
		}
		for _, c := range text {
			if c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
				t.Fatalf("control character %#x was accepted", c)
			}
		}
		v := reflect.ValueOf(e).Elem()
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Other" && v.Field(i).Kind() == reflect.String && strings.ContainsFunc(v.Field(i).String(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("control character in %s", v.Type().Field(i).Name)
			}
		}
		first, err := e.AppendText(nil)
		if err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		again, err := Parse(e.ID, first)
		if err != nil {
			t.Fatalf("cannot be read again: %v\n%s", err, first)
		}
		second, err := again.AppendText(nil)
		if err != nil || string(first) != string(second) {
			t.Fatalf("became another: %v\n%s\n%s", err, first, second)
		}
	})
}
