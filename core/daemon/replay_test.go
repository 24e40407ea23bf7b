package daemon

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestReplay says to a daemon what was once said to OpenSMTPD 7.8 and compares the classes
// of the replies. A script has sessions, and one step a line:
//
//	== NAME LISTENER    a new session: 25, 465, 587, or 25 of the daemon "small" or "aliases"
//	# remark
//	C TEXT              send text and CRLF; \r \n \t \xNN are octets, {text*N} is repeated,
//	                    a final \ leaves CRLF out
//	CODE                both servers reply with this class
//	CODE OURS reason    OpenSMTPD says CODE, and we say OURS
//	closed              both servers close
//	TLS                 a handshake
//	FIN                 the client closes its half
//
// CODE is "-" where only one of them replies, or "closed"; CODE*N is a reply N times. After
// the last step nothing more may come. A difference that is listed has to exist: the list
// stays true.
func TestReplay(t *testing.T) {
	hosts := replayHosts(t)
	files, err := filepath.Glob("testdata/replay/*.dialog")
	if err != nil {
		t.Fatal(err)
	}
	cases := make(map[string]bool)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for i, line := range lines {
			head := strings.Fields(line)
			if len(head) != 3 || head[0] != "==" {
				continue
			}
			t.Run(head[1], func(t *testing.T) {
				r := &replay{t: t, place: filepath.Base(file), line: i + 1, cases: cases}
				r.open(hosts, head[2])
				r.run(lines[i+1:])
			})
		}
	}
	if len(cases) < 250 {
		t.Errorf("only %d different cases", len(cases))
	}
	t.Logf("%d different cases", len(cases))
}

const replayConf = `
pki mx1.example.org cert "DIR/cert.pem"
pki mx1.example.org key "DIR/key.pem"
table users file:DIR/users
table aliases file:DIR/aliases
table accounts { alice = "65534:65534:DIR/alice", bob = "65534:65534:DIR/bob", _smtpd = "65534:65534:DIR/empty" }
listen on 127.0.0.1 port PORT hostname mx1.example.org tls pki mx1.example.org
listen on 127.0.0.1 port SMTPS hostname mx1.example.org smtps pki mx1.example.org auth <users>
listen on 127.0.0.1 port SUBMISSION hostname mx1.example.org tls-require pki mx1.example.org auth <users> mask-src
action deliver maildir userbase <accounts> alias <aliases>
action out relay host smtp://127.0.0.1:1
match from any for domain "example.org" action deliver
match from any auth for any action out
`

// replayAliases are those of the session in which they are expanded; the others have fewer.
const replayAliases = "loop1: loop2\nloop2: loop1\nself: self\next: someone@example.com\nmixed: bob, someone@example.com\n" +
	"pipe: \"|cat >/dev/null\"\nfile: /nonexistent/file\ninc: :include:/nonexistent/list\nerr: error:oops\nerr5: \"error:550 gone away\"\n" +
	"baderr: \"error:999 what\"\nstaff: alice, bob\ndeep1: deep2\ndeep2: deep3\ndeep3: deep4\ndeep4: deep5\ndeep5: deep6\n" +
	"deep6: deep7\ndeep7: deep8\ndeep8: deep9\ndeep9: deep10\ndeep10: deep11\ndeep11: alice\n"

// replayHosts starts the daemons and gives the address of each listener.
func replayHosts(t *testing.T) map[string]string {
	hosts := make(map[string]string)
	run := func(rules, aliases string) (l *lab, smtps, submission int) {
		smtps, submission = freePort(t), freePort(t)
		conf := strings.NewReplacer("SMTPS", fmt.Sprint(smtps), "SUBMISSION", fmt.Sprint(submission)).Replace(replayConf)
		l = newLab(t, nil, conf+rules)
		makeCert(t, l.dir)
		for name, text := range map[string]string{"users": "ann " + annHash + "\n", "aliases": "postmaster: alice\nroot: alice\n" + aliases} {
			if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		l.begin()
		return l, smtps, submission
	}
	l, smtps, submission := run("", "")
	hosts["25"], hosts["465"], hosts["587"] = l.addr, fmt.Sprint("127.0.0.1:", smtps), fmt.Sprint("127.0.0.1:", submission)
	l, _, _ = run("smtp max-message-size 20K\n", "")
	hosts["small"] = l.addr
	l, _, _ = run("match from any for domain \"example.com\" action out\n", replayAliases)
	hosts["aliases"] = l.addr
	return hosts
}

// replay is one session of a script.
type replay struct {
	t     *testing.T
	place string
	line  int
	cases map[string]bool

	raw  net.Conn
	conn net.Conn // raw, or TLS over it
	r    *bufio.Reader
	said string // the last text of the client
}

func (r *replay) open(hosts map[string]string, listener string) {
	addr, known := hosts[listener]
	if !known {
		r.t.Fatalf("%s:%d: no listener %q", r.place, r.line, listener)
	}
	var err error
	if r.raw, err = net.Dial("tcp", addr); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.raw.Close() })
	r.raw.SetDeadline(time.Now().Add(patience))
	r.conn, r.r = r.raw, bufio.NewReader(r.raw)
	if listener == "465" {
		r.handshake()
	}
}

