package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"testing"
)

// faults makes operations of a memDisk fail.
type faults struct {
	from, to int    // operations from the first up to the second, counted from 1
	kind     string // only those; empty: all
	cache    bool
	n        int
	fired    atomic.Int64
}

func (f *faults) before(_ *memDisk, op, name string, changes bool) error {
	if f.kind != "" && f.kind != op {
		return nil
	}
	f.n++
	if f.n < f.from || f.n >= f.to {
		return nil
	}
	f.fired.Add(1)
	return &fs.PathError{Op: op, Path: name, Err: errFault}
}

// diskOps are all operations that a disk has.
var diskOps = []string{"open", "create", "read", "readat", "write", "size", "truncate", "sync", "syncdir", "rename",
	"link", "remove", "mkdir", "readdir", "lstat", "stat", "free"}

// run plays a script with faults; it reports whether there was one.
func (f *faults) run(t *testing.T, shared *sharedFiles, do func(*script)) (fired bool, err error) {
	d := newMemDisk()
	d.shared, d.before, d.ahead, d.cache = shared, f.before, 1000, f.cache
	sc := &script{d: d, o: newOracle(), ack: func() {}, faults: f}
	do(sc)
	if f.fired.Load() == 0 || sc.err != nil {
		return false, sc.err
	}
	sc.d.before = nil
	cut := sc.d.crashed(func() bool { return false })
	if err := goOn(cut, sc.o.clone()); err != nil {
		return true, fmt.Errorf("and a power cut: %w", err)
	}
	return true, goOn(sc.d, sc.o.clone())
}

// TestFaults fails the n-th operation of every script for all n, once and for some time; then the
// n-th of every kind and all of its kind for some time. Nothing may be lost, every error has to be one
// of which the caller tries again, and when the disk is well the store has to be too, at once.
func TestFaults(t *testing.T) {
	shared := newSharedFiles(t)
	for name, do := range scripts {
		for _, kind := range append([]string{""}, diskOps...) {
			for _, last := range []int{1, 9} {
				if kind == "" || last > 1 {
					everyFault(t, shared, name, kind, last, do)
				}
			}
		}
	}
}

// TestFaultsCache does so with a cache of what lies in files, which must not be noticed when it fails.
func TestFaultsCache(t *testing.T) {
	shared := newSharedFiles(t)
	for name, do := range scripts {
		for n := 1; ; n++ {
			f := &faults{from: n, to: n + 1, cache: true}
			fired, err := f.run(t, shared, do)
			if err != nil {
				t.Errorf("%s: %d: %v", name, n, err)
				break
			}
			if !fired {
				break
			}
		}
	}
}

func everyFault(t *testing.T, shared *sharedFiles, name, kind string, last int, do func(*script)) {
	for n := 1; ; n++ {
		f := &faults{from: n, to: n + last, kind: kind}
		fired, err := f.run(t, shared, do)
		if err != nil {
			t.Errorf("%s: %d faults from %s operation %d on: %v", name, last, kind, n, err)
			return
		}
		if !fired {
			return
		}
	}
}

var errHealthy = errors.New("the disk did not fail")
