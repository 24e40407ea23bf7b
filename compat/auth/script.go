package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/child"
	"github.com/godwit-mta/godwit/compat/reexec"
)

// Bounds of a login script.
const (
	scriptTime   = 30 * time.Second
	scriptAnswer = 8 << 10 // octets
)

// askScript lets the login script of the user's class decide, as auth_userokay(3) does with
// the type auth-smtp. Who does not exist is asked for too: the script knows how to be as
// slow as for others.
func (s *System) askScript(ctx context.Context, user, password string) (bool, error) {
	class, current := "", false
	err := scan(s.facts.Hashes, func(f []string) {
		if len(f) >= 10 && f[0] == user {
			class = f[4]
			_, current = masterPasswd(f, time.Now())
		}
	})
	if err != nil {
		return false, err
	}
	if class == "" {
		class = "default"
	}
	style, err := loginStyle(s.facts.Classes, class)
	if err != nil {
		return false, err
	}
	ok, err := runScript(ctx, filepath.Join(s.facts.Scripts, "login_"+style), user, class, password)
	return ok && current, err
}

// runScript runs a login script as login.conf(5) describes it, with the service "response":
// on descriptor 3 it reads an empty challenge and the password, each with a NUL behind it,
// and writes "authorize" or "reject". Its exit status is 0 when the user is let in.
func runScript(ctx context.Context, path, user, class, password string) (bool, error) {
	if user == "" {
		user = "nobody:" // is nobody; scripts take it for a name that they do not know
	}
	ctx, cancel := context.WithTimeout(ctx, scriptTime)
	defer cancel()
	ours, theirs, err := reexec.Socketpair()
	if err != nil {
		return false, err
	}
	defer theirs.Close()
	args := []string{"-s", "response", "--", user}
	if class != "" {
		args = append(args, class)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	child.Isolate(cmd)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "SHELL=/bin/sh", "LC_ALL=C"}
	cmd.Dir, cmd.ExtraFiles, cmd.WaitDelay = "/", []*os.File{theirs}, time.Second
	conn, err := reexec.Conn(ours)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := cmd.Start(); err != nil {
		return false, err
	}
	theirs.Close()
	answer, talk := converse(ctx, conn, password)
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return false, fmt.Errorf("%s did not answer in %v", path, scriptTime)
	case errors.As(err, &exit) && exit.ExitCode() < 0:
		return false, fmt.Errorf("%s: %w", path, err)
	case err != nil && exit == nil:
		return false, fmt.Errorf("%s: %w", path, err)
	case talk != nil:
		return false, fmt.Errorf("%s: %w", path, talk)
	}
	return authorized(answer) && err == nil, nil
}

// converse sends the password and reads what the script says until it closes.
func converse(ctx context.Context, conn *net.UnixConn, password string) ([]byte, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	// A script that ends before it reads has decided without the password.
	_, _ = conn.Write([]byte("\x00" + password + "\x00"))
	_ = conn.CloseWrite()
	answer, err := io.ReadAll(io.LimitReader(conn, scriptAnswer+1))
	if len(answer) > scriptAnswer {
		return nil, errors.New("answer too long")
	}
	return answer, err
}

// authorized reads the answer: a line that authorizes and none that rejects.
func authorized(answer []byte) (ok bool) {
	for line := range bytes.FieldsFuncSeq(answer, func(r rune) bool { return r == '\n' || r == 0 }) {
		words := strings.Fields(string(line))
		switch {
		case len(words) == 0:
		case words[0] == "reject":
			return false
		case words[0] == "authorize":
			ok = true
		}
	}
	return ok
}
