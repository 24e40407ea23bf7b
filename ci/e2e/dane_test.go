package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Servers of the tests of TLS policies: Postfix with a certificate for *.dane.test, a sink
// without TLS, and one with a certificate of a stranger.
const (
	postfixHost = "127.0.0.2"
	clearHost   = "127.0.0.3"
	foreignHost = "127.0.0.6"
)

// policyCase is a domain and what becomes of its mail.
type policyCase struct {
	domain string
	relay  string // options of the action, "" for none
	want   string // of the log: `result="Ok"`, or part of the reason of a failure
	logged string // somewhere else
}

// policyServers are those of the tests of TLS policies.
type policyServers struct {
	ca, stranger *authority
	cert         string // of Postfix, with that of the authority after it
	clear        *sink
	foreign      *sink
}

func newPolicyServers(t *testing.T, cases []policyCase) *policyServers {
	t.Helper()
	s := &policyServers{ca: newAuthority(t), stranger: newAuthority(t)}
	s.ca.trustedBySystem()
	cert, key := s.ca.issue(s.ca.dir, "*.dane.test")
	own, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := os.ReadFile(s.ca.cert)
	if err != nil {
		t.Fatal(err)
	}
	s.cert = write(t, filepath.Join(s.ca.dir, "chain.pem"), string(own)+string(issuer))
	var domains []string
	for _, c := range cases {
		domains = append(domains, c.domain)
	}
	startPostfix(t, "smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+s.cert, "smtpd_tls_key_file = "+key,
		"virtual_mailbox_domains = "+strings.Join(domains, ", "))
	s.clear = startSink(t, clearHost+":25", nil)
	s.foreign = startSink(t, foreignHost+":25", s.stranger.server("foreign.dane.test"))
	return s
}

// run sends a message to each domain and compares what becomes of it.
func runPolicies(t *testing.T, global string, cases []policyCase) *daemon {
	t.Helper()
	var conf strings.Builder
	// All domains have the same few servers, and connections that wait for more mail count.
	conf.WriteString(global + "\nlisten on 127.0.0.1\nmta limit max-conn-per-host 100 max-conn-per-route 100\n")
	for i, c := range cases {
		fmt.Fprintf(&conf, "action \"a%d\" relay %s\nmatch for domain %q action \"a%d\"\n", i, c.relay, c.domain, i)
	}
	d := newDaemon(t, conf.String())
	d.args = []string{"-v"}
	d.start()
	for _, c := range cases {
		submit(t, tester, "u@"+c.domain, "Subject: policy\n\nHello.\n")
	}
	for _, c := range cases {
		line := ""
		if !within(time.Minute, func() bool { line = d.line("mta delivery", "to=<u@"+c.domain+">"); return line != "" }) {
			t.Errorf("%s: nothing became of it", c.domain)
			continue
		}
		if !strings.Contains(line, c.want) || c.want != `result="Ok"` && !strings.Contains(line, `result="TempFail"`) {
			t.Errorf("%s: want %s:\n%s", c.domain, c.want, line)
		}
		if c.logged != "" && d.line(strings.Split(c.logged, " & ")...) == "" {
			t.Errorf("%s: not in the log: %s", c.domain, c.logged)
		}
	}
	if t.Failed() {
		t.Log(tail(d.logged(), 400))
	}
	return d
}

const ok = `result="Ok"`

