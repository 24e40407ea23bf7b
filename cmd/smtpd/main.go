// Smtpd is the mail server.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/signals"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/daemon"
	"github.com/godwit-mta/godwit/core/getopt"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

var version = "dev" // set by the linker

func main() {
	if role, ok := daemon.RoleOf(os.Args[0]); ok && len(os.Args) == 1 {
		os.Exit(member(role))
	}
	os.Exit(parent(os.Args[1:]))
}

// member is a process that the parent started.
func member(role daemon.Role) int {
	// Whoever stops a terminal's process group means the parent, which tells its members.
	signals.Ignore(signals.Interrupt, signals.Terminate, signals.Hangup, signals.Pipe, signals.User1, signals.User2)
	procs := daemon.LimitProcessors(role)
	sock, err := reexec.Socket()
	if err == nil {
		err = privdrop.CloseFrom(4)
	}
	if err == nil {
		err = daemon.RunMember(role, sock, version, procs)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "smtpd: %s: %v\n", role, err)
		return 1
	}
	return 0
}

const usage = `usage: smtpd [-dFhnv] [-B backend=name] [-D macro=value] [-f file] [-P system] [-S spool] [-s socket] [-T trace]
`

// settings are what the command line says.
type settings struct {
	daemon.Options
	verbose    bool // -v
	traced     trace.Subsystem
	check      bool // -n
	foreground bool // -d or -F
	help       bool
}

func parent(args []string) int {
	s, err := commandLine(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "smtpd: %v\n%s", err, usage)
		return 1
	}
	switch {
	case s.help:
		fmt.Printf("version: Godwit %s\n%s", version, usage)
		return 0
	case s.check:
		return check(s)
	case !s.foreground:
		return background()
	}
	return run(s)
}

func commandLine(args []string) (*settings, error) {
	facts := platform.Current()
	s := &settings{Options: daemon.Options{Version: version, ConfigFile: facts.ConfigFile, Macros: make(map[string]string),
		Spool: facts.Spool, Socket: facts.ControlSocket, PidFile: facts.PidFile, Facts: facts}}
	opts, rest, err := getopt.Parse(args, "dFhnvB:D:f:P:S:s:T:")
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("unexpected argument %q", rest[0])
	}
	for _, o := range opts {
		if err := s.option(o); err != nil {
			return nil, err
		}
	}
	if s.Spool != facts.Spool { // a daemon of its own, beside that of the system
		s.PidFile = ""
		if s.Socket == facts.ControlSocket {
			s.Socket = filepath.Join(s.Spool, "smtpd.sock")
		}
	}
	return s, nil
}

func (s *settings) option(o getopt.Option) error {
	switch o.Letter {
	case 'B':
		return s.Backends.ParseBackend(o.Value)
	case 'd':
		s.foreground, s.Stderr = true, true
	case 'F':
		s.foreground = true
	case 'h':
		s.help = true
	case 'n':
		s.check = true
	case 'v':
		s.verbose = true
	case 'D':
		name, value, ok := strings.Cut(o.Value, "=")
		if !ok || name == "" {
			return fmt.Errorf("could not parse macro definition %s", o.Value)
		}
		s.Macros[name] = value
	case 'f':
		s.ConfigFile = o.Value
	case 'P':
		return s.pause(o.Value)
	case 'S':
		dir, err := filepath.Abs(o.Value)
		s.Spool = dir
		return err
	case 's':
		path, err := filepath.Abs(o.Value)
		s.Socket = path
		return err
	case 'T':
		for name := range strings.SplitSeq(o.Value, ",") {
			sub, ok := trace.ParseSubsystem(name)
			if !ok {
				return fmt.Errorf("unknown trace flag %q", name)
			}
			s.traced |= sub
		}
	default:
		return fmt.Errorf("option -%c is not supported yet", o.Letter)
	}
	return nil
}

func (s *settings) pause(system string) error {
	switch system {
	case "mda":
		s.PausedMDA = true
	case "mta":
		s.PausedMTA = true
	case "smtp":
		s.PausedSMTP = true
	default:
		return fmt.Errorf("unknown system %q, must be mda, mta or smtp", system)
	}
	return nil
}

// check is smtpd -n.
func check(s *settings) int {
	cfg, warnings, err := daemon.LoadConfig(s.ConfigFile, s.Macros, s.Facts)
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, w)
	}
	if err != nil {
		report(err)
		return 1
	}
	for _, u := range cfg.Unsupported {
		fmt.Fprintln(os.Stderr, u)
	}
	for _, w := range daemon.CheckFiles(cfg) {
		fmt.Fprintln(os.Stderr, w)
	}
	verdict := "configuration OK"
	if len(cfg.Unsupported) > 0 {
		verdict += ", but smtpd does not start with it"
	}
	fmt.Fprintln(os.Stderr, verdict)
	return 0
}

// report prints an error; those of a configuration file bring their own layout.
func report(err error) {
	var errs config.Errors
	if errors.As(err, &errs) {
		fmt.Fprint(os.Stderr, strings.TrimRight(errs.Error(), "\n")+"\n")
		return
	}
	fmt.Fprintf(os.Stderr, "smtpd: %v\n", err)
}

// run is the daemon itself.
func run(s *settings) int {
	s.Ready = reexec.Started()
	_ = privdrop.CloseFrom(3)
	s.Sink = daemon.NewSyslogSink()
	if s.Stderr {
		s.Sink = daemon.NewStderrSink(os.Stderr)
	}
	s.Log = trace.New(s.Sink)
	s.Log.SetVerbose(s.verbose)
	s.Log.SetTraced(s.traced)
	s.Spawn = daemon.Processes(s.Log, s.Stderr)

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	reload := make(chan struct{}, 1)
	s.Reload = reload
	sigs, reset := signals.Notify(signals.Terminate, signals.Interrupt, signals.Hangup)
	defer reset()
	signals.Ignore(signals.Pipe, signals.User1, signals.User2)
	go func() {
		for sig := range sigs {
			if sig != signals.Hangup {
				stop()
				continue
			}
			select {
			case reload <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	if err := daemon.Run(ctx, s.Options); err != nil {
		report(err)
		s.Log.Fatalf("%v", err)
		return 1
	}
	return 0
}

// background starts this program again with -F, in a session of its own. It waits until
// that either runs or has said why not.
func background() int {
	err := reexec.Background(append([]string{"-F"}, os.Args[1:]...))
	if err != nil {
		fmt.Fprintf(os.Stderr, "smtpd: %v\n", err)
		return 1
	}
	return 0
}
