package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"

	"github.com/godwit-mta/godwit/compat/fsync"
)

// ErrSpool says that other users could exchange files in the directory of the mailboxes.
var ErrSpool = errors.New("mail spool can be changed by others")

// Create makes an empty mailbox dir/user that belongs to uid and gid, for a process that
// may give files away. A mailbox that is there already is left as it is, and is an error
// wrapping ErrUnsafe or ErrOwner when it is none of the user's. The file gets its name
// when it has its owner and mode: nobody sees it half made, whenever we are stopped.
func Create(dir, user string, uid, gid uint32, mode fs.FileMode) error {
	if err := checkUser(user); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := checkSpool(root); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	err = checkExisting(root, user, uid)
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	temp := fmt.Sprintf(".new%d.%08x", os.Getpid(), rand.Uint32())
	defer root.Remove(temp)
	if err := createOwned(root, temp, uid, gid, mode); err != nil {
		return err
	}
	err = root.Link(temp, user)
	if errors.Is(err, os.ErrExist) {
		return checkExisting(root, user, uid)
	}
	if err != nil {
		return err
	}
	spool, err := root.Open(".")
	if err != nil {
		return err
	}
	defer spool.Close()
	return fsync.SyncDir(spool)
}

func createOwned(root *os.Root, name string, uid, gid uint32, mode fs.FileMode) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = f.Chown(int(uid), int(gid))
	if err == nil {
		err = f.Chmod(mode & 0o660) // a mailbox is nobody else's business
	}
	if err == nil {
		err = fsync.SyncFile(f)
	}
	return errors.Join(err, f.Close())
}

// checkUser refuses names that are no name of a file in the spool, and names of dotlocks.
func checkUser(user string) error {
	if user == "" || len(user) > 200 || user[0] == '.' || strings.HasSuffix(user, ".lock") ||
		strings.ContainsAny(user, "/\x00\n") {
		return fmt.Errorf("user %q cannot have a mailbox", user)
	}
	return nil
}

// checkSpool asks for a directory of root's or ours in which others cannot rename files.
func checkSpool(root *os.Root) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ErrSpool
	}
	if st.Uid != 0 && st.Uid != uint32(os.Geteuid()) {
		return ErrSpool
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return ErrSpool
	}
	return nil
}

func checkExisting(root *os.Root, user string, uid uint32) error {
	info, err := root.Lstat(user)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || st.Nlink != 1 {
		return fmt.Errorf("%s: %w", user, ErrUnsafe)
	}
	if st.Uid != uid {
		return fmt.Errorf("%s: %w", user, ErrOwner)
	}
	return nil
}
