package daemon

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/ipc"
)

// grants are the tables and filter processes of the configurations that lookup and the
// dispatcher hold. For these, and no others, they may ask the parent for files and programs.
type grants struct {
	mu   sync.Mutex
	list []grant // the newest is the last
}

type grant struct {
	generation uint64
	tables     []config.Table
	procs      []config.Proc
}

// add lets lookup and the dispatcher ask for what is in a configuration that they are to prepare.
func (g *grants) add(generation uint64, tables []config.Table, procs []config.Proc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, grant{generation, tables, procs})
}

// settle ends a preparation: with used the configuration replaced the others, of which
// the last are kept for sessions that began with them, otherwise it is forgotten.
func (g *grants) settle(used bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !used {
		g.list = g.list[:len(g.list)-1]
		return
	}
	g.list = slices.Clone(g.list[max(0, len(g.list)-keptGenerations):])
}

// of gives what belongs to a configuration.
func (g *grants) of(generation uint64) grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.IndexFunc(g.list, func(c grant) bool { return c.generation == generation }); i >= 0 {
		return g.list[i]
	}
	return grant{}
}

// table gives the declaration of a table.
func (g *grants) table(generation uint64, name string) (t config.Table, ok bool) {
	list := g.of(generation).tables
	i := slices.IndexFunc(list, func(t config.Table) bool { return t.Name == name })
	if i < 0 {
		return t, false
	}
	return list[i], true
}

// proc gives the declaration of a filter process.
func (g *grants) proc(generation uint64, name string) (p config.Proc, ok bool) {
	list := g.of(generation).procs
	i := slices.IndexFunc(list, func(p config.Proc) bool { return p.Name == name })
	if i < 0 {
		return p, false
	}
	return list[i], true
}

// file reports whether a table is read from the file.
func (g *grants) file(path string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.list {
		for _, t := range c.tables {
			own := filepath.Clean(t.Path)
			if !served(&t) && t.Path != "" && (path == own || path == own+".db") {
				return true
			}
		}
	}
	return false
}

// openTable opens the file of a table that lookup may not read itself: such files hold
// passwords, and only root is to read them.
func (p *parent) openTable(s *set, r *ipc.Request) {
	var req fileRequest
	if err := r.Decode(&req); err != nil {
		r.Fail(err)
		return
	}
	if !s.granted.file(req.Path) {
		r.Fail(fmt.Errorf("%s: no table is read from it", req.Path))
		return
	}
	f, err := owner.Open(req.Path)
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(nil, f)
}
