package queue

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"sync"

	"github.com/godwit-mta/godwit/compat/diskfree"
)

var (
	errCrash = errors.New("the power is off")
	errFault = errors.New("injected fault")
)

// memDisk is a disk in memory that forgets at a power cut what was not synced: contents of
// files, and names in directories. It can fail at the n-th operation that changes
// something, or lose power there.
type memDisk struct {
	mu     sync.Mutex
	top    *node
	step   int // operations so far
	failAt int // the operation that fails; 0: none
	err    error
	sticky bool // operations after failAt fail too
	cutAt  int  // the operation at which the power goes; 0: never
	off    bool
	lying  bool // syncs do nothing
	free   diskfree.Space
	deny   func(op, name string) error // fails what reads and links, too; nil: nothing
}

// node is a file or, with names, a directory. The fields with "safe" are what a power cut leaves.
type node struct {
	names, safeNames map[string]*node
	data, safeData   []byte
	shared           *os.File // takes the place of data
	moves            []move   // renames since the last sync that concern this directory
}

// move is a rename: it gets durable in both directories or in none.
type move struct {
	from, to         *node
	oldName, newName string
	n                *node
}

func newMemDisk() *memDisk {
	return &memDisk{top: newDir(), free: diskfree.Space{Blocks: 100, Inodes: 100}}
}

func newDir() *node {
	return &node{names: make(map[string]*node), safeNames: make(map[string]*node)}
}

// change counts an operation that changes something.
func (d *memDisk) change() error {
	if d.off {
		return errCrash
	}
	d.step++
	if d.step == d.cutAt {
		d.off = true
		return errCrash
	}
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
		first, rest = cut(rest)
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

func cut(name string) (first, rest string) {
	for i := range name {
		if name[i] == '/' {
			return name[:i], name[i+1:]
		}
	}
	return name, ""
}

func (d *memDisk) parent(op, name string) (*node, string, error) {
	dir, base := path.Split(name)
	n, err := d.look(op, dir)
	return n, base, err
}

func (d *memDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.look("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{d: d, n: n, name: name}, nil
}

func (d *memDisk) Create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, base, err := d.parent("create", name)
	if err != nil {
		return nil, err
	}
	if err := d.change(); err != nil {
		return nil, err
	}
	if dir.names[base] == nil {
		dir.names[base] = &node{}
	}
	dir.names[base].data = nil
	return &memFile{d: d, n: dir.names[base], name: name}, nil
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
	if err := d.change(); err != nil {
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
	dir.names[base] = &node{shared: kept}
	return f, nil
}

func (d *memDisk) OpenShared(name string) (*os.File, error) {
	b, err := d.ReadFile(name, 1<<30)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp("", "shared.")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	_, err = f.Write(b)
	return f, err
}

func (d *memDisk) ReadFile(name string, max int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	if err := d.change(); err != nil {
		return err
	}
	delete(from.names, oldName)
	to.names[newName] = n
	m := move{from, to, oldName, newName, n}
	from.moves = append(from.moves, m)
	if to != from {
		to.moves = append(to.moves, m)
	}
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
	if err := d.change(); err != nil {
		return err
	}
	to.names[base] = n
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
	if err := d.change(); err != nil {
		return err
	}
	delete(dir.names, base)
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
	if err := d.change(); err != nil {
		return err
	}
	dir.names[base] = newDir()
	return nil
}

func (d *memDisk) ReadDir(name string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
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
	_, err := d.look("lstat", name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (d *memDisk) SyncDir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.look("sync", name)
	if err != nil {
		return err
	}
	if err := d.change(); err != nil || d.lying {
		return err
	}
	n.safeNames = maps.Clone(n.names)
	for _, m := range n.moves {
		if m.from != n && m.from.names[m.oldName] != m.n {
			delete(m.from.safeNames, m.oldName)
		}
		if m.to != n && m.to.names[m.newName] == m.n {
			m.to.safeNames[m.newName] = m.n
		}
	}
	n.moves = nil
	return nil
}

func (d *memDisk) Free() (diskfree.Space, error) { return d.free, nil }

func (d *memDisk) Close() error { return nil }

type memFile struct {
	d    *memDisk
	n    *node
	name string
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return 0, errCrash
	}
	if f.d.deny != nil {
		if err := f.d.deny("readat", f.name); err != nil {
			return 0, err
		}
	}
	data := f.n.contents()
	if off > int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(b, data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt writes half of it when it is to fail.
func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	err := f.d.change()
	if err != nil {
		b = b[:len(b)/2]
	}
	if end := int(off) + len(b); end > len(f.n.data) {
		f.n.data = append(f.n.data, make([]byte, end-len(f.n.data))...)
	}
	return copy(f.n.data[off:], b), err
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.d.off {
		return 0, errCrash
	}
	return int64(len(f.n.contents())), nil
}

func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.change(); err != nil {
		return err
	}
	f.n.data = f.n.data[:min(int(size), len(f.n.data))]
	return nil
}

func (f *memFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.change(); err != nil || f.d.lying {
		return err
	}
	f.n.safeData = append([]byte(nil), f.n.contents()...)
	return nil
}

func (f *memFile) Close() error { return nil }

// crashed gives what is found after the power cut. What was not synced may be there or not:
// keep decides, for every sector of a file and every name.
func (d *memDisk) crashed(keep func() bool) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newMemDisk()
	moved := make(map[move]bool)
	decide := func(m move) bool {
		kept, ok := moved[m]
		if !ok {
			kept = keep()
			moved[m] = kept
		}
		return kept
	}
	after.top = survive(d.top, keep, decide)
	return after
}

func survive(n *node, keep func() bool, moved func(move) bool) *node {
	if n.names == nil {
		b := torn(n.safeData, n.contents(), keep)
		return &node{data: b, safeData: append([]byte(nil), b...)}
	}
	names := maps.Clone(n.safeNames)
	isMove := make(map[string]bool)
	for _, m := range n.moves {
		kept := moved(m)
		if m.from == n {
			isMove[m.oldName] = true
			if kept {
				delete(names, m.oldName)
			}
		}
		if m.to == n {
			isMove[m.newName] = true
			if kept {
				names[m.newName] = m.n
			}
		}
	}
	for name, old := range n.safeNames {
		if n.names[name] != old && !isMove[name] && keep() {
			delete(names, name)
		}
	}
	for name, fresh := range n.names {
		if n.safeNames[name] != fresh && !isMove[name] && keep() {
			names[name] = fresh
		}
	}
	after := newDir()
	for name, kid := range names {
		after.names[name] = survive(kid, keep, moved)
	}
	after.safeNames = maps.Clone(after.names)
	return after
}

// torn mixes what was synced with what was not, in sectors.
func torn(safe, data []byte, keep func() bool) []byte {
	const sector = 512
	size := len(safe)
	if keep() {
		size = len(data)
	}
	b := make([]byte, size)
	for at := 0; at < size; at += sector {
		end := min(at+sector, size)
		from := safe
		if keep() {
			from = data
		}
		if at < len(from) {
			copy(b[at:end], from[at:])
		}
	}
	return b
}

// fates are the extremes and some between.
func fates(seed uint64) map[string]func() bool {
	r := rand.New(rand.NewPCG(seed, 1))
	return map[string]func() bool{
		"nothing kept": func() bool { return false },
		"all kept":     func() bool { return true },
		"some kept":    func() bool { return r.IntN(2) == 0 },
	}
}