// TestDANE relays to Postfix by the TLSA records of a signed zone.
func TestDANE(t *testing.T) {
	const noMatch = "DANE: TLS handshake failed: certificate not valid: certificate matches none of"
	cases := []policyCase{
		{domain: "right.dane.test", want: ok, logged: `policy=dane host=mx-right.dane.test & reason="1 TLSA records"`},
		{domain: "full.dane.test", want: ok, logged: `policy=dane host=mx-full.dane.test`},
		{domain: "sha512.dane.test", want: ok, logged: `policy=dane host=mx-sha512.dane.test`},
		{domain: "anchor.dane.test", want: ok, logged: `policy=dane host=mx-anchor.dane.test`},
		{domain: "name.deep.dane.test", want: "certificate has none of the names mx.deep.dane.test, name.deep.dane.test"},
		{domain: "anchorhop.dane.test", want: ok, logged: `policy=dane host=mx.deep.dane.test`},
		{domain: "wrong.dane.test", want: noMatch},
		{domain: "rollover.dane.test", want: ok, logged: `policy=dane host=mx-rollover.dane.test & reason="2 TLSA records"`},
		{domain: "missing.dane.test", want: ok, logged: `policy=none host=mx-missing.dane.test & no TLSA records`},
		{domain: "missingclear.dane.test", want: ok},
		{domain: "clear.dane.test", want: "DANE: TLS required but not supported by remote host"},
		{domain: "unusable.dane.test", want: ok, logged: `policy=dane-unusable host=mx-unusable.dane.test`},
		{domain: "unusableclear.dane.test", want: "DANE (TLSA records unusable): TLS required"},
		{domain: "unusabletls.dane.test", relay: `tls`, want: ok, logged: `policy=dane-unusable host=mx-unusable.dane.test`},
		{domain: "bogus.dane.test", want: "DANE: TLS policy unknown: TLSA records of bogus-tlsa.dane.test: Temporary failure in TLSA lookup: SERVFAIL"},
		{domain: "bogusaddr.dane.test", want: "SERVFAIL"},
		{domain: "wrong.plain.test", want: ok, logged: `policy=none host=mx-wrong.plain.test & MX records are not validated`},
		{domain: "leaves.dane.test", want: ok, logged: `policy=none host=mx-wrong.plain.test & is not validated`},
		{domain: "enters.plain.test", want: ok, logged: `policy=none host=mx-wrong.dane.test & MX records are not validated`},
		{domain: "alias.dane.test", want: ok, logged: `policy=dane host=alias-mx.dane.test`},
		{domain: "aliaswrong.dane.test", want: noMatch},
		{domain: "aliasout.dane.test", want: noMatch},
		{domain: "second.dane.test", want: ok, logged: `policy=dane host=mx-right.dane.test`},
		{domain: "implicit.dane.test", want: ok, logged: `policy=dane host=implicit.dane.test`},
		{domain: "implicitwrong.dane.test", want: noMatch},
		{domain: "host.dane.test", relay: `host "smtp://mx-wrong.dane.test"`, want: noMatch},
		{domain: "hostright.dane.test", relay: `host "smtp://mx-right.dane.test"`, want: ok},
		{domain: "hosttls.dane.test", relay: `host "smtp+tls://mx-wrong.dane.test"`, want: ok}, // the authorities decide
		{domain: "exception.dane.test", relay: `tls no-verify`, want: ok},
		{domain: "may.dane.test", want: ok}, // by the table
		{domain: "sub.only.dane.test", want: "tls-policy dane: no TLSA records that can be used: no TLSA records of mx-missing.dane.test"},
		{domain: "encrypt.dane.test", want: "tls-policy encrypt: TLS required"},
		{domain: "verify.plain.test", want: ok, logged: `policy=secure host=mx-missing.dane.test`},
		{domain: "ownca.dane.test", relay: `tls ca stranger`, want: ok}, // DANE in place of authorities
	}
	s := newPolicyServers(t, cases)
	ee, wrong := tlsa(t, s.cert, 3, 1, 1), tlsa(t, s.ca.cert, 3, 1, 1)
	zone := strings.NewReplacer("EE", ee, "FULL", tlsa(t, s.cert, 3, 0, 0), "SHA512", tlsa(t, s.cert, 3, 0, 2), "ANCHOR", tlsa(t, s.ca.cert, 2, 1, 1),
		"WRONG", wrong, "UNUSABLE", tlsa(t, s.cert, 1, 1, 1), "POSTFIX", "A "+postfixHost, "CLEAR", "A "+clearHost, "FOREIGN", "A "+foreignHost)
	startSigned(t, zone.Replace(daneZone), zone.Replace(danePlain))
	d := runPolicies(t, fmt.Sprintf("mta dane\nmta tls-policy { may.dane.test = may, \"*.only.dane.test\" = dane, encrypt.dane.test = encrypt, verify.plain.test = secure }\nca stranger cert %q", s.stranger.cert), cases)
	if n := len(s.foreign.take()); n != 0 {
		t.Errorf("the stranger got %d messages", n)
	}
	if got := s.clear.take(); len(got) != 1 {
		t.Errorf("%d messages in clear, want the one to missingclear", len(got))
	}
	if out, err := d.ctl("show", "relays"); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	d.stop()
	t.Run("not asked for", func(t *testing.T) {
		runPolicies(t, "", []policyCase{{domain: "wrong.dane.test", want: ok}, {domain: "bogus.dane.test", want: ok}})
	})
	t.Run("not trusted", func(t *testing.T) {
		runPolicies(t, "mta dane 192.0.2.1", []policyCase{{domain: "wrong.dane.test", want: ok,
			logged: "dns: none of the name servers is trusted to validate, such as 127.0.0.1"}})
	})
}

