// Package service hands the daemon over to the system's service manager: systemd, OpenRC
// and others through github.com/kardianos/service with texts of our own, the rc.d of the
// BSDs by ourselves.
//
// It is linked into smtpd-service only, because that library looks around in the system
// when a program starts. The daemon always runs in the foreground (-F) and the manager
// watches it.
package service

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/kardianos/service"

	"github.com/godwit-mta/godwit/platform"
)

const usage = "usage: smtpd-service [-program path] install | uninstall | start | stop | restart | status\n"

// Exit statuses of Main besides 0 and 1; those of status are the ones that init scripts
// have on Linux (LSB 5.0, "Init Script Actions").
const (
	exitUsage   = 64
	exitStopped = 3
	exitUnknown = 4
)

// Main is the program smtpd-service. It gives the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("smtpd-service", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { io.WriteString(stderr, usage) }
	program := flags.String("program", "", "the daemon")
	if flags.Parse(args) != nil {
		return exitUsage
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return exitUsage
	}
	action := flags.Arg(0)
	if !slices.Contains([]string{"install", "uninstall", "start", "stop", "restart", "status"}, action) {
		flags.Usage()
		return exitUsage
	}
	s, err := open(*program)
	if err == nil && action == "status" {
		return status(s, stdout, stderr)
	}
	if err == nil {
		err = service.Control(s, action)
	}
	if err != nil {
		fmt.Fprintf(stderr, "smtpd-service: %v\n", err)
		return 1
	}
	return 0
}

func status(s service.Service, stdout, stderr io.Writer) int {
	now, err := s.Status()
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		fmt.Fprintln(stdout, "not installed")
		return exitUnknown
	case err != nil:
		fmt.Fprintf(stderr, "smtpd-service: %v\n", err)
		return exitUnknown
	case now == service.StatusRunning:
		fmt.Fprintln(stdout, "running")
		return 0
	}
	fmt.Fprintln(stdout, "stopped")
	return exitStopped
}

// open chooses the service manager of this system and gives our service in it.
func open(program string) (service.Service, error) {
	name := platform.Current().Service
	program, err := daemon(program)
	if err != nil {
		return nil, err
	}
	if rc, ok := rcFor(runtime.GOOS, name, program); ok {
		service.ChooseSystem(system{rc})
	}
	config := &service.Config{
		Name:        name,
		DisplayName: name,
		Description: "Godwit SMTP server",
		Executable:  program,
		Arguments:   []string{"-F"},
		Option:      options(service.Platform(), name, program),
	}
	return service.New(nothing{}, config)
}

// daemon gives the path of smtpd, which lies beside this program unless it is given.
func daemon(path string) (string, error) {
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		path = filepath.Join(filepath.Dir(self), "smtpd")
	}
	if !filepath.IsAbs(path) || strings.ContainsFunc(path, special) {
		return "", fmt.Errorf("%q is not an absolute path of letters, digits and ./_+-", path)
	}
	if info, err := os.Stat(path); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is not a program", path)
	}
	return path, nil
}

// special says whether a character would need quoting in a text of a service manager.
func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
		strings.ContainsRune("./_+-", r))
}

// options gives our text for a manager by the name that the library has for it. Others
// (SysV, upstart, procd) get the library's.
func options(manager, name, program string) service.KeyValue {
	switch manager {
	case "linux-systemd":
		return service.KeyValue{"SystemdScript": fill(systemdUnit, name, program)}
	case "linux-openrc":
		return service.KeyValue{"OpenRCScript": fill(openRCScript, name, program)}
	case "darwin-launchd":
		return service.KeyValue{"LaunchdConfig": fill(launchdPlist, name, program)}
	}
	return nil
}

// nothing is the half of the library's contract that runs a service, which we do not use:
// smtpd knows nothing of service managers.
type nothing struct{}

var errNotRun = errors.New("smtpd-service does not run the daemon")

func (nothing) Start(service.Service) error { return errNotRun }
func (nothing) Stop(service.Service) error  { return errNotRun }
