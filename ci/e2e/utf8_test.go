package e2e

import (
	_ "embed" // of the script
	"net/smtp"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/utf8.py
var utf8Script string

// TestUTF8: mail with addresses and headers in UTF-8 goes to Postfix and comes from it, whole or
// in chunks; when Postfix does not offer SMTPUTF8 its sender is told.
func TestUTF8(t *testing.T) {
	startDNS(t)
	p := startPostfix(t, "smtputf8_enable = yes")
	d := start(t, localConf+`
action "mx" relay
match from any for domain "postfix.test" action "mx"
`)
	box := newMaildir("alice")
	send := func(addr, sender, rcpt, subject string, more ...string) {
		t.Helper()
		command(t, python, append([]string{"-c", utf8Script, addr, sender, rcpt, subject}, more...)...)
	}
	check := func(text []byte, subject, sender, protocol string) {
		t.Helper()
		header, body := split(text)
		if field(header, "Subject") != subject || field(header, "Return-Path") != "<"+sender+">" || string(body) != ".\n..größe\n" ||
			!strings.Contains(string(header), " with "+protocol+" ") {
			t.Errorf("%s", text)
		}
	}
	send("127.0.0.1", "jürgen@client.test", "用户@postfix.test", "to größe")
	send("127.0.0.1", "jürgen@client.test", "用户@postfix.test", "to größe", "7")
	for _, text := range p.box.wait(t, 2, time.Minute) {
		check(text, "to größe", "jürgen@client.test", "UTF8SMTP")
	}
	send("127.0.0.2", "jürgen@client.test", "alice@godwit.test", "from größe")
	check(box.wait(t, 1, time.Minute)[0], "from größe", "jürgen@client.test", "UTF8SMTP")
	command(t, "postconf", "-e", "smtputf8_enable = no")
	command(t, "postfix", "reload")
	d.drained(startWait)
	d.stop() // it may hold a connection
	eventually(t, startWait, "Postfix is what it was before SMTPUTF8", func() bool { return !offers(postfixAddr, "SMTPUTF8") })
	d.start()
	send("127.0.0.1", "alice@godwit.test", "用户@postfix.test", "refused")
	notice := string(box.wait(t, 1, time.Minute)[0])
	for _, want := range []string{"Status: 5.6.7", `Final-Recipient: utf-8; \x{7528}\x{6237}@postfix.test`, "用户@postfix.test: SMTPUTF8 not supported"} {
		if !strings.Contains(notice, want) {
			t.Errorf("no %q in\n%s", want, notice)
		}
	}
}

// offers reports whether a server has an extension; true when it does not answer.
func offers(addr, extension string) bool {
	c, err := smtp.Dial(addr)
	if err != nil {
		return true
	}
	defer c.Close()
	if c.Hello("client.test") != nil {
		return true
	}
	ok, _ := c.Extension(extension)
	return ok
}
