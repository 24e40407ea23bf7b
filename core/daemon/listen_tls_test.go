package daemon

import (
	"crypto/tls"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// Versions and suites are those of the listener, the suites otherwise those of smtp ciphers.
func TestListenerTLSOptions(t *testing.T) {
	dir := t.TempDir()
	pool := makeCert(t, dir)
	for _, tt := range []struct{ ciphers, listener, logged string }{
		{"", "", `smtp tls ciphers=TLSv1.3:`},
		{"", `protocols "tlsv1.2" ciphers "ECDHE-ECDSA-AES256-GCM-SHA384"`, `smtp tls ciphers=TLSv1.2:TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:256`},
		{"ECDHE-ECDSA-AES128-SHA", `protocols "!tlsv1.3"`, `smtp tls ciphers=TLSv1.2:TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:128`},
		{"AES128-SHA", `protocols "tlsv1.2" ciphers "CHACHA20"`, `smtp tls ciphers=TLSv1.2:TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:256`},
	} {
		head := "pki mx.example.org cert \"" + dir + "/cert.pem\" key \"" + dir + "/key.pem\"\n"
		if tt.ciphers != "" {
			head += "smtp ciphers \"" + tt.ciphers + "\"\n"
		}
		l := start(t, head+`listen on 127.0.0.1 port PORT tls pki mx.example.org `+tt.listener+`
action "local" maildir userbase <people>
match from any for domain "example.org" action "local"
`)
		c, err := gosmtp.DialStartTLS(l.addr, &tls.Config{ServerName: "mx.example.org", RootCAs: pool})
		if err == nil {
			defer c.Close()
			err = c.Noop()
		}
		if err != nil {
			t.Errorf("%q %q: %v", tt.ciphers, tt.listener, err)
			continue
		}
		l.log.wait(t, 0, tt.logged)
	}
}
