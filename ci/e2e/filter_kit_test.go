package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
	"github.com/godwit-mta/godwit/compat/signals"
)

// withFile gives a message with an attached file.
func withFile(name string) string {
	return "Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n.text\r\n--b\r\n" +
		"Content-Disposition: attachment; filename=" + name + "\r\n\r\nx\r\n--b--\r\n"
}

// try sends a message and gives the first reply that is a refusal, or that to the message.
func try(t *testing.T, to, text string) (reply string) {
	t.Helper()
	c := dial(t, listen)
	defer c.conn.Close()
	text = strings.ReplaceAll(text, "\r\n.", "\r\n..")
	for _, line := range []string{"EHLO client.test", "MAIL FROM:<" + tester + ">", "RCPT TO:<" + to + ">", "DATA", text + "."} {
		if reply = c.say("%s", line); reply[0] > '3' {
			break
		}
	}
	return reply
}

// TestFilterKit runs the filters of ci/e2e/filters, which others take for examples, together.
func TestFilterKit(t *testing.T) {
	dns, err := testdns.Start("127.0.0.1:53", "9.0.0.127.bl.test. IN A 127.0.0.2\n1.0.0.127.other.test. IN A 127.0.0.2\n1.0.0.127.other.test. IN TXT \"try elsewhere\"\n")
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	conf := "filter lists proc-exec \"dnsbl -server 127.0.0.1:53 LISTS\"\nfilter files proc-exec \"attachments exe\"\n" +
		"listen on 127.0.0.1 filter { lists, files }\naction a maildir\nmatch from any for domain godwit.test action a\n"
	d := start(t, strings.ReplaceAll(conf, "LISTS", "bl.test none.test"))
	if got := try(t, "alice@godwit.test", withFile("a.exe")); got != "550 5.7.1 a file like a.exe is not wanted here\r\n" {
		t.Error(got)
	}
	if got := try(t, "alice@godwit.test", withFile("a.txt")); got[0] != '2' {
		t.Error(got)
	}
	d.drained(startWait)
	list := newMaildir("alice").take()
	if len(list) != 1 || !bytes.Contains(list[0], []byte("\nX-Attachments: 1\n\tseen by mx.godwit.test\n")) ||
		!bytes.Contains(list[0], []byte("\n.text\n")) {
		t.Errorf("alice has %q", list)
	}
	d.stop()
	d = start(t, strings.ReplaceAll(conf, "LISTS", "bl.test other.test"))
	if got := try(t, "alice@godwit.test", withFile("a.txt")); got != "550 5.7.1 127.0.0.1 is listed by other.test try elsewhere\r\n" {
		t.Error(got)
	}
	d.stop()
	d = start(t, strings.ReplaceAll(conf, "LISTS", "-junk other.test"))
	if got := try(t, "alice@godwit.test", withFile("a.txt")); got[0] != '2' {
		t.Error(got)
	}
	d.drained(startWait)
	if list := newMaildir("alice").take(); len(list) != 1 || !bytes.Contains(list[0], []byte("X-Spam: ")) {
		t.Errorf("alice has %q", list)
	}
}

// TestFilterOutgoing: a filter of a relay action decides about messages that leave. What it refuses comes back to
// the sender, what it changes is what arrives.
func TestFilterOutgoing(t *testing.T) {
	s := startSink(t, sinkAddr, nil)
	d := start(t, "filter files proc-exec \"attachments exe\"\nlisten on 127.0.0.1\naction out relay host "+sinkAddr+" filter files\n"+
		"action a maildir\nmatch from any for domain godwit.test action a\nmatch from any for any action out\n")
	for _, name := range []string{"a.exe", "a.txt"} {
		c := dial(t, listen)
		c.ask("250", "EHLO client.test")
		c.ask("250", "MAIL FROM:<alice@godwit.test>")
		c.ask("250", "RCPT TO:<joe@sink.test>")
		c.ask("250", "RCPT TO:<ann@sink.test>")
		c.ask("354", "DATA")
		c.ask("250", "%s.", strings.ReplaceAll(withFile(name), "\r\n.", "\r\n.."))
		c.ask("221", "QUIT")
	}
	d.drained(startWait)
	d.signal(signals.Hangup) // with filters of their own for what comes after
	d.waitLog("configuration reloaded")
	if got := try(t, "joe@sink.test", withFile("b.txt")); got[0] != '2' {
		t.Error(got)
	}
	d.drained(startWait)
	got := s.take()
	if len(got) != 2 || !bytes.HasPrefix(got[1].text, []byte("X-Attachments: 1\n")) || !bytes.HasPrefix(got[0].text, []byte("X-Attachments: 1\n\tseen by mx.godwit.test\nReceived: ")) ||
		!bytes.Contains(got[0].text, []byte("\n.text\n")) || len(got[0].to) != 2 {
		t.Errorf("the sink has %v", got)
	}
	d.waitLog(`result="PermFail"`, `stat="refused by a filter: 550 5.7.1 a file like a.exe is not wanted here"`)
	if list := newMaildir("alice").take(); len(list) != 1 || !bytes.Contains(list[0], []byte("a file like a.exe is not wanted here")) {
		t.Errorf("alice has %q", list)
	}
}
