package torture

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// way is how a client hands mail in.
type way int

const (
	plain way = iota
	startTLS
	auth
	sendmail // over the local socket
	ways
)

// clientWait bounds one step of a dialog.
const clientWait = 30 * time.Second

// client is a session of SMTP that may lose its server at any moment.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// errRefused is a reply that was not the one wanted.
type errRefused struct{ reply string }

func (e *errRefused) Error() string { return e.reply }

// connect opens a session.
func connect(host string, w way) (*client, error) {
	port := ":25"
	if w != plain {
		port = ":587"
	}
	conn, err := net.DialTimeout("tcp", host+port, clientWait)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	if err := c.dialog("", "220", "EHLO client.test", "250"); err != nil {
		conn.Close()
		return nil, err
	}
	if w == plain {
		return c, nil
	}
	err = c.dialog("STARTTLS", "220")
	if err == nil {
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		c.conn, c.r = secured, bufio.NewReader(secured)
		err = c.dialog("EHLO client.test", "250")
	}
	if err == nil && w == auth {
		err = c.dialog("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00ann\x00annpw")), "235")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// dialog sends lines and expects replies in turn.
func (c *client) dialog(steps ...string) error {
	for i := 0; i < len(steps); i += 2 {
		_ = c.conn.SetDeadline(time.Now().Add(clientWait))
		if steps[i] != "" {
			if _, err := c.conn.Write([]byte(steps[i] + "\r\n")); err != nil {
				return err
			}
		}
		reply, err := c.read()
		if err != nil {
			return err
		}
		if !strings.HasPrefix(reply, steps[i+1]) {
			return &errRefused{reply}
		}
	}
	return nil
}

func (c *client) read() (string, error) {
	text := ""
	for {
		line, err := c.r.ReadString('\n')
		text += line
		if err != nil || len(line) < 4 || line[3] != '-' {
			return strings.TrimSpace(text), err
		}
	}
}

// send offers a message and writes into the journal what came of it.
func (c *client) send(j *journal, o *offer) answer {
	steps := []string{"MAIL FROM:<" + o.from + ">", "250"}
	for _, rcpt := range o.rcpts {
		step := "RCPT TO:<" + rcpt + ">"
		if o.notify != "" {
			step += " NOTIFY=" + o.notify
		}
		steps = append(steps, step, "250")
	}
	if err := c.dialog(append(steps, "DATA", "354")...); err != nil {
		return j.answered(o, err, false)
	}
	j.sends(o.letter)
	data := bytes.ReplaceAll(o.text, []byte("\n"), []byte("\r\n"))
	data = bytes.ReplaceAll(data, []byte("\r\n."), []byte("\r\n.."))
	return j.answered(o, c.dialog(string(data)+".", "250"), true)
}

// answered judges what a client heard. After the final dot no reply means that the message may have
// been taken.
func (j *journal) answered(o *offer, err error, sent bool) answer {
	a, what := taken, ""
	var refused *errRefused
	switch {
	case errors.As(err, &refused) && refused.reply[0] == '5':
		a = never
	case errors.As(err, &refused), err != nil && !sent:
		a = later
	case err != nil:
		a = unknown
	}
	if err != nil {
		what = err.Error()
	}
	if !sent {
		j.sends(o.letter) // so that it is known if it comes all the same
	}
	j.heard(o.letter, a, fmt.Sprintf("dot=%t %s", sent, what))
	return a
}

// tempFail is the exit status of sendmail for what may work later.
const tempFail = 75

// sendmail hands a message to the sendmail command.
func (d *server) sendmail(j *journal, o *offer) answer {
	from := o.from
	if from == "" {
		from = "<>"
	}
	args := []string{"-i", "-f", from}
	if o.notify != "" {
		args = append(args, "-N", o.notify)
	}
	cmd := exec.Command(program("sendmail"), append(args, o.rcpts...)...)
	cmd.Env = append(os.Environ(), "SMTPD_SOCKET="+d.sock)
	cmd.Stdin = bytes.NewReader(o.text)
	j.sends(o.letter)
	out, err := cmd.CombinedOutput()
	a := taken
	var exit *exec.ExitError
	if err != nil {
		a = unknown
	}
	if errors.As(err, &exit) && exit.ExitCode() > 0 && exit.ExitCode() != tempFail {
		a = never
	}
	j.heard(o.letter, a, fmt.Sprintf("sendmail: %v %s", err, bytes.TrimSpace(out)))
	return a
}

// patience is how long a message is offered, whatever is done to the daemon.
const patience = 3 * time.Minute

// hand offers a message until it is taken or refused for good, or until stop is closed. That
// it is not taken at last is an error: the daemon has to recover.
func (d *server) hand(j *journal, o *offer, w way, stop <-chan struct{}) answer {
	o.of = d.addr
	giveUp := time.After(patience)
	for {
		a := later
		if w == sendmail {
			a = d.sendmail(j, o)
		} else if c, err := connect(d.addr, w); err == nil {
			a = c.send(j, o)
			c.conn.Close()
		}
		if a == taken || a == never {
			return a
		}
		select {
		case <-stop:
			return a
		case <-giveUp:
			d.t.Errorf("%s is not taken within %v:\n%s", o.id, patience, o.story())
			return a
		case <-time.After(50 * time.Millisecond):
		}
	}
}
