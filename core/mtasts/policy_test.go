package mtasts

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"

func TestParsePolicy(t *testing.T) {
	week := 604800 * time.Second
	tests := []struct {
		text string
		want string
	}{
		{good, "enforce 168h0m0s [mail.example.com *.example.net]"},
		{strings.ReplaceAll(good, "\r\n", "\n"), "enforce 168h0m0s [mail.example.com *.example.net]"},
		{strings.TrimRight(good, "\r\n"), "enforce 168h0m0s [mail.example.com *.example.net]"},
		{"version:STSv1\nmode:testing\nmx:A.Example.\nmax_age:604800", "testing 168h0m0s [a.example]"},
		{"max_age: 604800\nmx: a.example\nmode: testing\nversion: STSv1\n", "testing 168h0m0s [a.example]"},
		{"version: STSv1\nmode: none\nmax_age: 604800\n", "none 168h0m0s []"},
		{good + "\r\nunknown: x\r\n", "enforce 168h0m0s [mail.example.com *.example.net]"},
		{good + "mode: none\nmax_age: 1\n", "enforce 168h0m0s [mail.example.com *.example.net]"},
		{strings.Replace(good, "604800", "31557600", 1), "enforce 8766h0m0s [mail.example.com *.example.net]"},
		{strings.Replace(good, "604800", "9999999999", 1), "enforce 8766h0m0s [mail.example.com *.example.net]"},
		{strings.Replace(good, "604800", "0", 1), "enforce 5m0s [mail.example.com *.example.net]"},
		{strings.Replace(good, "604800", "99999999999", 1), errMaxAge.Error()},
		{strings.Replace(good, "604800", "-1", 1), errMaxAge.Error()},
		{strings.Replace(good, "604800", "", 1), errMaxAge.Error()},
		{strings.Replace(good, "max_age", "maxage", 1), errMaxAge.Error()},
		{strings.Replace(good, "STSv1", "STSv2", 1), errVersion.Error()},
		{"", errVersion.Error()},
		{"<html>", errSyntax.Error()},
		{strings.Replace(good, "enforce", "Enforce", 1), errMode.Error()},
		{strings.Replace(good, "enforce", "", 1), errMode.Error()},
		{strings.Replace(good, "mail.example.com", "mail example.com", 1), errMX.Error()},
		{strings.Replace(good, "mail.example.com", "*", 1), errMX.Error()},
		{strings.Replace(good, "mail.example.com", "a.*.example.com", 1), errMX.Error()},
		{"version: STSv1\nmode: enforce\nmax_age: 604800\n", errMX.Error()},
		{good + strings.Repeat("mx: a.example\n", maxMX), errMX.Error()},
		{good + strings.Repeat("mx: "+strings.Repeat("a.", 120)+"example\n", 30), errMX.Error()},
		{good + strings.Repeat("x", maxPolicy), errSize.Error()},
	}
	for _, tt := range tests {
		p, err := ParsePolicy([]byte(tt.text))
		got := fmt.Sprintf("%s %s %v", p.Mode, p.MaxAge, p.MX)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%.200q: %s, want %s", tt.text, got, tt.want)
		}
	}
	if p, _ := ParsePolicy([]byte(good)); p.MaxAge != week {
		t.Error(p.MaxAge)
	}
}

func TestAllows(t *testing.T) {
	p := Policy{MX: []string{"mail.example.com", "*.example.net"}}
	for host, want := range map[string]bool{"mail.example.com": true, "MAIL.example.com.": true, "a.mail.example.com": false,
		"example.com": false, "mx1.example.net": true, "a.b.example.net": false, "example.net": false, "net": false, "": false,
		"mail.example.com.evil.example": false, "xexample.net": false} {
		if got := p.Allows(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func TestParseRecord(t *testing.T) {
	tests := []struct {
		records []string
		id      string // "": no policy
	}{
		{[]string{"v=STSv1; id=20160831085700Z;"}, "20160831085700Z"},
		{[]string{"v=STSv1;id=a"}, "a"},
		{[]string{"v=STSv1 ; more=x; id = a ; id=b"}, "a"},
		{[]string{"v=spf1 -all", "v=STSv1; id=a;"}, "a"},
		{[]string{"v=STSv1; id=a;", "v=STSv1; id=b;"}, ""},
		{[]string{"v=STSv1; id=a;", "v=STSv1;"}, ""},
		{[]string{"v=STSv1"}, ""},
		{[]string{"v=STSv1;"}, ""},
		{[]string{"v=STSv1; id=;"}, ""},
		{[]string{"v=STSv1; id=a b;"}, ""},
		{[]string{"v=STSv1; id=" + strings.Repeat("a", 33)}, ""},
		{[]string{"v=STSv10; id=a"}, ""},
		{[]string{" v=STSv1; id=a"}, ""},
		{[]string{"id=a; v=STSv1"}, ""},
		{nil, ""},
	}
	for _, tt := range tests {
		if id, ok := ParseRecord(tt.records); ok != (tt.id != "") || ok && id != tt.id {
			t.Errorf("%q: %q %t", tt.records, id, ok)
		}
	}
}

func FuzzParsePolicy(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("version: STSv1\nmode: none\nmax_age: 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePolicy(text)
		if err != nil {
			return
		}
		if len(p.MX) > maxMX || p.MaxAge > maxMaxAge || p.MaxAge < minMaxAge {
			t.Errorf("%+v", p)
		}
		e := entry{Policy: p, id: "a", fetched: time.Unix(1, 0)}
		a, b := &memory{}, &memory{}
		if err := NewStore(a, b).save(map[string]entry{"example.com": e}); err != nil {
			t.Fatal(err)
		}
		back, err := NewStore(a, b).load()
		if err != nil || back["example.com"] == nil || fmt.Sprint(back["example.com"].Policy) != fmt.Sprint(p) {
			t.Errorf("%+v became %+v, %v", p, back["example.com"], err)
		}
		p.Allows("mx.example.com")
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=STSv1; id=20160831085700Z;")
	f.Fuzz(func(t *testing.T, record string) {
		if id, ok := ParseRecord([]string{record}); ok && !validID(id) {
			t.Errorf("%q", id)
		}
	})
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nx"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if body, err := readReply(bytes.NewReader(b)); err == nil && len(body) > maxPolicy {
			t.Error("too large")
		}
	})
}

func FuzzStored(f *testing.F) {
	f.Add([]byte("example.com a 1 1 enforce a.example,*.b.example\nx.example b 1 1 none \n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		for domain, e := range parseEntries(body) {
			if domain == "" || len(e.MX) > maxMX || e.MaxAge > maxMaxAge {
				t.Errorf("%q %+v", domain, e)
			}
		}
	})
}
