package queue

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/godwit-mta/godwit/compat/diskfree"
)

var (
	errCrash = errors.New("the power is off")
	errFault = errors.New("injected fault")
)

// memDisk is a disk in memory that knows what a power cut may leave of it: see cut_test.go. It can
// fail, and be looked at, at every operation.
type memDisk struct {
	mu     sync.Mutex
	top    *node
	moves  []*move // renames that are not durable, in their order
	step   int     // operations so far that change something
	failAt int     // the operation that fails; 0: none
	err    error
	sticky bool // operations after failAt fail too
	off    bool // the power is
	lying  bool // syncs do nothing
	free   diskfree.Space
	deny   func(op, name string) error // fails what reads and links, too; nil: nothing
	// before is called before every operation with its name and that of what it is about; its
	// error makes the operation fail.
	before func(d *memDisk, op, name string, changes bool) error
	shared *sharedFiles
	enc    Encoding // of the stores that are opened on it
	ahead  int      // of their journals
	cache  bool     // they have one
	inodes uint64   // numbers that were given
}

// node is a file or, with names, a directory. Without past and events all of it is durable.
// data is never changed in place, only appended to, so that copies can share it.
type node struct {
	names  map[string]*node
	safe   map[string]*node // what was durable before the events
	events []event          // changes of names since the last sync
	data   []byte
	past   [][]byte // what data was since the last sync, and at first when it was made
	failed bool     // a sync failed, and no later one brings back what it lost
	shared *os.File // takes the place of data
	inode  uint64   // 0: nobody has asked
	change int64    // counts the changes
}

// event gives a name to a node or, without one, takes it away.
type event struct {
	name string
	n    *node
	move *move // the rename that it is a half of
}

// move is a rename: it gets durable in both directories or in none.
type move struct {
	from, to         *node
	oldName, newName string
}

func newMemDisk() *memDisk {
	return &memDisk{top: newDir(), free: plenty}
}

func newDir() *node { return &node{names: make(map[string]*node)} }

// inherit gives the disk to another process; this one is dead.
func (d *memDisk) inherit() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	return &memDisk{top: d.top, enc: d.enc, ahead: d.ahead, cache: d.cache, inodes: d.inodes, moves: d.moves, step: d.step, failAt: d.failAt, err: d.err, sticky: d.sticky,
		lying: d.lying, free: d.free, deny: d.deny, before: d.before, shared: d.shared}
}

// begin is called by every operation.
func (d *memDisk) begin(op, name string, changes bool) error {
	if d.off {
		return errCrash
	}
	if d.before != nil {
		if err := d.before(d, op, name, changes); err != nil {
			return err
		}
	}
	if !changes {
		return nil
	}
	d.step++
	if d.failAt != 0 && (d.step == d.failAt || d.sticky && d.step > d.failAt) {
		return d.err
	}
	return nil
}

// look gives the node of a name.
func (d *memDisk) look(op, name string) (*node, error) {
	if d.off {
		return nil, errCrash
	}
	if d.deny != nil {
		if err := d.deny(op, name); err != nil {
			return nil, err
		}
	}
	n := d.top
	for rest := path.Clean(name); rest != "." && rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		if n = n.names[first]; n == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

// refuse makes one operation on a name fail from now on; without an error it works again.
func (d *memDisk) refuse(op, name string, err error) {
	d.refuseIf(func(o, n string) error {
		if o == op && n == name {
			return err
		}
		return nil
	})
}

func (d *memDisk) refuseIf(deny func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deny = deny
}

func (d *memDisk) parent(op, name string) (*node, string, error) {
	dir, base := path.Split(name)
	n, err := d.look(op, dir)
	return n, base, err
}

// set changes what a name in a directory stands for.
func (n *node) set(name string, kid *node, m *move) {
	if len(n.events) == 0 {
		n.safe = make(map[string]*node, len(n.names)+1)
		for name, kid := range n.names {
			n.safe[name] = kid
		}
	}
	n.change++
	n.events = append(n.events, event{name, kid, m})
	if kid == nil {
		delete(n.names, name)
	} else {
		n.names[name] = kid
	}
}

func (d *memDisk) isOff() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.off
}

func (d *memDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("open", name, false); err != nil {
		return nil, err
	}
	n, err := d.look("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{d: d, n: n, name: name}, nil
}

func (d *memDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.edit(name, true)
}

func (d *memDisk) Edit(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.edit(name, false)
}

func (d *memDisk) edit(name string, empty bool) (file, error) {
	dir, base, err := d.parent("create", name)
	if err != nil {
		return nil, err
	}
	if err := d.begin("create", name, true); err != nil {
		return nil, err
	}
	n := dir.names[base]
	if n == nil {
		n = &node{}
		dir.set(base, n, nil)
	} else if empty && len(n.data) > 0 {
		n.write(nil)
		n.failed = false // all of it will be written again
	}
	return &memFile{d: d, n: n, name: name}, nil
}

func (d *memDisk) CreateShared(name string) (*os.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("create", name)
	if err != nil {
		return nil, err
	}
	if dir.names[base] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if err := d.begin("create", name, true); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "shared.")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	kept, err := os.Open(f.Name())
	if err != nil {
		return nil, err
	}
	dir.set(base, &node{shared: kept, past: [][]byte{nil}}, nil)
	return f, nil
}