const daneZone = `
right MX 10 mx-right
mx-right POSTFIX
_25._tcp.mx-right EE
full MX 10 mx-full
mx-full POSTFIX
_25._tcp.mx-full FULL
sha512 MX 10 mx-sha512
mx-sha512 POSTFIX
_25._tcp.mx-sha512 SHA512
anchor MX 10 mx-anchor
mx-anchor POSTFIX
_25._tcp.mx-anchor ANCHOR
name.deep MX 10 mx.deep
anchorhop MX 10 mx.deep
mx.deep POSTFIX
_25._tcp.mx.deep ANCHOR
wrong MX 10 mx-wrong
mx-wrong POSTFIX
_25._tcp.mx-wrong WRONG
rollover MX 10 mx-rollover
mx-rollover POSTFIX
_25._tcp.mx-rollover WRONG
_25._tcp.mx-rollover EE
missing MX 10 mx-missing
mx-missing POSTFIX
missingclear MX 10 mx-missingclear
mx-missingclear CLEAR
clear MX 10 mx-clear
mx-clear CLEAR
_25._tcp.mx-clear EE
unusable MX 10 mx-unusable
unusabletls MX 10 mx-unusable
mx-unusable POSTFIX
_25._tcp.mx-unusable UNUSABLE
unusableclear MX 10 mx-unusableclear
mx-unusableclear CLEAR
_25._tcp.mx-unusableclear UNUSABLE
bogus MX 10 bogus-tlsa
bogus-tlsa POSTFIX
_25._tcp.bogus-tlsa EE
bogusaddr MX 10 bogus-addr
bogus-addr POSTFIX
leaves MX 10 mx-wrong.plain.test.
alias MX 10 alias-mx
alias-mx CNAME mx-right
aliaswrong MX 10 alias-wrong
alias-wrong CNAME mx-wrong
_25._tcp.alias-wrong EE
aliasout MX 10 alias-out
alias-out CNAME mx-wrong.plain.test.
_25._tcp.alias-out WRONG
second MX 10 mx-foreign
second MX 20 mx-right
mx-foreign FOREIGN
_25._tcp.mx-foreign EE
implicit POSTFIX
_25._tcp.implicit EE
implicitwrong POSTFIX
_25._tcp.implicitwrong WRONG
exception MX 10 mx-wrong
may MX 10 mx-wrong
sub.only MX 10 mx-missing
encrypt MX 10 mx-missingclear
ownca MX 10 mx-right
`

const danePlain = `
wrong MX 10 mx-wrong
mx-wrong POSTFIX
_25._tcp.mx-wrong WRONG
enters MX 10 mx-wrong.dane.test.
verify MX 10 mx-missing.dane.test.
`
