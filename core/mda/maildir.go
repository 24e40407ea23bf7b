package mda

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/fsync"
)

// The folders of a maildir, https://cr.yp.to/proto/maildir.html.
var folders = [...]string{"cur", "tmp", "new"}

// maildir writes the message to tmp and gives it its name in new when it is whole and on
// the disk. The usual case asks for no directory first: a missing one shows itself.
func (a *Agent) maildir(j *Job) error {
	dir := a.folder(j)
	f, name, err := a.createTemp(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeMaildir(dir); err != nil {
			return err
		}
		f, name, err = a.createTemp(dir)
	}
	if err != nil {
		return err
	}
	temp, final := filepath.Join(dir, "tmp", name), filepath.Join(dir, "new", name)
	if err = a.fill(f, j); err == nil {
		err = deliverAs(temp, final)
	}
	if errors.Is(err, fs.ErrNotExist) { // whoever made the maildir died before it was complete
		if err = makeMaildir(dir); err == nil {
			err = deliverAs(temp, final)
		}
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// deliverAs gives the message its final name and makes that durable. Without that the
// message is taken back: it is going to be delivered again.
func deliverAs(temp, final string) error {
	dir, err := os.Open(filepath.Dir(final))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := publish(temp, final); err != nil {
		return err
	}
	if err := fsync.SyncDir(dir); err != nil {
		_ = os.Remove(final)
		return err
	}
	return nil
}

// folder chooses between the maildir and its sub-folders, which are directories beside new
// whose names begin with a dot. Only the one for spam is made when it is missing.
func (a *Agent) folder(j *Job) string {
	if j.Junk && a.scanned.junk {
		return filepath.Join(j.Path, ".Junk")
	}
	if name := subfolder(j.Subaddress); name != "" {
		dir := filepath.Join(j.Path, name)
		if fi, err := os.Stat(dir); err == nil && fi.IsDir() {
			return dir
		}
	}
	return j.Path
}

// subfolder gives the name of the sub-folder for a sub-address, or "". What could lead out
// of the maildir or is a shell's becomes a colon.
func subfolder(ext string) string {
	if ext == "" || len(ext) > 128 {
		return ""
	}
	name := []byte("." + ext)
	for i, c := range name {
		if c < ' ' || c == 0x7f || strings.IndexByte("!#$%&'*?`{|}~/\\", c) >= 0 {
			name[i] = ':'
		}
	}
	if name[1] == '.' {
		name[1] = ':'
	}
	return string(name)
}

// createTemp makes a file with a new name in tmp.
func (a *Agent) createTemp(dir string) (*os.File, string, error) {
	for range 10 {
		a.count++
		name := fileName(time.Now(), os.Getpid(), a.count, rand.Uint64(), a.host.Hostname)
		f, err := os.OpenFile(filepath.Join(dir, "tmp", name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, name, err
		}
	}
	return nil, "", errors.New("no unused file name found")
}

// fileName is unique on this host by the time, the process and its count, and among all
// hosts that share the maildir by the host's name and by chance.
func fileName(now time.Time, pid int, count, random uint64, host string) string {
	return fmt.Sprintf("%d.M%dP%dQ%dR%016x.%s", now.Unix(), now.Nanosecond()/1000, pid, count, random, escapeHost(host))
}

// escapeHost writes the octets that cannot stand in a maildir name as maildir(5) says, and
// keeps the name within the limit of file systems.
func escapeHost(host string) string {
	var b strings.Builder
	for i := 0; i < len(host) && b.Len() < 120; i++ {
		if c := host[i]; c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '\\' {
			fmt.Fprintf(&b, "\\%03o", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() == 0 {
		return "localhost"
	}
	return b.String()
}

// fill writes the message, makes it durable and closes f in any case.
func (a *Agent) fill(f *os.File, j *Job) error {
	// Reading straight into our buffer: the ways around it allocate another one.
	a.writer.Reset(struct{ io.Writer }{f})
	_, err := a.writer.ReadFrom(j.message())
	if err == nil {
		err = a.writer.Flush()
	}
	if err == nil {
		err = fsync.SyncFile(f)
	}
	return errors.Join(err, f.Close())
}

// publish moves a file without ever replacing another one. rename(2) replaces, so it is
// only for file systems that have no hard links; the name is unique by itself.
func publish(from, to string) error {
	err := os.Link(from, to)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		if _, serr := os.Lstat(to); !errors.Is(serr, fs.ErrNotExist) {
			return err
		}
		return os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	_ = os.Remove(from) // readers remove what is left in tmp
	return nil
}

// makeMaildir makes what is missing of the maildir and of the way to it.
func makeMaildir(dir string) error {
	if err := makeDirs(dir); err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return syncDir(dir)
}

// makeDirs is os.MkdirAll that syncs: a message is no safer than the directories above it.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o700)
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syncDir(parent); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil // a home may be closed to reading; then its name can only be made, not synced
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return fsync.SyncDir(f)
}
