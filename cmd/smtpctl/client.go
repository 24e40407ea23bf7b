package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
)

// client is a connection to the control socket.
type client struct{ conn *ipc.Conn }

// answerTime bounds one answer of the daemon.
const answerTime = time.Minute

func (c *client) close() { c.conn.Close() }

func (c *client) call(req *control.Request, reply any, with ...*os.File) ([]*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	files, err := c.conn.CallFiles(ctx, 1, req, reply, with...)
	if errors.Is(err, ipc.ErrClosed) {
		err = errors.New("smtpd closed the connection")
	}
	return files, err
}

// enqueue gives a connection on which the server speaks SMTP.
func (c *client) enqueue() (net.Conn, error) {
	files, err := c.call(&control.Request{Op: control.Enqueue, Last: ^envelope.ID(0)}, nil)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, errors.New("smtpd gave no connection")
	}
	defer files[0].Close()
	return net.FileConn(files[0])
}

// carryOut does what was asked and prints the answer.
func (c *client) carryOut(req *control.Request, out io.Writer) error {
	switch req.Op {
	case control.ShowQueue:
		return c.showQueue(req, out)
	case control.Monitor:
		return c.monitor(req, out)
	case control.ShowStats:
		var s control.Stats
		_, err := c.call(req, &s)
		return c.print(out, err, s.String())
	case control.ShowStatus:
		var s control.Status
		_, err := c.call(req, &s)
		return c.print(out, err, s.String())
	case control.ShowEnvelope, control.ShowMessage, control.ShowHosts, control.ShowHostStats, control.ShowRelays, control.ShowRoutes:
		return c.showText(req, out)
	}
	if control.CountLine(req.Op, 0) != "" {
		n, err := c.count(req)
		return c.print(out, err, control.CountLine(req.Op, n)+"\n")
	}
	_, err := c.call(req, nil)
	return c.print(out, err, "command succeeded\n")
}

// count lets the daemon work at a range in parts and adds up.
func (c *client) count(req *control.Request) (n uint64, err error) {
	var left error // why the first that was left out was
	for {
		var part control.Count
		if _, err := c.call(req, &part); err != nil {
			return n, err
		}
		n += part.N
		if part.Error != "" && left == nil {
			left = errors.New(part.Error)
		}
		if part.Next == 0 {
			break
		}
		req.First = part.Next
	}
	if n == 0 {
		return 0, left
	}
	return n, nil
}

func (c *client) print(out io.Writer, err error, text string) error {
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// showQueue prints one page while the next one is being made.
func (c *client) showQueue(req *control.Request, out io.Writer) error {
	type answer struct {
		page control.QueuePage
		err  error
	}
	ask := func(req control.Request) <-chan *answer {
		pages := make(chan *answer, 1)
		go func() {
			a := new(answer)
			_, a.err = c.call(&req, &a.page)
			pages <- a
		}()
		return pages
	}
	loading := false
	for next := ask(*req); next != nil; {
		a := <-next
		if a.err != nil {
			return a.err
		}
		loading = loading || a.page.Loading
		if req.First, next = a.page.Next, nil; req.First != 0 {
			next = ask(*req)
		}
		if _, err := out.Write(a.page.Lines); err != nil {
			return err
		}
	}
	if loading {
		fmt.Fprintln(os.Stderr, "smtpctl: smtpd is still reading the queue: there may be more than this")
	}
	return nil
}

func (c *client) showText(req *control.Request, out io.Writer) error {
	var text control.Text
	files, err := c.call(req, &text)
	if err != nil {
		return err
	}
	for _, f := range files {
		defer f.Close()
		if _, err := io.Copy(out, io.NewSectionReader(f, 0, 1<<62)); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, text.Text)
	return err
}

// monitor prints a line a second until it is interrupted.
func (c *client) monitor(req *control.Request, out io.Writer) error {
	var before control.Stats
	for i := 0; ; i++ {
		var now control.Stats
		if _, err := c.call(req, &now); err != nil {
			return err
		}
		if i%25 == 0 {
			fmt.Fprintln(out, control.MonitorHeader)
		}
		if _, err := fmt.Fprintln(out, control.MonitorLine(before.Values, now.Values)); err != nil {
			return err
		}
		before = now
		time.Sleep(time.Second)
	}
}