func (r *replay) handshake() {
	if n := r.r.Buffered(); n > 0 {
		r.fatalf("%d octets before the handshake", n)
	}
	tc := tls.Client(r.raw, &tls.Config{InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		r.fatalf("handshake: %v", err)
	}
	r.conn, r.r = tc, bufio.NewReader(tc)
}

func (r *replay) fatalf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("%s:%d after %q: %s", r.place, r.line, r.said, fmt.Sprintf(format, args...))
}

// run carries out the steps up to the next session.
func (r *replay) run(lines []string) {
	for _, line := range lines {
		r.line++
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case word == "==":
			r.finish()
			return
		case word == "" || word == "#":
		case word == "C":
			r.said = rest
			// Whether the server still listens is told by the next reply.
			_, _ = io.WriteString(r.conn, replayText(rest))
		case word == "TLS":
			r.handshake()
		case word == "FIN":
			r.closeWrite()
		default:
			r.reply(word, rest)
		}
	}
	r.finish()
}

func (r *replay) closeWrite() {
	if half, ok := r.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// finish sees that nothing comes which is not in the script.
func (r *replay) finish() {
	r.closeWrite()
	if rest, err := io.ReadAll(r.r); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		r.fatalf("more came: %q, %v", rest, err)
	}
}

// reply compares what the other server said with what this one says.
func (r *replay) reply(theirs, rest string) {
	r.t.Helper()
	theirs, count, _ := strings.Cut(theirs, "*")
	n, err := strconv.Atoi(count)
	if err != nil {
		n = 1
	}
	want, reason, listed := strings.Cut(rest, " ")
	if !listed {
		want = theirs
	} else if class(want) == class(theirs) || reason == "" {
		r.fatalf("no difference is to be listed between %s and %s, and none without a reason", theirs, want)
	}
	for range n {
		if want == "-" {
			return
		}
		got := r.read()
		switch {
		case listed && got != want, !listed && class(got) != class(want):
			r.t.Errorf("%s:%d after %q: got %s, want %s (OpenSMTPD says %s)", r.place, r.line, r.said, got, want, theirs)
		case want != "closed":
			r.cases[theirs+" "+r.said] = true
		}
	}
}

func class(code string) string { return code[:1] }

// read gives the code of the next reply, "closed" when the server closes.
func (r *replay) read() string {
	for {
		line, err := r.r.ReadString('\n')
		if line == "" && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return "closed"
		}
		if err != nil || len(line) < 6 || !strings.HasSuffix(line, "\r\n") {
			r.fatalf("reply %q, %v", line, err)
		}
		if line[3] != '-' {
			return line[:3]
		}
	}
}

var (
	repeated = regexp.MustCompile(`\{([^{}]*)\*(\d+)\}`)
	escaped  = regexp.MustCompile(`\\(x[0-9a-f]{2}|.)`)
)

// replayText reads the escapes of a script.
func replayText(s string) string {
	end := "\r\n"
	if rest, ok := strings.CutSuffix(s, `\`); ok {
		s, end = rest, ""
	}
	s = repeated.ReplaceAllStringFunc(s, func(m string) string {
		part := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(part[2])
		return strings.Repeat(part[1], n)
	})
	return escaped.ReplaceAllStringFunc(s, func(m string) string {
		switch m[1] {
		case 'r':
			return "\r"
		case 'n':
			return "\n"
		case 't':
			return "\t"
		case 'x':
			n, _ := strconv.ParseUint(m[2:], 16, 8)
			return string([]byte{byte(n)})
		}
		return m[1:]
	}) + end
}
