package message

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestScan(t *testing.T) {
	received := strings.Repeat("rEcEiVeD: from a by b; x\n", MaxReceived-1)
	for _, v := range []struct {
		name, in string
		want     Header
		err      error
	}{
		{"plain", "Subject: r\nFrom: a@b\n\nbody\n", Header{Len: 21, Complete: true, HasFrom: true}, nil},
		{"all", "date: x\nMESSAGE-ID : y\nBcc: z\nFrom:\n\n", Header{Len: 36, Complete: true, HasDate: true,
			HasMessageID: true, HasFrom: true}, nil},
		{"TLS-Required", "tls-required : nO\t\n\nTLS-Required: x\n", Header{Len: 19, Complete: true, TLSOptional: true}, nil},
		{"TLS-Required otherwise", "TLS-Required: No, no\nX-TLS-Required: No\n\n", Header{Len: 40, Complete: true}, nil},
		{"empty", "", Header{Complete: true}, nil},
		{"blank first", "\nbody\n", Header{Complete: true}, nil},
		{"headers only", "Subject: r\n", Header{Len: 11, Complete: true}, nil},
		{"no line end", "Subject: r", Header{Len: 10, Complete: true}, nil},
		{"folded", "Subject: a\n b\n\tc\n \n d\n\nDate: body\n", Header{Len: 22, Complete: true}, nil},
		{"8bit", "Subject: \xe9\xff\n\n", Header{Len: 12, Complete: true}, nil},
		{"no headers", "just a body line\nanother\n", Header{}, ErrFormat},
		{"no colon", "Subject: a\nthis is no header\nX-B: c\n\n", Header{Len: 11}, ErrFormat},
		{"leading space", " Leading: space\nSubject: x\n\n", Header{}, ErrFormat},
		{"blank in name", "From me: x\n\n", Header{}, ErrFormat},
		{"empty name", ": x\n\n", Header{}, ErrFormat},
		{"99 Received", received + "\n", Header{Len: len(received), Complete: true, Received: 99}, nil},
		{"100 Received", received + "Received: x\n", Header{Len: len(received), Received: 100}, ErrLoop},
	} {
		h, err := Scan([]byte(v.in), true)
		if h != v.want || !errors.Is(err, v.err) {
			t.Errorf("%s: %+v, %v", v.name, h, err)
		}
	}
}

func TestScanPart(t *testing.T) {
	h, err := Scan([]byte("Subject: r\nFrom: a"), false)
	if err != nil || h.Complete || h.Len != 11 || h.HasFrom {
		t.Errorf("%+v, %v", h, err)
	}
	if h, err = Scan([]byte("Subject: r\n\n"), false); err != nil || !h.Complete {
		t.Errorf("%+v, %v", h, err)
	}
}

var sent = time.Date(2026, 11, 3, 12, 44, 35, 0, time.UTC)

func TestReceived(t *testing.T) {
	base := Received{Helo: "client.example.net", Host: "client.example.net", Addr: "127.0.0.10", By: "mx1.example.org",
		Ident: "Godwit", ESMTP: true, ID: "7654331f", For: "alice@example.org", Date: sent}
	for _, v := range []struct {
		name string
		set  func(*Received)
		want string
	}{
		{"plain", func(r *Received) {}, "Received: from client.example.net (client.example.net [127.0.0.10])\n" +
			"\tby mx1.example.org (Godwit) with ESMTP id 7654331f\n\tfor <alice@example.org>;\n\tTue, 3 Nov 2026 12:44:35 +0000 (UTC)\n"},
		{"helo, v6, two recipients", func(r *Received) {
			r.Helo, r.Host, r.Addr, r.ESMTP, r.For = "[IPv6:::1]", "<unknown>", "[::1]", false, ""
		}, "Received: from [IPv6:::1] (<unknown> [::1])\n\tby mx1.example.org (Godwit) with SMTP id 7654331f;\n" +
			"\tTue, 3 Nov 2026 12:44:35 +0000 (UTC)\n"},
		{"tls", func(r *Received) { r.TLS, r.For = "TLSv1.3:TLS_AES_256_GCM_SHA384:256", "" },
			"Received: from client.example.net (client.example.net [127.0.0.10])\n\tby mx1.example.org (Godwit) with ESMTPS id 7654331f " +
				"(TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO);\n\tTue, 3 Nov 2026 12:44:35 +0000 (UTC)\n"},
		{"UTF-8", func(r *Received) { r.UTF8, r.TLS, r.Auth, r.For = true, "T", true, "" },
			"Received: from client.example.net (client.example.net [127.0.0.10])\n\tby mx1.example.org (Godwit) with UTF8SMTPSA id 7654331f " +
				"(T:NO);\n\tTue, 3 Nov 2026 12:44:35 +0000 (UTC)\n"},
		{"masked, authenticated", func(r *Received) {
			r.MaskSource, r.TLS, r.Auth, r.ShowAuth, r.User, r.Verified, r.For = true, "T", true, true, "ann", true, ""
		}, "Received: by mx1.example.org (Godwit) with ESMTPSA id 7654331f (T:YES) auth=yes user=ann;\n" +
			"\tTue, 3 Nov 2026 12:44:35 +0000 (UTC)\n"},
	} {
		r := base
		v.set(&r)
		if got := string(r.Append(nil)); got != v.want {
			t.Errorf("%s:\n%s", v.name, got)
		}
	}
}

