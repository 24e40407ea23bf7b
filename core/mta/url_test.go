package mta

import "testing"

func TestParseURL(t *testing.T) {
	tests := []struct {
		in   string
		want URL
		ok   bool
	}{
		{"mail.example.com", URL{SMTP, "", "mail.example.com", 0}, true},
		{"Mail.Example.com:26", URL{SMTP, "", "mail.example.com", 26}, true},
		{"mail.example.com.:26", URL{SMTP, "", "mail.example.com", 26}, true},
		{"smtp://192.0.2.1", URL{SMTP, "", "192.0.2.1", 0}, true},
		{"smtp://[192.0.2.1]:2525", URL{SMTP, "", "192.0.2.1", 2525}, true},
		{"smtp://[2001:db8::1]:25", URL{SMTP, "", "2001:db8::1", 25}, true},
		{"smtp://[IPv6:2001:db8::1]", URL{SMTP, "", "2001:db8::1", 0}, true},
		{"SMTP+TLS://label@mail.example.com:587", URL{SMTPTLS, "label", "mail.example.com", 587}, true},
		{"smtps://la.bel@mail.example.com", URL{SMTPS, "la.bel", "mail.example.com", 0}, true},
		{"smtp+notls://localhost", URL{SMTPNoTLS, "", "localhost", 0}, true},
		{"lmtp://localhost:24", URL{LMTP, "", "localhost", 24}, true},
		{"tls://mail.example.com", URL{TLS, "", "mail.example.com", 0}, true},
		{"ssl://mail.example.com:587", URL{SSL, "", "mail.example.com", 587}, true},
		{"secure://mail.example.com", URL{SSL, "", "mail.example.com", 0}, true},
		{"tls+auth://mail.example.com", URL{TLSAuth, "", "mail.example.com", 0}, true},
		{"smtps+auth://label@mail.example.com", URL{SMTPSAuth, "label", "mail.example.com", 0}, true},
		{"SSL+AUTH://label@[2001:db8::1]", URL{SSLAuth, "label", "2001:db8::1", 0}, true},
		{"secure+auth://mail.example.com", URL{SSLAuth, "", "mail.example.com", 0}, true},
		{in: "smtp+auth://mail.example.com"}, {in: "lmtp+auth://mail.example.com:24"}, {in: "insecure://mail.example.com"},
		{in: "lmtp://localhost"},
		{"smtp://label@mail.example.com", URL{SMTPTLS, "label", "mail.example.com", 0}, true},
		{in: "smtp+notls://label@mail.example.com"},
		{in: "smtps://@mail.example.com"},
		{in: "smtps://a@b@mail.example.com"},
		{in: "smtps://a b@mail.example.com"},
		{in: ""}, {in: "smtp://"}, {in: "http://host"}, {in: "://host"}, {in: "smtp://:25"},
		{in: "host:"}, {in: "host:0"}, {in: "host:65536"}, {in: "host:+25"}, {in: "host:25:26"}, {in: "host/path"},
		{in: "[192.0.2.1"}, {in: "[host]"}, {in: "[fe80::1%eth0]"}, {in: "[::1]x"}, {in: "ho st"}, {in: "host\r\nQUIT"},
	}
	for _, tt := range tests {
		got, err := ParseURL(tt.in)
		if (err == nil) != tt.ok || got != tt.want {
			t.Errorf("%q: %+v %v", tt.in, got, err)
		}
	}
}

func TestKey(t *testing.T) {
	for in, want := range map[string]string{
		"smtps://a.example": "", "tls://a.example": "", "secure://a.example": "", "smtp+tls://l@a.example": "l",
		"tls+auth://A.example:587": "a.example", "smtps+auth://[::1]": "::1", "ssl+auth://l@a.example": "l",
	} {
		u, err := ParseURL(in)
		if err != nil || u.Key() != want {
			t.Errorf("%s: %q, %v", in, u.Key(), err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"smtp://a:1", "smtps://l@[::1]:2", "lmtp://h:3", "secure+auth://h", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURL(s)
		if err != nil {
			return
		}
		again, err := ParseURL(u.String())
		if err != nil || again != u {
			t.Errorf("%q: %+v becomes %+v, %v", s, u, again, err)
		}
	})
}
