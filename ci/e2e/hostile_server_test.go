package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tricks is a reply that would like to be more than one, in a log, an envelope or a notice.
const tricks = " 5.7.1 no\rX-Injected: 1\x00\x1b[2J\x9b\xff\xe2\x80\xa8sender: evil@x.test\" result=\"Ok\" stat=\"250 ok"

// hostile is a server that does as it should until a step, where it says something and goes on,
// or closes the connection.
type hostile struct {
	step  string // "connect", a command, or "."
	says  string
	more  bool   // it says that again for as long as somebody listens
	close bool   // after it
	ehlo  string // lines of keywords
	want  string // PermFail, TempFail or Ok
}

func (h *hostile) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	if h.at(c, "connect", "220 hostile.test\r\n") {
		return
	}
	for {
		line, err := r.ReadString('\n')
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		reply := "250 2.0.0 ok\r\n"
		switch verb {
		case "EHLO":
			reply = "250-hostile.test\r\n" + h.ehlo + "250 HELP\r\n"
		case "DATA":
			reply = "354 go\r\n"
		case "STARTTLS":
			reply = "220 go\r\n"
		}
		if err != nil || h.at(c, verb, reply) {
			return
		}
		if verb == "DATA" && (h.step != "DATA" || strings.HasPrefix(h.says, "354")) {
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
			}
			if h.at(c, ".", "250 2.0.0 queued\r\n") {
				return
			}
		}
	}
}

// at reports whether the session is over.
func (h *hostile) at(c net.Conn, step, usual string) bool {
	if h.step != step {
		_, err := io.WriteString(c, usual)
		return err != nil
	}
	_, err := io.WriteString(c, h.says)
	for h.more && err == nil {
		_, err = io.WriteString(c, h.says)
	}
	return h.close || err != nil
}

// TestHostileServers relays to servers that do everything but what they should.
func TestHostileServers(t *testing.T) {
	const pipelining = "250-PIPELINING\r\n"
	var list []hostile
	for _, step := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA", "."} {
		reply, end := "250", "PermFail"
		if step == "DATA" {
			reply = "354"
		}
		switch step {
		case "connect":
			end = "TempFail" // says nothing about a recipient
		case "EHLO":
			end = "Ok" // after HELO
		}
		list = append(list,
			hostile{step: step, close: true, want: "TempFail"},
			hostile{step: step, says: reply, close: true, want: "TempFail"},
			hostile{step: step, says: strings.Repeat(reply+"-x\r\n", 1000), more: true, want: "TempFail"},
			hostile{step: step, says: reply + " " + strings.Repeat("x", 1<<20), more: true, want: "TempFail"},
			hostile{step: step, says: strings.Repeat("\x00", 1<<16), more: true, want: "TempFail"},
			hostile{step: step, says: "\r\n", more: true, want: "TempFail"},
			hostile{step: step, says: "HTTP/1.1 200 OK\r\n", close: true, want: "TempFail"},
			hostile{step: step, says: "451" + tricks + "\r\n", close: true, want: "TempFail"},
			hostile{step: step, says: "421" + tricks + "\r\n", close: true, want: "TempFail"},
			hostile{step: step, says: "550" + tricks + "\r\n", ehlo: pipelining, want: end},
			hostile{step: step, says: "550-" + tricks[1:] + "\r\n550" + tricks + "\r\n", ehlo: pipelining, want: end})
	}
	list = append(list,
		hostile{step: "QUIT", close: true, want: "Ok"},
		hostile{step: "QUIT", says: strings.Repeat("221-x\r\n", 1000), more: true, want: "Ok"},
		hostile{step: "DATA", says: "354 go\r\n250 2.0.0 queued\r\n", want: "TempFail"},
		hostile{ehlo: strings.Repeat("250-SIZE 1\r\n", 5000), want: "TempFail"},
		hostile{ehlo: "250-SIZE 99999999999999999999999\r\n250-AUTH " + strings.Repeat("X ", 500) + "\r\n", want: "Ok"},
		hostile{ehlo: "250-STARTTLS\r\n", step: "STARTTLS", says: "220 go\r\n250 2.0.0 ok\r\n250 2.0.0 ok\r\n", want: "TempFail"},
		hostile{ehlo: "250-STARTTLS\r\n", step: "STARTTLS", says: "554" + tricks + "\r\n", want: "Ok"})
	conf := "listen on 127.0.0.1\naction \"local\" maildir\nmatch for domain \"godwit.test\" action \"local\"\n"
	for i := range list {
		addr := fmt.Sprintf("127.0.1.%d", i+1)
		serveEach(t, addr, list[i].serve)
		conf += fmt.Sprintf("action \"a%d\" relay host smtp://%s\nmatch for domain \"h%d.test\" action \"a%d\"\n", i, addr, i, i)
	}
	d := start(t, conf)
	dispatcher, _ := find("dispatcher")
	waiting, notices := 0, 0
	for i, h := range list {
		submit(t, "alice@godwit.test", fmt.Sprintf("u@h%d.test", i), "Subject: hostile\n\nHello.\n")
		switch h.want {
		case "TempFail":
			waiting++
		case "PermFail":
			notices++
		}
	}
	for i, h := range list {
		line := ""
		if !within(time.Minute, func() bool {
			line = d.line("mta delivery", fmt.Sprintf("to=<u@h%d.test>", i))
			return line != ""
		}) {
			t.Errorf("%d: %.80q at %s: nothing became of it", i, h.says, h.step)
		} else if !strings.Contains(line, fmt.Sprintf("result=%q", h.want)) {
			t.Errorf("%d: %.80q at %s: want %s:\n%s", i, h.says, h.step, h.want, line)
		}
	}
	for _, text := range newMaildir("alice").wait(t, notices, startWait) {
		clean(t, "notice", text)
		if bytes.Contains(text, []byte("\nX-Injected")) || bytes.Contains(text, []byte("\nsender: evil")) {
			t.Errorf("%s", text)
		}
	}
	clean(t, "log", []byte(d.logged()))
	for line := range strings.Lines(d.logged()) {
		if strings.Count(line, `result="`) > 1 {
			t.Errorf("in the log: %s", line)
		}
	}
	out, err := d.ctl("show", "queue")
	if n := strings.Count(out, "\n"); err != nil || n != waiting {
		t.Errorf("%d envelopes wait, want %d: %v", n, waiting, err)
	}
	clean(t, "list", []byte(out))
	if now, _ := find("dispatcher"); now != dispatcher {
		t.Error("the dispatcher was started again")
	}
	if kb := peakMemory(t, dispatcher.pid); kb > 200<<10 {
		t.Errorf("the dispatcher took %d kB", kb)
	}
	d.alive()
	d.stop()
	envelopes, _ := filepath.Glob(filepath.Join(d.spool, "queue", "*", "*", "????????????????"))
	for _, path := range envelopes {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clean(t, path, text)
		if strings.Count(string(text), "\nsender: ") != 1 {
			t.Errorf("%s", text)
		}
	}
	if len(envelopes) != waiting {
		t.Errorf("%d envelopes are in the queue, want %d", len(envelopes), waiting)
	}
}

// clean checks that a text has no control characters.
func clean(t *testing.T, what string, text []byte) {
	t.Helper()
	for line := range bytes.Lines(text) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r == 0x2028 }) {
			t.Errorf("%s: %q", what, line)
		}
	}
}

// peakMemory gives the most memory that a process had, in kB.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
