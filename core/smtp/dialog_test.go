package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// A dialog script has one step a line:
//
//	# a remark
//	set OPTION ...   how the listener is configured, before anything else
//	C: text          send text and CRLF; \r \n \0 \xNN are octets, a final \ leaves CRLF out
//	S: regexp        one line of a reply, without its end
//	R: regexp        a whole reply of one or more lines, of which the last one matches
//	K: regexp        the next line of a reply, or one further down in it
//	TLS              a handshake
//	CLOSED           the server closes
//	MAIL from=<a> to=<b>,<c> body="..."  the backend took this message next
//	LOG regexp       the log has such a line
//	NOLOG text       the log does not have this anywhere
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialog")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d dialogs, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".dialog"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			(&dialog{t: t, cfg: testConfig(), peer: testPeer(), b: &sample{refuse: refuseByName}}).run(string(text))
		})
	}
}

// refuseByName makes what the client says decide about the reply.
func refuseByName(where, what string) error {
	switch {
	case strings.Contains(what, "nobody"):
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "Invalid recipient: <" + what + ">"}
	case strings.Contains(what, "broken"):
		return errors.New("the disk is on fire")
	case strings.Contains(what, "hangup"):
		return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 7, 0}, Message: "Go away\nfor ever"}
	case strings.Contains(what, "panic"):
		panic("what now")
	}
	return nil
}

type dialog struct {
	t    *testing.T
	cfg  *Config
	peer Peer
	b    *sample
	s    *session
	r    *bufio.Reader
	n    int // mails compared
}

func (d *dialog) run(text string) {
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		word, arg, _ := strings.Cut(line, " ")
		if word == "" || word[0] == '#' {
			continue
		}
		if word != "set" && d.s == nil {
			d.s = start(d.t, context.Background(), d.cfg, d.b, d.peer)
			d.r = bufio.NewReader(d.s)
		}
		if err := d.step(word, arg); err != nil {
			d.t.Fatalf("line %d %q: %v\nlog:\n%s", i+1, line, err, d.s.log)
		}
	}
	if got := d.b.taken(); len(got) != d.n {
		d.t.Errorf("took %d messages, the script knows %d", len(got), d.n)
	}
}

func (d *dialog) step(word, arg string) error {
	switch word {
	case "set":
		return d.set(strings.Fields(arg))
	case "C:":
		_, err := io.WriteString(d.s, octets(arg))
		return err
	case "S:":
		return d.expect(arg)
	case "R:":
		for {
			if b, err := d.r.Peek(4); err != nil || b[3] != '-' {
				return d.expect(arg)
			}
			if err := d.expect(".*"); err != nil {
				return err
			}
		}
	case "K:":
		for {
			b, err := d.r.Peek(4)
			if err != nil {
				return err
			}
			if err = d.expect(arg); err == nil || b[3] != '-' {
				return err
			}
		}
	case "TLS":
		if d.r.Buffered() > 0 {
			return errors.New("octets before the handshake")
		}
		tc := tls.Client(d.s.Conn, &tls.Config{InsecureSkipVerify: true})
		d.s.Conn, d.r = tc, bufio.NewReader(tc)
		return tc.Handshake()
	case "CLOSED":
		if b, err := io.ReadAll(d.r); len(b) > 0 || err != nil {
			return fmt.Errorf("more: %q, %v", b, err)
		}
		d.s.Conn.Close()
		<-d.s.done
		return nil
	case "MAIL":
		return d.mail(arg)
	case "LOG":
		if !regexp.MustCompile("(?m)^(?:warn: )?[0-9a-f]{16} " + arg + "$").MatchString(d.s.log.String()) {
			return errors.New("no such line")
		}
		return nil
	case "NOLOG":
		if strings.Contains(d.s.log.String(), arg) {
			return errors.New("it does")
		}
		return nil
	}
	return errors.New("no such step")
}

func (d *dialog) expect(pattern string) error {
	line, err := d.r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("%q, %v", line, err)
	}
	if !regexp.MustCompile("^(?:" + pattern + ")\r\n$").MatchString(line) {
		return fmt.Errorf("got %q", line)
	}
	return nil
}

func (d *dialog) mail(want string) error {
	got := d.b.taken()
	if len(got) <= d.n {
		return errors.New("no message")
	}
	m := got[d.n]
	d.n++
	if s := fmt.Sprintf("from=<%s> to=<%s> body=%q", m.from, strings.Join(m.to, ">,<"), m.body); s != want {
		return fmt.Errorf("took %s", s)
	}
	return nil
}

func (d *dialog) set(options []string) error {
	for _, o := range options {
		key, value, _ := strings.Cut(o, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "normalize":
			d.cfg.Normalize = true
		case "nodsn":
			d.cfg.DSN = false
		case "tls":
			d.cfg.TLSConfig = testTLS(d.t)
		case "require":
			d.cfg.TLSRequire = true
		case "smtps":
			d.cfg.SMTPS = true
		case "size":
			d.cfg.MaxMessageSize = int64(n)
		case "rcpts":
			d.cfg.MaxRcpt = n
		case "mails":
			d.cfg.MaxMails = n
		case "errors":
			d.cfg.MaxErrors = n
		case "idle":
			d.cfg.MaxIdleCommands = n
		case "socket":
			d.peer = Peer{Socket: true, User: "alice", UID: 1001}
		case "auth":
			d.b.auth = true
		case "scram":
			d.b.auth, d.b.scram = true, true
		case "required":
			d.cfg.AuthRequire = true
		case "plain":
			d.b.plain = true
		default:
			return fmt.Errorf("no option %q", key)
		}
	}
	return nil
}

// octets reads the escapes of a script.
func octets(s string) string {
	end := "\r\n"
	if rest, ok := strings.CutSuffix(s, `\`); ok {
		s, end = rest, ""
	}
	return strings.NewReplacer(`\r`, "\r", `\n`, "\n", `\0`, "\x00", `\t`, "\t", `\xff`, "\xff",
		`\x1b`, "\x1b", `\x16`, "\x16", `\x0b`, "\x0b", `\\`, `\`).Replace(s) + end
}
