package service

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
)

// rc is a service in an rc.d system of the BSDs.
type rc struct {
	manager string // "openbsd-rc.d"
	name    string
	script  string // path of the script
	text    string // what is in it

	// Either enabling is a file of settings that rc.subr(8) reads, or commands do it.
	settingsFile    string
	settings        string
	enable, disable []string

	// command gives what carries out start, stop, restart and status. The status is 0
	// when the service is running.
	command func(action string) []string
	run     func(command []string) error
}

// rcFor gives the service in the rc.d of a system; ok is false when it has none.
func rcFor(goos, name, program string) (r *rc, ok bool) {
	r = &rc{manager: goos + "-rc.d", name: name, run: run}
	r.command = func(action string) []string { return []string{r.script, action} }
	var text string
	switch goos {
	case "openbsd":
		r.script, text = "/etc/rc.d/"+name, openbsdScript
		r.enable = []string{"/usr/sbin/rcctl", "enable", name}
		r.disable = []string{"/usr/sbin/rcctl", "disable", name}
		r.command = func(action string) []string {
			if action == "status" {
				action = "check"
			}
			return []string{"/usr/sbin/rcctl", action, name}
		}
	case "netbsd":
		r.script, text = "/etc/rc.d/"+name, netbsdScript
		r.settings = name + "=YES\n"
	case "freebsd", "dragonfly":
		r.script, text = "/usr/local/etc/rc.d/"+name, freebsdScript
		r.settings = name + "_enable=YES\n"
	default:
		return nil, false
	}
	if r.settings != "" {
		r.settingsFile = "/etc/rc.conf.d/" + name
	}
	r.text = fill(text, name, program)
	return r, true
}

// run carries out one command; its output is part of the error.
func run(command []string) error {
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Install writes the script and has it started with the system.
func (r *rc) Install() error {
	if err := create(r.script, r.text, 0o555); err != nil {
		return err
	}
	var err error
	if r.settingsFile != "" {
		err = create(r.settingsFile, r.settings, 0o644)
		if errors.Is(err, os.ErrExist) {
			// An administrator's settings from before are kept.
			err = nil
		}
	} else {
		err = r.run(r.enable)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(r.script))
	}
	return err
}

// create makes a new file and its directory.
func create(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// Uninstall takes back what Install did. Settings that somebody has changed stay.
func (r *rc) Uninstall() error {
	if !r.installed() {
		return service.ErrNotInstalled
	}
	if r.settingsFile != "" {
		if text, err := os.ReadFile(r.settingsFile); err == nil && string(text) == r.settings {
			if err := os.Remove(r.settingsFile); err != nil {
				return err
			}
		}
	} else if err := r.run(r.disable); err != nil {
		return err
	}
	return os.Remove(r.script)
}

func (r *rc) installed() bool {
	_, err := os.Stat(r.script)
	return err == nil
}

func (r *rc) control(action string) error {
	if !r.installed() {
		return service.ErrNotInstalled
	}
	return r.run(r.command(action))
}

func (r *rc) Start() error   { return r.control("start") }
func (r *rc) Stop() error    { return r.control("stop") }
func (r *rc) Restart() error { return r.control("restart") }

// Status asks the script, which answers with its exit status.
func (r *rc) Status() (service.Status, error) {
	err := r.control("status")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return service.StatusRunning, nil
	case errors.As(err, &exit):
		return service.StatusStopped, nil
	}
	return service.StatusUnknown, err
}

func (r *rc) String() string   { return r.name }
func (r *rc) Platform() string { return r.manager }

// The library can also run a service and log for it; see nothing.
func (r *rc) Run() error                                             { return errNotRun }
func (r *rc) Logger(chan<- error) (service.Logger, error)            { return nil, errNotRun }
func (r *rc) SystemLogger(errs chan<- error) (service.Logger, error) { return r.Logger(errs) }

// system is an rc.d as the library wants to see a service manager.
type system struct{ rc *rc }

func (s system) String() string    { return s.rc.manager }
func (s system) Detect() bool      { return true }
func (s system) Interactive() bool { return true }

// New gives our service; everything about it is known already.
func (s system) New(service.Interface, *service.Config) (service.Service, error) { return s.rc, nil }
