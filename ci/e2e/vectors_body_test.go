package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBodyVectors: odd messages are refused, or arrive behind Postfix and Exim as they were.
func TestBodyVectors(t *testing.T) {
	startDNS(t)
	boxes := map[string]*maildir{"postfix": startPostfix(t).box, "exim": startExim(t).box}
	const most = 1 << 20
	d := start(t, vectorConf+"smtp max-message-size 1M\n")
	received := func(n int) string { return strings.Repeat("rEceived: by x\r\n", n) }
	sized := func(id string, n int) string { // the message as it is counted, with line ends of two octets
		head := "Subject: " + id + "\r\n\r\n"
		n -= len(head)
		return head + strings.Repeat(strings.Repeat("x", 62)+"\r\n", n/64-1) + strings.Repeat("y", 62+n%64) + "\r\n"
	}
	for peer, box := range boxes {
		want := make(map[string]string)
		for _, tt := range []struct {
			name string
			text string // SUBJECT-OF-TEST is its subject
			code string
		}{
			{"B1", "Subject: SUBJECT-OF-TEST\r\n" + strings.Repeat("X: y\r\n", 1000000) + "\r\nx\r\n", "552"},
			{"B2", "Subject: SUBJECT-OF-TEST\r\nX: " + strings.Repeat("y", 100<<20) + "\r\n\r\nx\r\n", "552"},
			{"B3", "Subject: SUBJECT-OF-TEST\r\nX: y\r\n", "250"},
			{"B4", " Subject: SUBJECT-OF-TEST\r\n\r\nx\r\n", "550"},
			{"B5", "Subject: SUBJECT-OF-TEST\r\nno colon\r\n\r\nx\r\n", "550"},
			{"B6 20", received(20) + "Subject: SUBJECT-OF-TEST\r\n\r\nx\r\n", "250"},
			{"B6 100", received(100) + "Subject: SUBJECT-OF-TEST\r\n\r\nx\r\n", "554"},
			{"B6 101", received(101) + "Subject: SUBJECT-OF-TEST\r\n\r\nx\r\n", "554"},
			{"B7", "Delivered-To: box@PEER.test\r\nSubject: SUBJECT-OF-TEST\r\n\r\nx\r\n", "250"},
			{"B8", "Subject: SUBJECT-OF-TEST\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n" +
				strings.Repeat("--x\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n", 10000), "250"},
			{"B12 most", sized("SUBJECT-OF-TEST", most), "250"},
			{"B12 more", sized("SUBJECT-OF-TEST", most+1), "552"},
			{"B12 dots", sized("SUBJECT-OF-TEST", most/2) + strings.Repeat("..\r\n", most/6), "250"},
		} {
			for _, way := range waysOf(tt.text) {
				subject := "S-" + tt.name[1:] + "-" + way[:1] // as long as SUBJECT-OF-TEST
				subject += strings.Repeat("-", len("SUBJECT-OF-TEST")-len(subject))
				text := strings.NewReplacer("SUBJECT-OF-TEST", subject, "PEER", peer).Replace(tt.text)
				replies := sendVector(t, listen, fmt.Sprintf("EHLO client.test\r\nMAIL FROM:<%s>\r\nRCPT TO:<box@%s.test>\r\nDATA\r\n%s.\r\nQUIT\r\n",
					tester, peer, text), way)
				_, after, _ := strings.Cut(replies, "\r\n354 ")
				_, after, _ = strings.Cut(after, "\r\n")
				if !strings.HasPrefix(after, tt.code) {
					t.Errorf("%s/%s: %q, want %s", tt.name, way, after, tt.code)
				}
				if tt.code == "250" {
					_, body, _ := strings.Cut(text, "\r\n\r\n")
					want[subject] = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n..", "\n.")
				}
			}
		}
		d.drained(time.Minute)
		compareBodies(t, peer, box, want)
	}
	d.alive()
}

// waysOf leaves out the ways that would take minutes.
func waysOf(text string) []string {
	if len(text) > 500 {
		return []string{"write"}
	}
	return []string{"write", "lines", "octets"}
}

// TestAddressVectors: odd senders and recipients are refused, or name one mailbox behind Postfix and
// Exim: each message that was taken arrives once.
func TestAddressVectors(t *testing.T) {
	startDNS(t)
	boxes := map[string]*maildir{"postfix": startPostfix(t, "allow_min_user = yes").box, "exim": startExim(t).box}
	d := start(t, vectorConf)
	locals := []string{`"quoted local"`, `"q\"u"`, `"a@b"`, "`id`", "$(id)", "${IFS}", ";id", "|/bin/sh", "&", "'", `"`, "../../etc/passwd", "/etc/passwd",
		":include:/etc/passwd", `"|id"`, "%{sender}", "a%0ab", "a..b", ".a", "a!b", "a%b", "-f", `"\` + "\x01" + `"`, "a\x00b", "a\rb", "\u00f6"}
	for peer, box := range boxes {
		want := make(map[string]string)
		for i, local := range locals {
			for _, way := range []string{"write", "lines", "octets"} {
				id := fmt.Sprintf("%s-%d-%s", peer, i, way)
				mail := func(kind, from, to string) bool {
					text := "EHLO client.test\r\nMAIL FROM:<" + from + ">\r\nRCPT TO:<" + to + ">\r\nDATA\r\nSubject: " + kind + id + "\r\n\r\nx\r\n.\r\nQUIT\r\n"
					return strings.Contains(sendVector(t, listen, text, way), "Message accepted")
				}
				if mail("from-", local+"@client.test", "box@"+peer+".test") {
					want["from-"+id] = "x\n"
				}
				if way == "write" && mail("to-", "alice@godwit.test", local+"@"+peer+".test") {
					want["to-"+id] = "x\n"
				}
			}
		}
		d.drained(time.Minute)
		compareBodies(t, peer, box, want)
	}
}
