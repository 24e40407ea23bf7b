package config

import (
	"errors"
	"testing"
)

// TestInterfaceWarnings: lines that have no effect, and names that only look odd.
func TestInterfaceWarnings(t *testing.T) {
	for _, tt := range []struct{ lines, want string }{
		{"listen on lo\nlisten on all", ""},
		{"listen on eth0:1\nlisten on eth0.100:1\nlisten on 127.1\nlisten on 192.0.02.1\nlisten on 1.2.3.300.example", ""},
		{"listen on ::\nlisten on 0.0.0.0\nlisten on fe80::1%em0\nlisten on localhost", ""},
		{"listen on lo\nlisten on lo port 587", ""},
		{"listen on lo inet4\nlisten on lo", ""},
		{"listen on lo inet4\nlisten on lo inet6", ""},
		{"listen on ::1 inet6\nlisten on 127.0.0.1 inet4", ""},
		{"listen on lo\nlisten on lo port 25 tag x",
			"smtpd.conf:2:1: warning: line 1 listens on lo port 25 already, this line has no effect: remove one"},
		{"listen on lo\nlisten on lo inet6",
			"smtpd.conf:2:1: warning: line 1 listens on lo port 25 already, this line has no effect: remove one"},
		{"listen on 127.0.0.1 inet6",
			`smtpd.conf:1:11: warning: 127.0.0.1 is no address of family inet6: remove the line or "inet6"`},
		{"listen on ::1 inet4",
			`smtpd.conf:1:11: warning: ::1 is no address of family inet4: remove the line or "inet4"`},
	} {
		_, warnings := mustParse(t, tt.lines+"\naction a relay\nmatch from local for any action a\n")
		got := ""
		for _, w := range warnings {
			got += w.String()
		}
		equal(t, tt.lines, got, tt.want)
	}
}

// TestInterfaceErrors: addresses that are surely wrong.
func TestInterfaceErrors(t *testing.T) {
	for _, tt := range []struct{ word, want string }{
		{`"[::1]"`, "[::1]: an address stands without brackets here: write ::1"},
		{"192.0.2.1:25", `192.0.2.1:25: the port stands apart: write the address and "port NUMBER"`},
		{`"[::1]:25"`, `[::1]:25: the port stands apart: write the address and "port NUMBER"`},
		{"192.0.2.0/24", "192.0.2.0/24 is a network: write an address or the name of an interface"},
		{"192.0.2.256", "invalid address 192.0.2.256: write four numbers up to 255"},
		{`""`, `"" is no interface: write its name, an address or a host name`},
	} {
		_, _, err := Parse("smtpd.conf", []byte("listen on "+tt.word+"\naction a relay\nmatch from local for any action a\n"), nil, nil, testEnv)
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Message != tt.want || errs[0].Pos.Column != 11 {
			t.Errorf("%s: got %v, want %s", tt.word, err, tt.want)
		}
	}
}
