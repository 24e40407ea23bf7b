package queue

import (
	"errors"
	"io"
)

// memFile is an open file of a memDisk.
type memFile struct {
	d    *memDisk
	n    *node
	name string
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("readat", f.name, false); err != nil {
		return 0, err
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
	err := f.d.begin("write", f.name, true)
	if f.d.off {
		return 0, err
	}
	if err != nil {
		b = b[:len(b)/2]
	}
	f.n.write(patched(f.n.data, b, int(off)))
	return len(b), err
}

// patched gives data with b at an offset. Nothing is copied when b is appended.
func patched(data, b []byte, off int) []byte {
	if off == len(data) {
		return append(data, b...)
	}
	fresh := make([]byte, max(len(data), off+len(b)))
	copy(fresh, data)
	copy(fresh[off:], b)
	return fresh
}

// write gives a file new contents, which are not durable.
func (n *node) write(data []byte) {
	n.change++
	n.past = append(n.past, n.data)
	n.data = data
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("size", f.name, false); err != nil {
		return 0, err
	}
	return int64(len(f.n.contents())), nil
}

func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("truncate", f.name, true); err != nil {
		return err
	}
	if n := int(size); n < len(f.n.data) {
		f.n.write(f.n.data[:n:n])
	}
	return nil
}

// Sync makes the contents durable. After one that failed the kernel may believe that nothing is
// left to be written, so that a later one does nothing.
func (f *memFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.d.begin("sync", f.name, true); err != nil {
		f.n.failed = f.n.failed || !errors.Is(err, errCrash)
		return err
	}
	if f.d.lying || f.n.failed {
		return nil
	}
	f.n.past = nil
	return nil
}

func (f *memFile) Close() error { return nil }
