package e2e

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// vectorConf relays to Postfix and to Exim. Port 2525 normalizes.
const vectorConf = `
listen on 127.0.0.1
listen on 127.0.0.1 port 2525 normalize
action "postfix" relay host "smtp://127.0.0.2:25"
action "exim" relay host "smtp://127.0.0.5:25"
action "local" maildir
match from any for domain "postfix.test" action "postfix"
match from any for domain "exim.test" action "exim"
match from any for domain "godwit.test" action "local"
`

// vector is what stands between the body of a message and a second one. Where it is taken for a
// line of the body, it comes out as body.
type vector struct {
	name, octets string
	strict       string // the code of the reply
	normal       string // the same of a listener that normalizes
	body         string
	end          bool // a true end: two messages
}

var vectors = []vector{
	{"M1", "\n.\n", "554", "250", "\n.\n", false},
	{"M2", "\n.\r\n", "554", "250", "\n.\n", false},
	{"M3", "\r\n.\n", "554", "250", "\n.\n", false},
	{"M4", "\r\n.\x00\r\n", "554", "554", "", false},
	{"M5", "\r.\r", "554", "250", "\n.\n", false},
	{"M6", "\r.\n", "554", "250", "\n.\n", false},
	{"M7", "\r.\r\n", "554", "250", "\n.\n", false},
	{"M8", "\r\n.\r", "554", "250", "\n.\n", false},
	{"M9", "\n.\r", "554", "250", "\n.\n", false},
	{"M10", "\r\n\x00.\r\n", "554", "554", "", false},
	{"M11", "\r\r\n.\r\n", "554", "250", "\n\n", true},
	{"M12", "\r\n.\r\r\n", "554", "250", "\n.\n\n", false},
	{"M13", "\n\n.\r\n", "554", "250", "\n\n.\n", false},
	{"M14", "\r\n..\r\n", "250", "250", "\n.\n", false},
	{"M15", "\r\n. \r\n", "250", "250", "\n \n", false},
	{"M16", "\r\n .\r\n", "250", "250", "\n .\n", false},
	{"M17", "\x0b.\x0b", "250", "250", "\x0b.\x0b", false},
	{"M18", "\x85.\x85", "250", "250", "\x85.\x85", false},
	{"M19", "\u2028.\u2028", "250", "250", "\u2028.\u2028", false},
	{"M20", "\r\n.\r\n", "250", "250", "\n", true},
	{"M23", "\n\nMore.\r\n", "554", "250", "\n\nMore.\n", false},
}

// TestVectors sends each vector in each way to Godwit, which relays what it takes to Postfix and
// to Exim: what was refused is nowhere, what was taken arrives once, and never as two.
func TestVectors(t *testing.T) {
	startDNS(t)
	boxes := map[string]*maildir{"postfix": startPostfix(t).box, "exim": startExim(t).box}
	d := start(t, vectorConf)
	want := map[string]map[string]string{"postfix": {}, "exim": {}} // bodies by subject
	var mu sync.Mutex
	var sending sync.WaitGroup
	slots := make(chan struct{}, 16)
	for _, v := range vectors {
		for _, way := range []string{"write", "lines", "octets"} {
			for peer := range boxes {
				for addr, code := range map[string]string{listen: v.strict, "127.0.0.1:2525": v.normal} {
					sending.Go(func() {
						slots <- struct{}{}
						defer func() { <-slots }()
						id := fmt.Sprintf("%s-%s-%s", v.name, way, addr)
						for subject, body := range smuggle(t, addr, id, v, way, code, "box@"+peer+".test") {
							mu.Lock()
							want[peer][subject] = body
							mu.Unlock()
						}
					})
				}
			}
		}
	}
	sending.Wait()
	d.drained(time.Minute)
	for peer, box := range boxes {
		compareBodies(t, peer, box, want[peer])
	}
	d.alive()
}

// smuggle sends a message with a vector and another one, and gives the bodies that have to
// arrive by their subjects.
func smuggle(t *testing.T, addr, id string, v vector, way, code, rcpt string) map[string]string {
	head := func(from, subject string) string {
		return "MAIL FROM:<" + from + ">\r\nRCPT TO:<" + rcpt + ">\r\nDATA\r\nSubject: " + subject + "\r\n\r\n"
	}
	second := head("evil@client.test", "smuggled-"+id) + "x\r\n"
	replies := sendVector(t, addr, "EHLO client.test\r\n"+head(tester, "first-"+id)+"body"+v.octets+second+".\r\nQUIT\r\n", way)
	_, after, _ := strings.Cut(replies, "\r\n354 ")
	_, after, _ = strings.Cut(after, "\r\n")
	if !strings.HasPrefix(after, code) || !strings.HasSuffix(replies, "\r\n221 2.0.0 Bye\r\n") {
		t.Errorf("%s: want %s: %q", id, code, replies)
	}
	bodies := make(map[string]string)
	if code == "250" {
		bodies["first-"+id] = "body" + v.body
		if !v.end {
			bodies["first-"+id] += strings.ReplaceAll(second, "\r\n", "\n")
		}
	}
	if v.end {
		bodies["smuggled-"+id] = "x\n"
	}
	return bodies
}

// sendVector sends a text after the banner, and gives all replies. The pieces are packets of
// their own as far as a sender can bring that about.
func sendVector(t *testing.T, addr, text, way string) string {
	conn, err := net.DialTimeout("tcp", addr, talkWait)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(6 * talkWait))
	banner, _ := rawClient(&oneByte{conn}).read()
	pieces := []string{text}
	pause := 50 * time.Millisecond
	switch way {
	case "lines":
		pieces = strings.SplitAfter(text, "\n")
	case "octets":
		pieces, pause = strings.Split(text, ""), time.Millisecond
	}
	go func() {
		for _, p := range pieces {
			if _, err := io.WriteString(conn, p); err != nil {
				return
			}
			if len(pieces) > 1 {
				time.Sleep(pause)
			}
		}
	}()
	replies, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%q: %v", banner+string(replies), err)
	}
	return string(replies)
}

// oneByte reads no more than is asked for, so that a buffer takes nothing away.
type oneByte struct{ net.Conn }

func (c *oneByte) Read(p []byte) (int, error) { return c.Conn.Read(p[:1]) }

// compareBodies waits for messages and compares them with those that were taken.
func compareBodies(t *testing.T, name string, box *maildir, want map[string]string) {
	t.Helper()
	var list [][]byte
	within(time.Minute, func() bool { list = append(list, box.take()...); return len(list) >= len(want) })
	seen := make(map[string]bool)
	for _, text := range list {
		header, body := split(text)
		subject := field(header, "Subject")
		expected, known := want[subject]
		switch {
		case !known:
			t.Errorf("%s: %q arrived, which was never taken:\n%q", name, subject, text)
		case seen[subject]:
			t.Errorf("%s: %q arrived twice", name, subject)
		case strings.TrimRight(string(body), "\n") != strings.TrimRight(expected, "\n"):
			t.Errorf("%s: %q has the body\n%q, want\n%q", name, subject, body, expected)
		}
		seen[subject] = true
	}
	for subject := range want {
		if !seen[subject] {
			t.Errorf("%s: %q was taken and did not arrive", name, subject)
		}
	}
}
