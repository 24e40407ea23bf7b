package queue

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/envelope"
)

// batchWriter writes files and syncs many of them together: the file system then needs
// few commits of its own.
type batchWriter struct {
	disk  disk
	files []pendingFile
	dirs  map[string]bool // to be synced
	buf   []byte
	err   error // of a sync: nothing of this batch is safe
}

// pendingFile is written, not synced.
type pendingFile struct {
	f         file
	tmp, name string // tmp is renamed to name after the sync, if it is not empty
}

// mkdir makes the directory of a message; fresh: it was not there.
func (w *batchWriter) mkdir(id envelope.MessageID) (fresh bool, err error) {
	err = w.disk.Mkdir(messageDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		if err = w.disk.Mkdir(bucket(id)); err != nil && !errors.Is(err, fs.ErrExist) {
			return false, err
		}
		err = w.disk.Mkdir(messageDir(id))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	for _, dir := range [...]string{queueDir, bucket(id), messageDir(id)} {
		w.dirs[dir] = true // an earlier try may have made it and not come to the sync
	}
	return err == nil, nil
}

// adopt moves a streamed text, which is synced already, into the directory of its message. That
// must be durable first: the text has no other name. After a crash it may have been moved before.
func (w *batchWriter) adopt(id envelope.MessageID, coded bool) error {
	for _, dir := range [...]string{queueDir, bucket(id)} {
		if err := w.disk.SyncDir(dir); err != nil {
			return err
		}
	}
	w.dirs[incomingDir] = true
	err := w.disk.Rename(incomingFile(id), textFile(id, coded))
	if errors.Is(err, fs.ErrNotExist) {
		if moved, failed := w.disk.Exists(textFile(id, coded)); moved || failed != nil {
			return failed
		}
	}
	return err
}

// copy writes a piece of a segment into a file. In a fresh directory nobody can see what was
// there before; elsewhere the file takes the place of another at once.
func (w *batchWriter) copy(seg *segment, name string, off, n uint32, fresh bool) error {
	if cap(w.buf) < int(n) {
		w.buf = make([]byte, n)
	}
	b := w.buf[:n]
	if _, err := seg.f.ReadAt(b, int64(off)); err != nil {
		return err
	}
	p := pendingFile{name: name}
	at := name
	if !fresh {
		p.tmp = name + tmpSuffix
		at = p.tmp
	}
	f, err := w.disk.Create(at)
	if err != nil {
		return err
	}
	p.f = f
	w.files = append(w.files, p)
	if _, err := f.WriteAt(b, 0); err != nil {
		return err
	}
	if len(w.files) >= batchFiles {
		return w.flush()
	}
	return nil
}

// flush syncs and closes the files.
func (w *batchWriter) flush() error {
	if err := parallel(len(w.files), func(i int) error { return w.files[i].f.Sync() }); w.err == nil {
		w.err = err
	}
	for _, p := range w.files {
		if w.err == nil && p.tmp != "" {
			w.err = w.disk.Rename(p.tmp, p.name)
		}
	}
	w.abort()
	return w.err
}

// sync makes everything durable.
func (w *batchWriter) sync() error {
	if err := w.flush(); err != nil {
		return err
	}
	dirs := slices.Collect(maps.Keys(w.dirs))
	return parallel(len(dirs), func(i int) error { return w.disk.SyncDir(dirs[i]) })
}

// parallel calls f for 0 to n-1, many at a time: file systems join the syncs that
// they are asked for together. It gives one of the errors.
func parallel(n int, f func(i int) error) error {
	var group sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, min(n, parallelSyncs))
	for worker := range errs {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					errs[worker] = err
				}
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// abort closes what is open.
func (w *batchWriter) abort() {
	for _, p := range w.files {
		p.f.Close()
	}
	w.files = w.files[:0]
}
