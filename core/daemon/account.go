package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/queue"
)

// accounts are the users as whom the members run. They are empty for an ordinary user, who
// runs everything.
type accounts struct {
	daemon, queue user.User
}

func (p *parent) accounts() (accounts, error) {
	var a accounts
	if !p.root {
		return a, nil
	}
	var err error
	if a.daemon, err = user.Lookup(p.opts.Facts.Users.Daemon); err != nil {
		return a, fmt.Errorf("user %s: %w", p.opts.Facts.Users.Daemon, err)
	}
	if a.queue, err = user.Lookup(p.opts.Facts.Users.Queue); err != nil {
		return a, fmt.Errorf("user %s: %w", p.opts.Facts.Users.Queue, err)
	}
	if a.daemon.UID == 0 || a.queue.UID == 0 {
		return a, errors.New("the users of smtpd must not be root")
	}
	return a, nil
}

// hello says what a member is to become.
func (p *parent) hello(role Role) (*hello, error) {
	h := &hello{Version: p.opts.Version, Stderr: p.opts.Stderr, Verbosity: verbosityOf(p.log), Spool: p.opts.Spool}
	if !p.root {
		return h, nil
	}
	u := p.users.daemon
	if role.queueUser() {
		u = p.users.queue
	}
	h.Drop, h.User, h.UID, h.GID, h.Groups = true, u.Name, u.UID, u.GID, []uint32{u.GID}
	h.Root = role.rootOf(p.opts.Facts.Empty, p.opts.Spool)
	if h.Root != "" {
		h.Spool = "/"
	}
	return h, nil
}

// directories makes what is missing and refuses what others could tamper with.
func (p *parent) directories() error {
	if err := p.directory(p.opts.Spool, 0o711, 0, 0); err != nil {
		return fmt.Errorf("spool %w", err)
	}
	uid, gid := os.Getuid(), os.Getgid()
	if p.root {
		uid, gid = int(p.users.queue.UID), int(p.users.queue.GID)
		if err := p.directory(p.opts.Facts.Empty, 0o755, 0, 0); err != nil {
			return fmt.Errorf("empty directory %w", err)
		}
		if err := shareSpool(p.opts.Spool, gid); err != nil {
			return fmt.Errorf("spool %w", err)
		}
	}
	for _, name := range []string{"journal", "queue", "incoming", "corrupt", "cache", "state"} {
		if err := p.directory(filepath.Join(p.opts.Spool, name), 0o700, uid, gid); err != nil {
			return fmt.Errorf("spool %w", err)
		}
	}
	if err := lockFile(filepath.Join(p.opts.Spool, queue.LockName), uid, gid); err != nil {
		return fmt.Errorf("spool %w", err)
	}
	return nil
}

// lockFile makes the file that the queue locks: it may not make one itself. Nothing is written when it is
// there, for the spool may be read-only for a while.
func lockFile(path string, uid, gid int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if have, ok := owner.UID(st); ok && have == uid {
		return nil
	}
	return os.Lchown(path, uid, gid)
}

// shareSpool lets the group of the queue read the spool directory itself, which is root's:
// the queue has to open it to make the names in it durable.
func shareSpool(path string, gid int) error {
	st, err := os.Lstat(path)
	if err != nil {
		return err
	}
	const read = 0o050
	if have, ok := owner.GID(st); ok && have == gid && st.Mode().Perm()&read == read {
		return nil
	}
	if err := os.Chown(path, 0, gid); err != nil {
		return err
	}
	return os.Chmod(path, st.Mode().Perm()|read)
}

// directory makes a directory, or checks that it belongs to the user and that nobody else
// may write in it.
func (p *parent) directory(path string, mode fs.FileMode, uid, gid int) error {
	if !p.root {
		uid, gid = os.Getuid(), os.Getgid()
	}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("%s: not a directory", path)
	}
	if have, ok := owner.UID(st); ok && have != uid {
		return fmt.Errorf("%s: owned by user %d, must be owned by user %d", path, have, uid)
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s: mode %04o, must not be writable by others", path, st.Mode().Perm())
	}
	return nil
}
