package e2e

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// programConn is the connection of a program that passes on what it reads and writes.
type programConn struct {
	net.Conn // nil: no other methods are used
	in       io.WriteCloser
	out      io.Reader
}

func (p *programConn) Write(b []byte) (int, error)      { return p.in.Write(b) }
func (p *programConn) Read(b []byte) (int, error)       { return p.out.Read(b) }
func (p *programConn) Close() error                     { return p.in.Close() }
func (p *programConn) SetReadDeadline(time.Time) error  { return nil }
func (p *programConn) SetWriteDeadline(time.Time) error { return nil }

// sClient connects with the client of OpenSSL, which says nothing by itself but what STARTTLS
// needs. said is what it says about TLS when it has ended.
func sClient(t *testing.T, args ...string) (c *client, said func() string) {
	t.Helper()
	cmd := exec.Command("openssl", append([]string{"s_client", "-quiet", "-verify_return_error"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errors strings.Builder
	cmd.Stderr = &errors
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(talkWait, func() { _ = cmd.Process.Kill() })
	ended := false
	end := func() {
		limit.Stop()
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
		}
	}
	t.Cleanup(end)
	return newClient(t, &programConn{in: in, out: out}), func() string { end(); return errors.String() }
}
