package mda

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/child"
	"github.com/godwit-mta/godwit/core/envelope"
)

// defaultPath is the PATH of commands; that of the daemon is root's business.
const defaultPath = "/usr/bin:/bin"

// shell runs commands that are more than words.
const shell = "/bin/sh"

// lastOutput is how long output of processes that a command left behind is waited for.
const lastOutput = 2 * time.Second

// command runs j.Path with the message on its standard input. There is at most one shell
// and nothing in its text comes from the message: values are in the environment.
func (a *Agent) command(ctx context.Context, j *Job) Outcome {
	var out lastLine
	input := &guardedInput{r: j.message()}
	cmd, err := start(ctx, j, input, &out)
	if ctx.Err() != nil && err != nil {
		return Outcome{Status: envelope.TempFail, Text: terminated(ctx)}
	}
	if err != nil {
		return Outcome{Status: envelope.TempFail, Text: quoted(j.Method.String() + ": " + err.Error()), Exit: exOSErr}
	}
	// That the command did not read everything, or left processes behind that hold its
	// output, is its own business; how it ended is what counts.
	_ = cmd.Wait()
	if input.err != nil {
		return j.failed(input.err)
	}
	return ended(ctx, cmd.ProcessState, out.String())
}

// start runs the command: Argv as it is, Path directly when it consists of words alone. What then does not start
// is left to the shell: it may be one of its builtins or a script without a first line, and
// if it is nothing at all, the shell says so in the words that everybody knows.
func start(ctx context.Context, j *Job, input *guardedInput, out io.Writer) (*exec.Cmd, error) {
	if len(j.Argv) > 0 {
		cmd := prepare(ctx, j, input, out, j.Argv[0], j.Argv)
		return cmd, cmd.Start()
	}
	if words := plainWords(j.Path); words != nil {
		if path := lookPath(words[0]); path != "" {
			cmd := prepare(ctx, j, input, out, path, words)
			if err := cmd.Start(); err == nil {
				return cmd, nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := prepare(ctx, j, input, out, shell, []string{"sh", "-c", j.Path})
	return cmd, cmd.Start()
}

func prepare(ctx context.Context, j *Job, input *guardedInput, out io.Writer, path string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path)
	cmd.Args = args
	cmd.Env = j.environment()
	cmd.Stdin = input
	cmd.Stdout = out
	cmd.Stderr = out // the same writer: one pipe, lines in order
	cmd.WaitDelay = lastOutput
	if j.handover != nil {
		cmd.ExtraFiles = []*os.File{j.handover}
	}
	child.Isolate(cmd)
	input.abort = func() { _ = child.KillGroup(cmd.Process) }
	return cmd
}

// environment has these variables and no others.
func (j *Job) environment() []string {
	env := []string{
		"PATH=" + defaultPath,
		"DOMAIN=" + j.Rcpt.Domain,
		"HOME=" + j.Home,
		"ORIGINAL_RECIPIENT=" + j.Rcpt.String(),
		"RECIPIENT=" + j.Dest.String(),
		"SHELL=" + shell,
		"LOCAL=" + j.Rcpt.Local,
		"LOGNAME=" + j.User,
		"USER=" + j.User,
		"SENDER=" + j.Sender.String(),
	}
	if j.Subaddress != "" {
		env = append(env, "EXTENSION="+j.Subaddress)
	}
	return env
}

// plainWords splits a command in which nothing has a meaning to a shell, nil for others.
func plainWords(command string) []string {
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte(" \t-_./,:@+%", c) >= 0:
		default:
			return nil
		}
	}
	return strings.Fields(command)
}

// lookPath finds an executable file as a shell with our PATH would, "" when there is none.
func lookPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range filepath.SplitList(defaultPath) {
		path := filepath.Join(dir, name)
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// ended judges how a command ended: 71, 75 and signals are temporary, all other failures
// are the command's considered answer.
func ended(ctx context.Context, state *os.ProcessState, output string) Outcome {
	code, signal := child.Status(state)
	if code == 0 {
		return Outcome{Status: envelope.Delivered}
	}
	out := Outcome{Status: envelope.TempFail, Text: "exited abnormally"}
	switch {
	case signal != 0 && ctx.Err() != nil:
		out.Text = terminated(ctx)
	case signal != 0:
		out.Text = "terminated; signal " + strconv.Itoa(signal)
	default:
		out.Exit = code
		if code != exOSErr && code != exTempFail {
			out.Status = envelope.PermFail
		}
		if output != "" {
			out.Text = quoted(output)
		}
	}
	return out
}

// terminated says why we ended a command ourselves.
func terminated(ctx context.Context) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "terminated; timeout"
	}
	return "terminated; shutdown"
}

// guardedInput gives the message to a command. If it cannot be read to its end the command
// is killed before its input ends: it must not take half a message for a whole one.
type guardedInput struct {
	r     io.Reader
	abort func()
	err   error
}

func (g *guardedInput) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err != nil && err != io.EOF {
		g.err = err
		g.abort()
	}
	return n, err
}

// lastLine keeps the beginning of the last line that is not blank.
type lastLine struct {
	line, last []byte
}

func (l *lastLine) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			l.end()
		case len(l.line) < envelope.MaxErrorLine:
			l.line = append(l.line, c)
		}
	}
	return len(p), nil
}

func (l *lastLine) end() {
	if len(strings.TrimSpace(string(l.line))) > 0 {
		l.last = append(l.last[:0], l.line...)
	}
	l.line = l.line[:0]
}

func (l *lastLine) String() string {
	l.end()
	return strings.TrimSpace(string(l.last))
}
