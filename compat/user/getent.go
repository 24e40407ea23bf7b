package user

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Bounds of a question to a program of the system.
const (
	askTime   = 5 * time.Second
	askOutput = maxLine
)

// errNoProgram means that the program is not installed.
var errNoProgram = errors.New("no such program")

// ask runs a program of the system from one of its usual places and gives what it
// prints. found is false when it ended with status 2, which is getent(1)'s "no such key".
func ask(program string, args ...string) (out []byte, found bool, err error) {
	path, err := exec.LookPath("/usr/bin/" + program)
	if err != nil {
		if path, err = exec.LookPath("/bin/" + program); err != nil {
			return nil, false, errNoProgram
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	buf := &bounded{}
	cmd.Stdout = buf
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, false, fmt.Errorf("%s did not answer in %v", program, askTime)
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("%s: %w", program, err)
	}
	return buf.Bytes(), true, nil
}

// bounded is a buffer that takes up to askOutput octets.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > askOutput {
		return 0, errors.New("answer too long")
	}
	return b.Buffer.Write(p)
}

// getent looks key up in a database and hands the answer to parse. Without getent there
// is nobody that the files do not have.
func getent(database, key string, parse func(io.Reader) error) error {
	out, found, err := ask("getent", database, key)
	if errors.Is(err, errNoProgram) || err == nil && !found {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return parse(bytes.NewReader(out))
}

// idGroups asks id(1) for all groups of a user that the files do not know, without gid.
func idGroups(name string, gid uint32) ([]uint32, error) {
	out, found, err := ask("id", "-G", name)
	if err == nil && !found {
		err = errors.New("exit status 2")
	}
	if err != nil {
		return nil, fmt.Errorf("id -G: %w", err)
	}
	var groups []uint32
	for f := range strings.FieldsSeq(string(out)) {
		g, err := id(f)
		if err != nil {
			return nil, fmt.Errorf("id -G: %w", err)
		}
		if g != gid {
			groups = append(groups, g)
		}
	}
	return groups, nil
}
