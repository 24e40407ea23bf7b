// Smtpctl controls the mail server. By the names sendmail, mailq, newaliases and makemap it is
// what programs and users expect under them.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/getopt"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/password"
	"github.com/godwit-mta/godwit/core/sendmail"
	"github.com/godwit-mta/godwit/platform"
)

var version = "dev" // set by the linker

func main() {
	// The name is all that tells: by links, and by mailwrapper(8) on the BSDs.
	args := os.Args[1:]
	switch filepath.Base(os.Args[0]) {
	case "sendmail", "send-mail":
		os.Exit(submit(args))
	case "mailq":
		os.Exit(run([]string{"show", "queue"}, socketPath()))
	case "newaliases":
		os.Exit(newAliases(args))
	case "makemap":
		os.Exit(makeMap(args))
	}
	os.Exit(smtpctl(args))
}

// socketPath gives the control socket of the daemon that is meant.
func socketPath() string {
	if path := os.Getenv("SMTPD_SOCKET"); path != "" {
		return path
	}
	return platform.Current().ControlSocket
}

func smtpctl(args []string) int {
	path := socketPath()
	opts, rest, err := getopt.Parse(args, "hs:")
	if err != nil {
		fmt.Fprintf(os.Stderr, "smtpctl: %v\nusage: smtpctl [-h] [-s socket] command ...\n", err)
		return 1
	}
	for _, o := range opts {
		if o.Letter == 'h' {
			fmt.Printf("version: Godwit %s\nusage: smtpctl [-h] [-s socket] command ...\n", version)
			return 0
		}
		path = o.Value
	}
	if len(rest) > 0 {
		switch rest[0] {
		case "sendmail":
			return submit(rest[1:])
		case "makemap":
			return makeMap(rest[1:])
		}
		if len(rest) > 1 && rest[0] == "queue" && rest[1] == "import" {
			return importQueue(rest[2:], path)
		}
	}
	return run(rest, path)
}

// run carries out one command.
func run(args []string, path string) int {
	req, err := control.ParseCommand(args)
	var usage *control.UsageError
	if errors.As(err, &usage) {
		fmt.Fprintln(os.Stderr, usage)
		return 255
	}
	if err != nil {
		return failed(err)
	}
	if req.Op.Alone() {
		return alone(&req)
	}
	c, err := dial(path)
	if err != nil {
		return failed(err)
	}
	defer c.close()
	if err := c.carryOut(&req, os.Stdout); err != nil {
		return failed(err)
	}
	return 0
}

// alone carries out what needs no daemon.
func alone(req *control.Request) int {
	err := errors.New("this command is not supported yet")
	switch req.Op {
	case control.Encrypt:
		err = encrypt(platform.Current().CryptMethod, req.Name, os.Stdin, os.Stdout)
	case control.EncryptScram:
		err = encrypt(password.SCRAM, req.Name, os.Stdin, os.Stdout)
	case control.ConvertConfig:
		err = convert(req.Name, os.Stdout, os.Stderr)
	}
	if err != nil {
		return failed(err)
	}
	return 0
}

func failed(err error) int {
	fmt.Fprintf(os.Stderr, "smtpctl: %v\n", err)
	return 1
}

// dial connects to the daemon.
func dial(path string) (*client, error) {
	nc, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to smtpd at %s: is it running? (%w)", path, reason(err))
	}
	c := &client{conn: ipc.New(nc.(*net.UnixConn))}
	go func() { _ = c.conn.Serve(func(r *ipc.Request) { r.Fail(errors.New("not asked")) }) }()
	return c, nil
}

// reason drops what net adds to an error of the system.
func reason(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// submit is sendmail(8).
func submit(args []string) int {
	o, err := sendmail.ParseOptions(args)
	if err == nil {
		switch o.Mode {
		case sendmail.ListQueue:
			return run([]string{"show", "queue"}, socketPath())
		case sendmail.NewAliases:
			return newAliases(nil)
		}
		err = send(o)
	}
	if err == nil {
		return sendmail.ExitOK
	}
	fmt.Fprintf(os.Stderr, "sendmail: %v\n", err)
	var e *sendmail.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return sendmail.ExitTempFail
}

// sendTime bounds the submission of one message.
const sendTime = 10 * time.Minute

func send(o *sendmail.Options) error {
	input, err := seekable(os.Stdin)
	if err != nil {
		return err
	}
	m, err := sendmail.Read(input, o, identity())
	if err != nil {
		return err
	}
	c, err := dial(socketPath())
	if err != nil {
		return err
	}
	defer c.close()
	conn, err := c.enqueue()
	if err != nil {
		return deadLetter(input, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(sendTime))
	var log io.Writer
	if o.Verbose {
		log = os.Stdout
	}
	if err := m.Send(conn, o, log); err != nil {
		return deadLetter(input, err)
	}
	return nil
}