// OpenShared gives a real file with the same contents.
func (d *memDisk) OpenShared(name string) (*os.File, error) {
	b, err := d.ReadFile(name, 1<<30)
	if err != nil {
		return nil, err
	}
	if d.shared != nil {
		return d.shared.open(b)
	}
	f, err := os.CreateTemp("", "shared.")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	_, err = f.Write(b)
	return f, err
}

// sharedFiles keeps a real file for every contents that was asked for.
type sharedFiles struct {
	mu    sync.Mutex
	dir   string
	names map[string]string
}

func newSharedFiles(t testing.TB) *sharedFiles {
	return &sharedFiles{dir: t.TempDir(), names: make(map[string]string)}
}

func (s *sharedFiles) open(b []byte) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := s.names[string(b)]; ok {
		return os.Open(name)
	}
	f, err := os.CreateTemp(s.dir, "")
	if err != nil {
		return nil, err
	}
	s.names[string(b)] = f.Name()
	_, err = f.Write(b)
	return f, err
}

func (d *memDisk) ReadFile(name string, max int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("read", name, false); err != nil {
		return nil, err
	}
	n, err := d.look("read", name)
	if err != nil {
		return nil, err
	}
	if len(n.contents()) > max {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return append([]byte(nil), n.contents()...), nil
}

func (n *node) contents() []byte {
	if n.shared == nil {
		return n.data
	}
	b, _ := io.ReadAll(io.NewSectionReader(n.shared, 0, 1<<30))
	return b
}

func (d *memDisk) Rename(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, oldName, err := d.parent("rename", old)
	if err != nil {
		return err
	}
	to, newName, err := d.parent("rename", new)
	if err != nil {
		return err
	}
	n := from.names[oldName]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: old, Err: fs.ErrNotExist}
	}
	if err := d.begin("rename", new, true); err != nil {
		return err
	}
	m := &move{from, to, oldName, newName}
	from.set(oldName, nil, m)
	to.set(newName, n, m)
	d.moves = append(d.moves, m)
	return nil
}

func (d *memDisk) Link(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.look("link", old)
	if err != nil {
		return err
	}
	to, base, err := d.parent("link", new)
	if err != nil {
		return err
	}
	if to.names[base] != nil {
		return &fs.PathError{Op: "link", Path: new, Err: fs.ErrExist}
	}
	if err := d.begin("link", new, true); err != nil {
		return err
	}
	to.set(base, n, nil)
	return nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if len(n.names) > 0 {
		return errors.New("directory is not empty")
	}
	if err := d.begin("remove", name, true); err != nil {
		return err
	}
	dir.set(base, nil, nil)
	return nil
}

func (d *memDisk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("mkdir", name)
	if err != nil {
		return err
	}
	if dir.names[base] != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	if err := d.begin("mkdir", name, true); err != nil {
		return err
	}
	dir.set(base, newDir(), nil)
	return nil
}

func (d *memDisk) ReadDir(name string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("readdir", name, false); err != nil {
		return nil, err
	}
	n, err := d.look("readdir", name)
	if err != nil {
		return nil, err
	}
	for name := range n.names {
		names = append(names, name)
	}
	return names, nil
}

func (d *memDisk) Exists(name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("lstat", name, false); err != nil {
		return false, err
	}
	_, err := d.look("lstat", name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// memDir is a directory by its name.
type memDir struct {
	d    *memDisk
	name string
}

func (d *memDisk) Dir(name string) (openDir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("open", name, false); err != nil {
		return nil, err
	}
	_, err := d.look("open", name)
	return memDir{d, name}, err
}

func (m memDir) Stat(name string) (stamp, error) { return m.d.Stat(m.name + "/" + name) }
func (m memDir) Close() error                    { return nil }

// Stat gives a stamp that a power cut does not change, whatever it leaves of what was not synced.
func (d *memDisk) Stat(name string) (stamp, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.begin("stat", name, false); err != nil {
		return stamp{}, err
	}
	n, err := d.look("lstat", name)
	if err != nil {
		return stamp{}, err
	}
	if n.inode == 0 {
		d.inodes++
		n.inode = d.inodes
	}
	return stamp{Inode: n.inode, Changed: n.change, Size: int64(len(n.contents()))}, nil
}

func (d *memDisk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.look("sync", name)
	if err != nil {
		return err
	}
	if err := d.begin("syncdir", name, true); err != nil || d.lying {
		return err
	}
	events := n.events
	n.events, n.safe = nil, nil
	for _, e := range events {
		d.durable(e.move)
	}
	return nil
}

func (d *memDisk) Free() (diskfree.Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.free, d.begin("free", "", false)
}

func (d *memDisk) Close() error { return nil }
