package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestServerNames: the client of OpenSSL gets the certificate for the name that it asks for.
func TestServerNames(t *testing.T) {
	ca := newAuthority(t)
	conf, options := "", ""
	for _, name := range []string{"mx.godwit.test", "*.wild.test", "mail.other.test"} {
		cert, key := ca.issue(ca.dir, name)
		pki := strings.Replace(name, "*", "star", 1)
		conf += fmt.Sprintf("pki %s cert %q key %q\n", pki, cert, key)
		options += " pki " + pki
	}
	conf += "listen on 127.0.0.1 tls" + options + "\nlisten on 127.0.0.1 port 465 smtps" + options +
		"\naction \"local\" maildir\nmatch from any for any action \"local\"\n"
	start(t, conf)
	for asked, got := range map[string]string{"mx.godwit.test": "mx.godwit.test", "a.wild.test": "a.wild.test", "mail.other.test": "mail.other.test",
		"nobody.test": "mx.godwit.test", "wild.test": "mx.godwit.test", "a.b.wild.test": "mx.godwit.test", "": "mx.godwit.test"} {
		name := []string{"-servername", asked}
		if asked == "" {
			name = []string{"-noservername"}
		}
		args := append(name, "-CAfile", ca.cert, "-verify_hostname", got, "-connect")
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			c, said := sClient(t, append(args, "127.0.0.1:465", version)...)
			if reply, err := c.read(); !strings.HasPrefix(reply, "220") {
				t.Errorf("%q with smtps and %s: %q, %v\n%s", asked, version, reply, err, said())
			}
			c, said = sClient(t, append(args, "127.0.0.1:25", "-starttls", "smtp", version)...)
			c.send("EHLO client.test\r\n")
			if reply, err := c.read(); !strings.HasPrefix(reply, "250") {
				t.Errorf("%q with STARTTLS and %s: %q, %v\n%s", asked, version, reply, err, said())
			}
		}
	}
}

// TestVersionsAndCiphers: what a listener has, in the words of libtls and of OpenSSL, is
// what the client of OpenSSL can use of it.
func TestVersionsAndCiphers(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	listeners := []struct {
		options string
		good    []string // options of s_client with which it gets in
		bad     []string
	}{
		{`protocols "tlsv1.2"`, []string{"-tls1_2"}, []string{"-tls1_3", "-tls1_1"}},
		{`protocols "TLSv1.3"`, []string{"-tls1_3"}, []string{"-tls1_2"}},
		{`protocols "all:!tlsv1.2"`, []string{"-tls1_3"}, []string{"-tls1_2"}},
		{`protocols "secure"`, []string{"-tls1_2", "-tls1_3"}, []string{"-tls1_1"}},
		{`ciphers "secure"`, []string{"-tls1_2", "-tls1_3", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"}, nil},
		{`ciphers "compat" protocols "default"`, []string{"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384"}, nil},
		{`ciphers "legacy"`, []string{"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305"}, nil},
		{`ciphers "insecure"`, []string{"-tls1_2"}, nil},
		{`ciphers "ECDHE-ECDSA-AES256-GCM-SHA384"`, []string{"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "-tls1_3"},
			[]string{"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"}},
		{`ciphers "ECDHE+AESGCM:DHE+AESGCM"`, []string{"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"},
			[]string{"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"}},
		{`ciphers "HIGH:!CHACHA20:!SHA1"`, []string{"-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"},
			[]string{"-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA"}},
	}
	conf := fmt.Sprintf("pki mx.godwit.test cert %q key %q\nlisten on 127.0.0.1\n", cert, key)
	for i, l := range listeners {
		conf += fmt.Sprintf("listen on 127.0.0.1 port %d smtps pki mx.godwit.test %s\n", 4650+i, l.options)
	}
	start(t, conf+"action \"local\" maildir\nmatch from any for any action \"local\"\n")
	for i, l := range listeners {
		try := func(options string) (string, string) {
			args := append(strings.Fields(options), "-CAfile", ca.cert, "-connect", fmt.Sprintf("127.0.0.1:%d", 4650+i))
			c, said := sClient(t, args...)
			reply, _ := c.read()
			return reply, said()
		}
		for _, options := range l.good {
			if reply, said := try(options); !strings.HasPrefix(reply, "220") {
				t.Errorf("%s: s_client %s: %q\n%s", l.options, options, reply, said)
			}
		}
		for _, options := range l.bad {
			if reply, said := try(options); strings.HasPrefix(reply, "220") {
				t.Errorf("%s: s_client %s: gets in\n%s", l.options, options, said)
			}
		}
	}
}
