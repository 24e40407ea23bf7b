package table

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
)

// lookEvery is how often it is looked whether a file has changed, while somebody asks, and
// how long a changed file must have been left alone before it is read: it may be half
// written. No time of the file is compared with the clock.
const lookEvery = time.Second

// largeFile is the size from which on what is left of the old contents is given back at
// once, in octets. Else several changes in a row would need memory for each of them.
const largeFile = 8 << 20

// looks bounds how long a file that changes all the time is watched for one request.
const looks = 60

// file is a table that is read from a file, and read again when the file changes.
type file struct {
	*held
	name, path string
	format     string // backend
	delim      string
	open       func(path string) (*os.File, error)
	log        *trace.Logger

	began time.Time
	due   atomic.Int64 // since began, when to look again

	before atomic.Pointer[file] // the same table in the set before

	mu    sync.Mutex  // guards what follows, and is held while the file is read
	taken owner.Stamp // of the contents in use
	seen  owner.Stamp // when it was looked at last
	bad   owner.Stamp // of contents that were refused
	said  string      // what was logged last
}

// openFirst takes what the same table of an older set has read, if that is still right.
func (f *file) openFirst(before *Set) error {
	f.began = time.Now()
	f.due.Store(int64(lookEvery))
	f.mu.Lock()
	defer f.mu.Unlock()
	if before != nil {
		if old, ok := before.tables[f.name].(*file); ok && old.path == f.path && old.format == f.format && old.delim == f.delim {
			f.follow(old)
			if f.take(old) {
				return nil
			}
		}
	}
	return f.read()
}

// follow makes old the table before this one. Two of them are kept up to date for those
// who still ask them; the links to older ones are cut.
func (f *file) follow(old *file) {
	f.before.Store(old)
	if older := old.before.Load(); older != nil {
		older.before.Store(nil)
	}
}

// take shares the contents of another table, unless its file has changed.
func (f *file) take(old *file) bool {
	old.mu.Lock()
	defer old.mu.Unlock()
	now, err := f.stamp()
	c := old.now.Load()
	if err != nil || now != old.taken || c == nil {
		return false
	}
	f.taken = now
	f.now.Store(c)
	return true
}

// read takes what the file holds now, or keeps everything.
func (f *file) read() error {
	fd, err := f.open(f.path)
	if err != nil {
		return err
	}
	fi, err := fd.Stat()
	if err != nil {
		fd.Close()
		return err
	}
	stamp := owner.StampOf(fi)
	if err := f.replace(func() (*contents, error) { return f.load(fd) }); err != nil {
		f.bad = stamp
		return err
	}
	f.taken, f.said = stamp, ""
	for old := f.before.Load(); old != nil; old = old.before.Load() {
		old.share(stamp, f.now.Load())
	}
	if stamp.Size > largeFile {
		debug.FreeOSMemory()
	}
	return nil
}

// share takes what a newer table has read, if that can serve all that this one is asked for:
// then there is no memory needed for more than one state of the file.
func (f *file) share(stamp owner.Stamp, c *contents) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.replace(func() (*contents, error) { return c, nil }) == nil {
		f.taken, f.said = stamp, ""
	}
}

// Lookup gives the value of the entry for key.
func (f *file) Lookup(ctx context.Context, service Service, key string) (string, bool, error) {
	f.look()
	return f.held.Lookup(ctx, service, key)
}

// Match reports whether an entry covers key.
func (f *file) Match(ctx context.Context, service Service, key string) (bool, error) {
	f.look()
	return f.held.Match(ctx, service, key)
}

// Fetch goes round the keys.
func (f *file) Fetch(ctx context.Context, service Service) (string, bool, error) {
	f.look()
	return f.held.Fetch(ctx, service)
}

func (f *file) list(service Service) ([]string, error) {
	f.look()
	return f.held.list(service)
}

// Reload reads the file now.
func (f *file) Reload(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.read()
}

// look sees to it that the file is looked at when that is due. Nobody waits for it.
func (f *file) look() {
	const never = 1<<63 - 1
	due := f.due.Load()
	if int64(time.Since(f.began)) < due || !f.due.CompareAndSwap(due, never) {
		return
	}
	go func() {
		for i := 0; i < looks && f.step(); i++ {
			time.Sleep(lookEvery)
		}
		f.due.Store(int64(time.Since(f.began) + lookEvery))
	}()
}

// step looks at the file, and reads it when it has changed but not since the last look. It
// reports whether to look again soon.
func (f *file) step() (again bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.seen
	var err error
	if f.seen, err = f.stamp(); err != nil {
		f.warn(err)
		return false
	}
	switch f.seen {
	case f.taken:
		f.said = ""
		return false
	case f.bad:
		return false
	case before:
	default:
		return true
	}
	if err := f.read(); err != nil {
		f.warn(err)
	} else {
		f.log.Debugf("table %q: read %s again", f.name, f.path)
	}
	return false
}

// stamp looks at the file; where that is not permitted, it is opened for us.
func (f *file) stamp() (owner.Stamp, error) {
	if fi, err := os.Stat(f.path); err == nil {
		return owner.StampOf(fi), nil
	}
	fd, err := f.open(f.path)
	if err != nil {
		return owner.Stamp{}, err
	}
	defer fd.Close()
	fi, err := fd.Stat()
	if err != nil {
		return owner.Stamp{}, err
	}
	return owner.StampOf(fi), nil
}

// warn says once what is wrong.
func (f *file) warn(err error) {
	if text := err.Error(); text != f.said {
		f.said = text
		f.log.Warnf("table %q keeps its old contents: %s", f.name, text)
	}
}

// load reads an open file, which it owns.
func (f *file) load(fd *os.File) (*contents, error) {
	c, err := f.contents(fd)
	if err != nil {
		fd.Close()
	}
	return c, err
}

func (f *file) contents(fd *os.File) (*contents, error) {
	if f.format == "db" {
		return openDB(fd, f.path, f.delim)
	}
	text, err := readText(fd, f.path, MaxFile)
	if err != nil {
		return nil, err
	}
	fd.Close()
	return newText(f.path, text, f.delim)
}

// newText makes contents from the text of a file.
func newText(source, text, delim string) (*contents, error) {
	kind, items, err := parse(source, text, config.UnknownKind)
	if err != nil {
		return nil, err
	}
	l := &textStore{source: source, text: text, items: items}
	l.index(nil)
	return &contents{store: l, source: source, kind: kind, delim: delim}, nil
}

// readText reads a whole file. Memory for it is set aside once.
func readText(f *os.File, path string, most int64) (string, error) {
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if fi.Size() <= most {
		b.Grow(int(fi.Size()))
	}
	n, err := io.Copy(&b, io.LimitReader(f, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("%s: larger than %d octets", path, most)
	}
	return b.String(), err
}

// ReadFile reads a regular file of at most most octets.
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := owner.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: larger than %d octets", path, most)
	}
	return data, err
}
