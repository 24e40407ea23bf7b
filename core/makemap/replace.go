package makemap

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godwit-mta/godwit/compat/fsync"
	"github.com/godwit-mta/godwit/compat/owner"
)

// replace writes a file beside path and puts it in its place when it is on stable storage.
// It belongs to whom like belongs, and may be read by the same.
func replace(path string, like fs.FileInfo, fill func(io.WriteSeeker) error) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if like != nil {
		if err := adopt(f, like); err != nil {
			return fmt.Errorf("%s: cannot get the owner and permissions of %s: %w", path, like.Name(), err)
		}
	}
	if err := fsync.SyncFile(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// adopt gives a file the owner, group and permissions of another one.
func adopt(f *os.File, like fs.FileInfo) error {
	own, err := f.Stat()
	if err != nil {
		return err
	}
	uid, gid := ids(like)
	if u, g := ids(own); u != uid || g != gid {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return f.Chmod(like.Mode().Perm())
}

// ids gives the owner and group of a file; -1 is one that is not known.
func ids(fi fs.FileInfo) (uid, gid int) {
	uid, ok := owner.UID(fi)
	if !ok {
		uid = -1
	}
	if gid, ok = owner.GID(fi); !ok {
		gid = -1
	}
	return uid, gid
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return fsync.SyncDir(dir)
}
