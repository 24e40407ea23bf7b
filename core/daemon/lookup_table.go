package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// retireAfter is how long the programs of an earlier configuration go on without being
// asked. A session that is silent for so long has timed out.
const retireAfter = 10 * time.Minute

// openTables opens the tables of a configuration and starts the programs that serve some.
func (l *lookupRole) openTables(s *lookupSettings) (*table.Set, error) {
	src := table.Sources{Users: systemUsers{}, OpenFile: l.openFile, Valid: validEntry, Log: l.m.log, Before: l.cfg.get(0).set(),
		Facts: table.Facts{Hostname: s.Hostname, Addresses: s.Interfaces, SubAddrDelim: s.SubAddrDelim}}
	src.Open = func(t config.Table) (table.Table, error) {
		if !served(&t) {
			return nil, fmt.Errorf("backend %q is not supported", t.Backend)
		}
		return table.OpenProgram(l.ctx, table.ProgramOptions{Table: t.Name, SubAddrDelim: s.SubAddrDelim, Log: l.m.log,
			Start: func(ctx context.Context) (io.ReadWriteCloser, error) {
				return l.startProgram(ctx, s.Generation, t.Name)
			}})
	}
	return table.NewSet(s.Tables, src)
}

// startProgram has the parent start the program of a table.
func (l *lookupRole) startProgram(ctx context.Context, generation uint64, name string) (io.ReadWriteCloser, error) {
	return l.m.openProgram(ctx, kindTableStart, &tableRequest{generation, name})
}

// openFile opens a file of a table. When only root may read it the parent opens it.
func (l *lookupRole) openFile(path string) (*os.File, error) {
	f, err := owner.Open(path)
	if !errors.Is(err, fs.ErrPermission) {
		return f, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, setupWait)
	defer cancel()
	files, err := l.m.parent.CallFiles(ctx, kindTableFile, &fileRequest{filepath.Clean(path)}, nil)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("%s: the parent gave no file", path)
	}
	return files[0], nil
}
