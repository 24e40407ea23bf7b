package proxy

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 makes a header of version 2.
func v2(command, family byte, body string) string {
	return signature + string([]byte{0x20 | command, family, byte(len(body) >> 8), byte(len(body))}) + body
}

const (
	four = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x01\x02\x00\x19"
	six  = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\xff\xfe\x00\x19"
)

func TestRead(t *testing.T) {
	mapped := strings.Repeat("\x00", 10) + "\xff\xff\xc0\x00\x02\x01" + strings.Repeat("\x00", 16) + "\x00\x07\x00\x19"
	unix := "/run/socket" + strings.Repeat("\x00", 205)
	for _, tt := range []struct {
		name, in string
		version  int
		local    bool
		source   string // "": not valid
	}{
		{"v1 TCP4", "PROXY TCP4 192.0.2.1 198.51.100.2 258 25\r\n", 1, false, "192.0.2.1:258"},
		{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n", 1, false, "[2001:db8::1]:65535"},
		{"v1 mapped", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", 1, false, "192.0.2.1:1"},
		{"v1 longest", "PROXY TCP6 " + strings.Repeat("ffff:", 7) + "ffff " + strings.Repeat("ffff:", 7) + "ffff 65535 65535\r\n", 1, false,
			"[" + strings.Repeat("ffff:", 7) + "ffff]:65535"},
		{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", 1, false, ""},
		{"v1 UNKNOWN with more", "PROXY UNKNOWN 127.0.0.1 what ever\r\n", 1, false, ""},
		{"v2 TCP4", v2(1, tcp4, four), 2, false, "192.0.2.1:258"},
		{"v2 TCP6", v2(1, tcp6, six), 2, false, "[2001:db8::1]:65534"},
		{"v2 mapped", v2(1, tcp6, mapped), 2, false, "192.0.2.1:7"},
		{"v2 unix", v2(1, unixStream, unix), 2, false, ""},
		{"v2 unspecified", v2(1, unspecified, ""), 2, false, ""},
		{"v2 unspecified with more", v2(1, unspecified, four), 2, false, ""},
		{"v2 with TLVs", v2(1, tcp4, four+"\x04\x00\x02xx\x01\xff\xffshort"), 2, false, "192.0.2.1:258"},
		{"v2 longest", v2(1, tcp4, four+strings.Repeat("x", maxHeader-16-len(four))), 2, false, "192.0.2.1:258"},
		{"v2 local", v2(0, unspecified, ""), 2, true, ""},
		{"v2 local with addresses", v2(0, tcp4, four), 2, true, ""},
		{"v2 local of no family", v2(0, 0xff, "anything"), 2, true, ""},
	} {
		for name, r := range map[string]io.Reader{
			"whole":  strings.NewReader(tt.in + "EHLO"),
			"octets": iotest.OneByteReader(strings.NewReader(tt.in + "EHLO")),
			"late":   iotest.DataErrReader(strings.NewReader(tt.in + "EHLO")),
		} {
			h, err := Read(r)
			if err != nil || h.Version != tt.version || h.Local != tt.local {
				t.Errorf("%s, %s: %+v, %v", tt.name, name, h, err)
				continue
			}
			if h.Source.IsValid() != (tt.source != "") || tt.source != "" && h.Source != netip.MustParseAddrPort(tt.source) {
				t.Errorf("%s, %s: source %v, want %s", tt.name, name, h.Source, tt.source)
			}
			if rest, err := io.ReadAll(r); string(rest) != "EHLO" || err != nil {
				t.Errorf("%s, %s: rest %q, %v", tt.name, name, rest, err)
			}
		}
	}
}

func TestReadBad(t *testing.T) {
	const ended = "EOF"
	for in, want := range map[string]string{
		"":                                   ended,
		"EHLO client.test\r\n":               errNone.Error(),
		"EHLO x\r\n":                         errNone.Error(),
		"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n": errNone.Error(),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00": errNone.Error(),
		signature[:11] + "\r":                              errNone.Error(),
		signature:                                          ended,
		signature[:5]:                                      ended,
		"PROXY":                                            ended,
		"PROXY TCP4 1.2.3.4":                               ended,
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n":                 "without its end",
		"PROXY UNKNOWN\n":                                  "without its end",
		"PROXY UNKNOWN" + strings.Repeat(" ", maxLine):             "without its end",
		"PROXY UNKNOWN" + strings.Repeat(" ", maxLine-14) + "\r\n": "without its end",
		"PROXY UNKNOWNX\r\n":                     "not of the form",
		"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n":    "not of the form",
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n":    "not of the form",
		"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n":       "not of the form",
		"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n":     "not of the form",
		"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n":    "no TCP4 address",
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n": "no TCP4 address",
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 +1\r\n":    "no TCP4 address",
		"PROXY TCP4 1.2.3.4 1.2.3.4 1 -1\r\n":    "no TCP4 address",
		"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n":       "no TCP4 address",
		"PROXY TCP4 ::1 ::1 1 1\r\n":             "no TCP4 address",
		"PROXY TCP6 1.2.3.4 ::1 1 1\r\n":         "no TCP6 address",
		"PROXY TCP6 fe80::1%lo ::1 1 1\r\n":      "no TCP6 address",
		"PROXY TCP4 1.2.3.4 1.2.3.4\x00 1 1\r\n": "no TCP4 address",
		signature + "\x11\x11\x00\x0c" + four:    "version 1",
		signature + "\x22\x11\x00\x0c" + four:    "unknown command 2",
		v2(1, tcp4, four[:11]):                   "11 octets for addresses of 12",
		v2(1, tcp6, four):                        "12 octets for addresses of 36",
		v2(1, unixStream, six):                   "36 octets for addresses of 216",
		v2(1, 0x12, four):                        "0x12",
		v2(1, 0x10, four):                        "0x10",
		v2(1, 0x41, four):                        "0x41",
		v2(1, tcp4, four)[:20]:                   ended,
		v2(1, tcp4, four+"more")[:30]:            ended,
		v2(0, tcp4, four)[:20]:                   ended,
	} {
		if h, err := Read(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %+v, %v, want %s", in, h, err, want)
		}
	}
	broken := errors.New("broken")
	for _, in := range []string{"", "PROXY TCP4 1", v2(1, tcp4, four)[:14], v2(1, tcp4, four)[:20], v2(0, 0, "some")[:18]} {
		if _, err := Read(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))); !errors.Is(err, broken) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzRead: the same however it arrives, never an octet too far, and what version 1 takes
// can be written again.
func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 198.51.100.2 258 25\r\nEHLO x\r\n"))
	f.Add([]byte("PROXY TCP6 2001:db8::1 2001:db8::2 258 25\r\n"))
	f.Add([]byte("PROXY UNKNOWN x\r\n"))
	f.Add([]byte(v2(1, tcp4, four) + "EHLO x\r\n"))
	f.Add([]byte(v2(1, tcp6, six+"\x04\x00\x01x")))
	f.Add([]byte(v2(0, unspecified, "")))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole := bytes.NewReader(in)
		h, err := Read(whole)
		slow := bytes.NewReader(in)
		h2, err2 := Read(iotest.OneByteReader(slow))
		if h != h2 || (err == nil) != (err2 == nil) || err == nil && whole.Len() != slow.Len() {
			t.Fatalf("%+v, %v, %d left; octet by octet %+v, %v, %d left", h, err, whole.Len(), h2, err2, slow.Len())
		}
		if err != nil {
			return
		}
		used := in[:len(in)-whole.Len()]
		most := maxHeader
		if h.Version == 1 {
			most = maxLine
		}
		if len(used) > most || h.Local && h.Source.IsValid() {
			t.Fatalf("%+v of %d octets", h, len(used))
		}
		if cut := used[:len(used)-1]; len(cut) > 0 {
			if _, err := Read(bytes.NewReader(cut)); err == nil {
				t.Fatalf("without its last octet it is taken: %q", cut)
			}
		}
	})
}
