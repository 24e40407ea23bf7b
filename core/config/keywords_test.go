package config

import (
	"slices"
	"sort"
	"testing"
)

// everything uses each keyword in lines that are accepted.
const everything = `include "/part"
admd example.org
bounce warn-interval 1h
bounce limit max-per-sender 1 max-per-domain 1 max-total 1
bounce max-return-size 1K
bounce return-full any
ca corp cert "/ca"
pki mail.example.org cert "/c" key "/k" dhe none
mda limit max-session 50
mda wrapper w "/bin/w"
mta dane
mta dane "127.0.0.1" "::1"
mta sts
mta tls-report "Example" contact a@example.org sender b@example.org spread 1h
mta tls-policy { example.org = encrypt, "*" = may }
mta max-deferred 100
mta limit for domain example.org inet4
mta limit inet6
queue compression
queue encryption
queue max-body-memory 1M
queue schedule 5m, 1h
queue ttl 1d
scheduler limit max-schedule 10
smtp ciphers HIGH
smtp early-talkers log
smtp limit max-rcpt 10
smtp max-message-size 1M
smtp sub-addr-delim "+"
srs key x
srs key backup y
srs ttl 4d
table t { x }
table m { x = y }
proc p "/bin/p" user u group g chroot "/c" fail-open
filter a proc p
filter b proc-exec "/bin/b"
filter c chain { a, b }
filter d1 phase connect match fcrdns disconnect "550 x"
filter d2 phase helo match rdns report x
filter d3 phase ehlo match src regex <t> rewrite x
filter d4 phase data match helo <t> bypass
filter d5 phase commit match auth reject "550 x"
filter d6 phase mail-from match mail-from <t> junk
filter d7 phase rcpt-to match rcpt-to <t> junk
filter d8 phase auth match auth junk
listen on socket mask-src filter c
listen on lo port smtp inet4 tls-require verify pki mail.example.org ca corp auth-optional \
	ciphers HIGH protocols all received-auth proxy-v2 no-dsn tag x hostname h.example.org \
	hostnames <m> senders <m> masquerade normalize
listen on lo port smtps inet6 smtps pki mail.example.org auth
listen on lo tls pki mail.example.org
action a1 mbox alias <m>
action a2 maildir junk virtual <m> wrapper w
action a3 lmtp localhost rcpt-to userbase <m> schedule 5m, 1h ttl 1d
action a4 mda command user x
action a5 forward-only
action a6 expand-only
action a7 relay host x.example.org auth <m> tls no-verify
action a8 relay backup mx x.example.org helo h.example.org helo-src <m> src <t> srs mail-from y
action a9 relay domain <m>
match from any for any tag x action a1
match from local for local tls reject
match from socket for domain <t> reject
match from rdns reject
`

// wordsOf gives the keywords and the bare words of a text.
func wordsOf(text string) map[string]bool {
	words := map[string]bool{}
	var l lexer
	l.open("", []byte(text))
	for t := l.next(); t.kind != tEOF; t = l.next() {
		if (t.kind == tKeyword || t.kind == tString) && !t.quoted {
			words[t.text] = true
		}
	}
	return words
}

func TestKeywords(t *testing.T) {
	for _, list := range [][]string{
		reserved, reservedUnused, directives, smtpLimits, smtpTimeouts, mdaLimits, schedulerLimits, mtaLimits,
		dheModes, tableTypes, filterPhases, methods, schemes,
	} {
		if !sort.StringsAreSorted(list) {
			t.Errorf("not sorted: %v", list)
		}
	}
	_, _, err := Parse("smtpd.conf", []byte(everything), nil, includes(map[string]string{"/part": "\n"}), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	used := wordsOf(everything)
	for _, w := range reserved {
		if used[w] == contains(reservedUnused, w) {
			t.Errorf("%q: used %v, listed as unused %v", w, used[w], !used[w])
		}
	}
	for _, w := range contextual() {
		if isReserved(w) {
			t.Errorf("%q is reserved and not", w)
		}
	}
}

// TestUnsupported fixes that there is nothing in the language that is not carried out. What is refused are
// combinations and mistakes.
func TestUnsupported(t *testing.T) {
	rest := everything + `mda limit max-session-per-user 1 task-hiwat 1 task-lowat 1 task-release 1
mta limit reconn-delay-route 1 task-hiwat 1 task-lowat 1 task-release 1
scheduler limit max-evp-batch-size 1 max-msg-batch-size 1
pki x.example.org cert c key k dhe auto
pki y.example.org cert c key k dhe legacy
table d db:/x
table e ldap:/x
listen on lo smtps verify pki x.example.org filter c
match auth <t> reject
match from auth <t> reject
action aa relay host <t> filter c pki x.example.org ciphers HIGH protocols all
`
	cfg, _, err := Parse("smtpd.conf", []byte(rest), nil, includes(map[string]string{"/part": ""}), testEnv)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range cfg.Unsupported {
		t.Errorf("%+v", u)
	}
}

func TestSupported(t *testing.T) {
	cfg, _ := mustParse(t, `name = "x.example.org"
table t { a }
table m { a = b }
table f file:/etc/x
table g getpwnam
pki $name cert "/c" key "/k" dhe none
ca corp cert "/ca"
smtp max-message-size 10M
smtp limit max-rcpt 10 max-mails 20
smtp sub-addr-delim "-"
admd example.org
queue ttl 1d
bounce warn-interval 1h, 2h
mta limit for domain example.org inet4 max-conn-per-host 1
mda limit max-session 10
scheduler limit max-inflight 10
listen on lo inet4 port 25 tls pki $name hostname $name tag x mask-src no-dsn normalize ca corp
listen on lo inet6 tls-require pki $name
listen on lo smtps pki $name auth <m> hostnames <m> received-auth senders <m>
listen on lo tls pki $name auth
listen on lo tls pki $name auth-optional
listen on lo smtps pki $name auth-optional <m> senders <m> masquerade
listen on socket mask-src no-dsn tag y
action a1 mbox alias <m>
action a2 maildir virtual <m> userbase <g>
action a3 maildir "~/M" user x
action a4 lmtp localhost rcpt-to ttl 1h
action a5 mda "x"
action a6 forward-only
action a7 expand-only alias <f>
action b1 relay host smtp://x.example.org tls no-verify helo $name mail-from y ca corp src <t>
action b2 relay backup mx $name
action b3 relay src { 192.0.2.1, 2001:db8::1 }
match from any ! for local tag x ! helo regex "^x" mail-from <t> rcpt-to <m> tls auth action a1
match from socket for any action b1
match ! from src regex <t> for domain regex { "x$" } action b1
match from rdns <t> for domain <t> reject
match from auth for rcpt-to <t> action b1
match from auth <t> for any action b1
match auth <m> for any action b1
`)
	for _, u := range cfg.Unsupported {
		t.Errorf("%d: %s", u.Pos.Line, u.What)
	}
}

// TestUnsupportedPlace shows what a user reads.
func TestUnsupportedPlace(t *testing.T) {
	cfg, _ := mustParse(t, "filter f proc-exec x\n  action f relay host lmtp://x:24 filter f\n"+rule)
	want := []Unsupported{{Pos{"smtpd.conf", 2, 3}, `"filter" for a relay that speaks LMTP is not supported yet`, `  action f relay host lmtp://x:24 filter f`}}
	if !slices.Equal(cfg.Unsupported, want) {
		t.Errorf("got %v", cfg.Unsupported)
	}
}
