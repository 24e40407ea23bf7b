// Package mailbox appends to mbox files under the locks that each system's own tools
// take, and makes missing ones safely.
//
// Which locks exist differs. On Linux fcntl(2) and flock(2) locks do not see each other
// and tools take an fcntl lock and a dotlock; on the BSDs and macOS the two kinds exclude
// each other, even in one process, so exactly one is taken there. All locks are tried
// without blocking and all are dropped when one is missing: tools differ in the order in
// which they lock, and who waits while holding one lock waits for ever.
package mailbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/godwit-mta/godwit/compat/fsync"
)

// DefaultWait is how long Open waits for the locks.
const DefaultWait = 30 * time.Second

// ErrLocked says that another program held the mailbox all the time.
var ErrLocked = errors.New("mailbox is locked")

// ErrUnsafe says that the mailbox is not what a mailbox has to be: a regular file with one
// name that belongs to its user. Nothing was written.
var ErrUnsafe = errors.New("linked or special file")

// ErrOwner says that the mailbox belongs to somebody else. Nothing was written.
var ErrOwner = errors.New("file belongs to another user")

// Options change what Open does.
type Options struct {
	Create   bool          // make the file, mode 0600, when it is missing
	AnyOwner bool          // whoever may write to the file may append to it
	Wait     time.Duration // for the locks; 0 is DefaultWait
	// Skipped is told why no dotlock was taken when the directory of the mailbox is
	// not writable; the kernel's lock was taken all the same. It may be nil.
	Skipped func(reason error)
}

// Mailbox is an open mailbox whose locks are held.
type Mailbox struct {
	f    *os.File
	path string
	dot  *dotlock
}

// Open opens and locks the mailbox of the user uid. The errors are ErrLocked after
// Options.Wait or at the end of ctx, ErrUnsafe, ErrOwner, and those of open(2), all wrapped.
func Open(ctx context.Context, path string, uid uint32, opts Options) (*Mailbox, error) {
	wait := opts.Wait
	if wait == 0 {
		wait = DefaultWait
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		m, err := try(path, uid, &opts)
		if !errors.Is(err, ErrLocked) {
			return m, err
		}
		// The jitter parts two deliverers that met.
		timer := time.NewTimer(20*time.Millisecond + rand.N(200*time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}

// try opens and locks once. ErrLocked asks for another try.
func try(path string, uid uint32, opts *Options) (*Mailbox, error) {
	f, err := open(path, opts.Create)
	if err != nil {
		return nil, err
	}
	m := &Mailbox{f: f, path: path}
	if err := m.lock(uid, opts); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (m *Mailbox) lock(uid uint32, opts *Options) error {
	// Before the locks: locking what is no mailbox may itself do harm.
	if err := m.check(uid, opts.AnyOwner); err != nil {
		return err
	}
	if err := kernelLock(m.f); err != nil {
		return err
	}
	if wantDotlock {
		dot, err := takeDotlock(m.path)
		var skip *skipError
		switch {
		case errors.As(err, &skip):
			if opts.Skipped != nil {
				opts.Skipped(skip.reason)
			}
		case err != nil:
			return err
		}
		m.dot = dot
	}
	// After them: the owner of the locks before us may have put another file there.
	return m.check(uid, opts.AnyOwner)
}

// open never follows a symbolic link at the mailbox and never waits for the other end of
// a FIFO.
func open(path string, create bool) (*os.File, error) {
	flags := os.O_RDWR | os.O_APPEND | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC
	for range 3 {
		f, err := os.OpenFile(path, flags, 0)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, os.ErrNotExist) && create:
			f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600)
			if !errors.Is(err, os.ErrExist) {
				return f, err
			}
		default:
			if fi, lerr := os.Lstat(path); lerr == nil && !fi.Mode().IsRegular() {
				return nil, fmt.Errorf("%s: %w", path, ErrUnsafe)
			}
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s: %w", path, ErrLocked)
}

// check compares the open file with the name it has.
func (m *Mailbox) check(uid uint32, anyOwner bool) error {
	open, err := m.f.Stat()
	if err != nil {
		return err
	}
	st, ok := open.Sys().(*syscall.Stat_t)
	if !ok || !open.Mode().IsRegular() {
		return ErrUnsafe
	}
	named, err := os.Lstat(m.path)
	if errors.Is(err, os.ErrNotExist) || err == nil && named.Mode().IsRegular() && !os.SameFile(open, named) {
		return ErrLocked // removed or replaced by another file: look again
	}
	if err != nil {
		return err
	}
	if !named.Mode().IsRegular() || st.Nlink != 1 {
		return ErrUnsafe
	}
	if !anyOwner && st.Uid != uid {
		return ErrOwner
	}
	return nil
}

// Append calls write with a buffered writer to the end of the mailbox and makes what it
// wrote durable. After an error, of write or of the file system, the mailbox is as it was
// before.
func (m *Mailbox) Append(write func(w io.Writer) error) error {
	fi, err := m.f.Stat()
	if err != nil {
		return err
	}
	before := fi.Size()
	out := &counter{m: m}
	b := bufio.NewWriterSize(out, 32<<10)
	if err = m.separate(b, before); err == nil {
		err = write(b)
	}
	if err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = fsync.SyncFile(m.f)
	}
	if err != nil {
		return errors.Join(err, m.undo(before, out.n))
	}
	return nil
}

// separate ends a last message that has no blank line after it, such as one that a crash
// cut off: otherwise the next one would become a part of it.
func (m *Mailbox) separate(w io.Writer, size int64) error {
	if size == 0 {
		return nil
	}
	var tail [2]byte
	n := min(size, 2)
	if _, err := m.f.ReadAt(tail[2-n:], size-n); err != nil {
		return err
	}
	fill := ""
	switch {
	case tail[1] != '\n':
		fill = "\n\n"
	case tail[0] != '\n' && n == 2:
		fill = "\n"
	}
	_, err := io.WriteString(w, fill)
	return err
}

// undo takes n octets off the end, unless a program that knows no locks has written too:
// half a message of ours is a smaller loss than one of its messages.
func (m *Mailbox) undo(before, n int64) error {
	if n == 0 {
		return nil
	}
	fi, err := m.f.Stat()
	if err != nil {
		return err
	}
	if fi.Size() != before+n {
		return errors.New("mailbox changed under its lock: incomplete message left in it")
	}
	if err := m.f.Truncate(before); err != nil {
		return err
	}
	return fsync.SyncFile(m.f)
}

// Close drops the locks.
func (m *Mailbox) Close() error {
	if m.dot != nil {
		m.dot.release()
		m.dot = nil
	}
	return m.f.Close() // the kernel's lock goes with it
}

// counter writes to the file and keeps the dotlock young.
type counter struct {
	m *Mailbox
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.m.f.Write(p)
	c.n += int64(n)
	if c.m.dot != nil {
		c.m.dot.touch()
	}
	return n, err
}
