package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestRecipientVectors: many recipients, one recipient many times and an empty message, in each way of
// sending, arrive behind Postfix and Exim once each.
func TestRecipientVectors(t *testing.T) {
	startDNS(t)
	boxes := map[string]*maildir{"postfix": startPostfix(t).box, "exim": startExim(t).box}
	d := start(t, vectorConf)
	for peer, box := range boxes {
		want := make(map[string]string)
		mail := func(name, way string, rcpts, refused int, address func(int) string) {
			id := fmt.Sprintf("%s-%s-%s", peer, name, way)
			var text strings.Builder
			fmt.Fprintf(&text, "EHLO client.test\r\nMAIL FROM:<%s>\r\n", tester)
			for i := range rcpts {
				fmt.Fprintf(&text, "RCPT TO:<%s@%s.test>\r\n", address(i), peer)
			}
			fmt.Fprintf(&text, "DATA\r\nSubject: %s\r\n\r\nx\r\n.\r\nQUIT\r\n", id)
			replies := sendVector(t, listen, text.String(), way)
			if n := strings.Count(replies, "\r\n452 4.5.3 "); n != refused || !strings.Contains(replies, "Message accepted") {
				t.Errorf("%s: %d refused, want %d: %.300q", id, n, refused, replies)
			}
			want[id] = "x\n"
		}
		for _, way := range []string{"write", "lines", "octets"} {
			mail("B13", way, 20, 0, func(int) string { return "box" })
		}
		mail("B13-1000", "write", 1000, 0, func(int) string { return "box" })
		replies := sendVector(t, listen, "EHLO client.test\r\nMAIL FROM:<>\r\nRCPT TO:<box@"+peer+".test>\r\nDATA\r\n.\r\nQUIT\r\n", "write") // B11
		if !strings.Contains(replies, "Message accepted") {
			t.Errorf("B11: %q", replies)
		}
		want[""] = ""
		d.drained(time.Minute)
		compareBodies(t, peer, box, want)
	}
	// B9
	var text strings.Builder
	fmt.Fprintf(&text, "EHLO client.test\r\nMAIL FROM:<%s>\r\n", tester)
	for i := range 1001 {
		fmt.Fprintf(&text, "RCPT TO:<alice+%d@godwit.test>\r\n", i)
	}
	replies := sendVector(t, listen, text.String()+"RSET\r\nQUIT\r\n", "write")
	if ok, more := strings.Count(replies, "250 2.1.5 "), strings.Count(replies, "452 4.5.3 "); ok != 1000 || more != 1 {
		t.Errorf("%d recipients taken, %d refused", ok, more)
	}
	d.alive()
}

// TestKeyUpdates: floods of KeyUpdate, and an attempt to renegotiate, end the session of who sends
// them, and nobody else's (S8).
func TestKeyUpdates(t *testing.T) {
	ca := newAuthority(t)
	d := startSecure(t, ca)
	for _, tt := range []struct{ name, version, keys string }{
		{"KeyUpdate", "-tls1_3", strings.Repeat("k\n", 200)},
		{"KeyUpdate that asks for one", "-tls1_3", strings.Repeat("K\n", 200)},
		{"renegotiation", "-tls1_2", strings.Repeat("R\n", 20)},
	} {
		cmd := exec.Command("openssl", "s_client", "-connect", "127.0.0.1:465", tt.version)
		cmd.Stdin = strings.NewReader(tt.keys)
		kill := time.AfterFunc(talkWait, func() { _ = cmd.Process.Kill() })
		out, _ := cmd.CombinedOutput()
		if !kill.Stop() {
			t.Errorf("%s: the session goes on: %.300s", tt.name, out)
		}
	}
	secured(t, ca).ask("221", "QUIT")
	d.alive()
}
