package queue

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/godwit-mta/godwit/compat/diskfree"
	"github.com/godwit-mta/godwit/compat/filelock"
	"github.com/godwit-mta/godwit/compat/fsync"
	"github.com/godwit-mta/godwit/compat/openat"
)

// disk is the part of a file system that the store uses, so that tests can break it. Names
// are relative to the spool directory. Errors are those of os: fs.ErrNotExist and so on.
type disk interface {
	Open(name string) (file, error)             // to read
	Create(name string) (file, error)           // to write and read; an existing file is emptied
	Edit(name string) (file, error)             // to write and read; made when it is not there
	OpenShared(name string) (*os.File, error)   // to read by another process
	CreateShared(name string) (*os.File, error) // to write by another process; must not exist
	ReadFile(name string, max int) ([]byte, error)
	Rename(old, new string) error
	Link(old, new string) error
	Remove(name string) error // a file or an empty directory
	Mkdir(name string) error
	ReadDir(name string) ([]string, error) // names, in no order
	Exists(name string) (bool, error)
	Stat(name string) (stamp, error)
	Dir(name string) (openDir, error)
	SyncDir(name string) error
	Free() (diskfree.Space, error)
	Close() error
}

// openDir is an open directory of a disk, for looking at many files below it: their names are relative to it.
type openDir interface {
	Stat(name string) (stamp, error)
	Close() error
}

// file is an open file of a disk.
type file interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// osDisk is a directory of the real one. Names that are written to cannot lead out of it.
type osDisk struct {
	root *os.Root
	top  *os.File
	lock *filelock.Lock // goes with it; may be nil
}

func openDisk(dir string) (*osDisk, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	top, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &osDisk{root: root, top: top}, nil
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return fsync.SyncFile(f.File) }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !fi.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "open", Path: f.Name(), Err: fs.ErrInvalid}
	}
	return fi.Size(), nil
}

func (d *osDisk) open(name string, flag int) (file, error) {
	f, err := d.root.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDisk) Open(name string) (file, error) { return d.open(name, os.O_RDONLY) }

func (d *osDisk) Create(name string) (file, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d *osDisk) Edit(name string) (file, error) { return d.open(name, os.O_RDWR|os.O_CREATE) }

func (d *osDisk) OpenShared(name string) (*os.File, error) { return d.root.Open(name) }

func (d *osDisk) CreateShared(name string) (*os.File, error) {
	return d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

// ReadFile and ReadDir need one system call to open what os.Root opens with one for each directory on
// the way. Nobody but the queue's user can put a link there.
func (d *osDisk) ReadFile(name string, max int) ([]byte, error) {
	b, err := openat.ReadFile(d.top, name, max)
	if err == nil && len(b) > max {
		err = &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return b, err
}

func (d *osDisk) Rename(old, new string) error { return d.root.Rename(old, new) }
func (d *osDisk) Link(old, new string) error   { return d.root.Link(old, new) }
func (d *osDisk) Remove(name string) error     { return d.root.Remove(name) }
func (d *osDisk) Mkdir(name string) error      { return d.root.Mkdir(name, 0o700) }

func (d *osDisk) ReadDir(name string) ([]string, error) { return openat.Names(d.top, name) }

// Exists is called for each new message: see ReadFile.
func (d *osDisk) Exists(name string) (bool, error) { return openat.Exists(d.top, name) }

func (d *osDisk) Stat(name string) (stamp, error) { return openat.Stat(d.top, name) }

func (d *osDisk) Dir(name string) (openDir, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	return osDir{f}, nil
}

type osDir struct{ *os.File }

// Stat is called for each envelope at a start and for each list.
func (d osDir) Stat(name string) (stamp, error) { return openat.Stat(d.File, name) }

func (d *osDisk) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return fsync.SyncDir(f)
}

func (d *osDisk) Free() (diskfree.Space, error) { return diskfree.Of(d.top) }

func (d *osDisk) Close() error {
	d.top.Close()
	err := d.root.Close()
	if d.lock != nil {
		err = errors.Join(err, d.lock.Release())
	}
	return err
}