func TestComplete(t *testing.T) {
	const added = "Date: Tue, 3 Nov 2026 12:44:35 +0000 (UTC)\nMessage-ID: <00000000deadbeef@mx1.example.org>\n"
	for _, v := range [][2]string{
		{"Subject: x\n\nbody\n", "Subject: x\n" + added},
		{"Subject: x", "Subject: x\n" + added},
		{"", added},
		{"\nbody\n", added},
		{"Date: x\nMessage-ID: y\n\n", "Date: x\nMessage-ID: y\n"},
		{"Bcc: a@b,\n c@d\nSubject: x\nbcc : e\n\nBcc: body\n", "Subject: x\n" + added},
		{"Bcc: a\n\tb", added},
	} {
		h, err := Scan([]byte(v[0]), true)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(Complete(nil, []byte(v[0]), h, "mx1.example.org", sent, 0xdeadbeef)); got != v[1] {
			t.Errorf("%q: %q", v[0], got)
		}
	}
}

// What comes out of Complete is a header section again, has what it lacked, and the fields
// that stay are unchanged.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"Subject: x\n\nbody", "Bcc: a\n b\nX: y", "\n", " x\n", "a\n", "From : x\n\t\n\n", "Date:\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := Scan(in, true)
		if part, perr := Scan(in, false); part.Len > h.Len || err == nil && perr != nil {
			t.Fatalf("%q: part %+v %v, whole %+v", in, part, perr, h)
		}
		if err != nil {
			return
		}
		if !h.Complete || h.Len > len(in) {
			t.Fatalf("%q: %+v", in, h)
		}
		out := Complete(nil, in, h, "h\nx", sent, 1)
		after, err := Scan(out, true)
		if err != nil || after.Len != len(out) || !after.HasDate || !after.HasMessageID || hasField(out, "Bcc") ||
			after.HasFrom != h.HasFrom || after.Received != h.Received {
			t.Fatalf("%q became %q: %+v, %v", in, out, after, err)
		}
		if again := Complete(nil, out, after, "h", sent, 2); !bytes.Equal(again, out) {
			t.Fatalf("%q became %q", out, again)
		}
	})
}

func FuzzReceived(f *testing.F) {
	f.Add("a\nb", "h\r", "[::1", "u\x00", "x>;\n")
	f.Fuzz(func(t *testing.T, helo, host, addr, user, to string) {
		r := Received{Helo: helo, Host: host, Addr: addr, By: "b", Ident: "i", TLS: "t", Auth: true, ShowAuth: true,
			User: user, ID: "1", For: to, Date: sent}
		b := r.Append(nil)
		h, err := Scan(b, true)
		if err != nil || h.Received != 1 || h.Len != len(b) || bytes.ContainsAny(b, "\r\x00") || len(b) > 8*maxWord {
			t.Fatalf("%q: %+v, %v", b, h, err)
		}
		if n := bytes.Count(b, []byte("\n")); n > 4 {
			t.Fatalf("%q has %d lines", b, n)
		}
	})
}

// hasField looks for a field in a header section.
func hasField(section []byte, name string) bool {
	for line := range bytes.Lines(section) {
		if line[0] != ' ' && line[0] != '\t' && is(fieldName(line), name) {
			return true
		}
	}
	return false
}
