package daemon

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/godwit-mta/godwit/compat/privdrop"
	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/platform"
)

// startFilter starts a filter process and gives the dispatcher the socket to it.
func (p *parent) startFilter(s *set, r *ipc.Request) {
	var req filterRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	proc, ok := s.granted.proc(req.Generation, req.Name)
	if !ok {
		r.Fail(fmt.Errorf("there is no filter process %q", req.Name))
		return
	}
	cmd, err := p.filterCommand(&proc)
	p.giveProgram(s, r, Dispatcher, proc.Name, cmd, err)
}

// filterCommand gives the command of a filter process as OpenSMTPD runs it: by the shell, as its
// user, whose first group or the given one is the only one, in the directory that is to be its root.
func (p *parent) filterCommand(proc *config.Proc) (*exec.Cmd, error) {
	u := p.users.daemon
	cmd, err := p.programCommand("/bin/sh", &u, "sh", "-c", "exec "+filterPath(p.opts.Facts, proc.Command))
	if err != nil {
		return nil, err
	}
	if !p.root {
		if proc.Chroot != "" {
			return nil, errors.New("chroot: only root can do that")
		}
		return cmd, nil
	}
	if proc.User != "" {
		if u, err = user.Lookup(proc.User); err != nil {
			return nil, fmt.Errorf("user %s: %w", proc.User, err)
		}
	}
	if proc.Group != "" {
		if u.GID, err = user.LookupGroup(proc.Group); err != nil {
			return nil, fmt.Errorf("group %s: %w", proc.Group, err)
		}
	}
	if proc.Chroot != "" && !filepath.IsAbs(proc.Chroot) {
		return nil, fmt.Errorf("chroot: the path %s does not begin with /", proc.Chroot)
	}
	if u.UID == 0 {
		return nil, fmt.Errorf("user %s: filters do not run as root", u.Name)
	}
	id := privdrop.Identity{User: u.Name, UID: u.UID, GID: u.GID, Groups: []uint32{u.GID}}
	return cmd, reexec.As(cmd, proc.Chroot, id)
}

// filterPath completes a command that does not begin with a path: its program is among those
// that come with the server.
func filterPath(facts platform.Facts, command string) string {
	if strings.HasPrefix(command, "/") {
		return command
	}
	name, rest, more := strings.Cut(command, " ")
	path, err := programPath(facts, name)
	if err != nil { // the shell says so
		path = filepath.Join(facts.Libexec, name)
	}
	if more {
		path += " " + rest
	}
	return path
}

// filterProcs gives the processes of those filters that something uses.
func filterProcs(cfg *config.Config) []config.Proc {
	named := make(map[string]bool)
	for _, f := range usedFilters(cfg) {
		named[f.Proc] = true
	}
	var procs []config.Proc
	for _, p := range cfg.Procs {
		if named[p.Name] {
			procs = append(procs, p)
		}
	}
	return procs
}

// failOpen names the processes without which sessions go on.
func failOpen(cfg *config.Config) (names []string) {
	for _, p := range cfg.Procs {
		if p.FailOpen {
			names = append(names, p.Name)
		}
	}
	return names
}

// usedFilters gives the filters that listeners and relays use, and those of their chains.
func usedFilters(cfg *config.Config) []config.Filter {
	used := make(map[string]bool)
	for _, l := range cfg.Listeners {
		used[l.Filter] = true
	}
	used[cfg.Socket.Filter] = true
	for _, a := range cfg.Actions {
		used[a.Relay.Filter] = true
	}
	for _, f := range cfg.Filters {
		if used[f.Name] {
			for _, name := range f.Chain {
				used[name] = true
			}
		}
	}
	var list []config.Filter
	for _, f := range cfg.Filters {
		if used[f.Name] {
			list = append(list, f)
		}
	}
	return list
}
