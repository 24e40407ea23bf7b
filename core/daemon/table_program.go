package daemon

import (
	"fmt"
	"os/exec"
	"slices"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/platform"
)

// startTable starts the program of a table and gives lookup the socket to it.
func (p *parent) startTable(s *set, r *ipc.Request) {
	var req tableRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	t, ok := s.granted.table(req.Generation, req.Name)
	if !ok || !served(&t) {
		r.Fail(fmt.Errorf("table %q is not served by a program", req.Name))
		return
	}
	cmd, err := p.tableCommand(&t)
	p.giveProgram(s, r, Lookup, fmt.Sprintf("table %q", t.Name), cmd, err)
}

// served reports whether a table is served by a program.
func served(t *config.Table) bool {
	return !slices.Contains([]string{"static", "file", "db", "getpwnam"}, t.Backend)
}

// tableCommand gives the command of a table as OpenSMTPD runs it: the name of the table in
// the place of the program's own, then the path that the configuration gives. It runs as
// the daemon's user, with next to no environment.
func (p *parent) tableCommand(t *config.Table) (*exec.Cmd, error) {
	path, err := tableProgramPath(p.opts.Facts, t.Backend)
	if err != nil {
		return nil, err
	}
	args := []string{t.Name}
	if t.Path != "" {
		args = append(args, t.Path)
	}
	return p.programCommand(path, &p.users.daemon, args...)
}

// tableProgramPath finds the program that serves tables of a type.
func tableProgramPath(facts platform.Facts, backend string) (string, error) {
	return programPath(facts, "table-"+backend)
}
