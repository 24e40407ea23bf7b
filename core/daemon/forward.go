package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/compat/user"
)

// maxForward is the largest .forward file, in octets.
const maxForward = 4095

const forwardName = ".forward"

// stickyHome is said of a home whose owner does not want to be disturbed.
func stickyHome(u user.User) error { return fmt.Errorf("%s is sticky", u.Home) }

// errInsecure is wrapped by the refusal of a file that somebody else could have written.
var errInsecure = errors.New("insecure file")

// readForward reads ~/.forward, in a process with the rights of the user. Only the owner
// may have been able to write it: the file and every directory down to it must belong to
// the user or to root and be writable by nobody else; it must be a regular file and not a
// link. A sticky home is a sign of "not now".
func readForward(u user.User) (content []byte, found bool, err error) {
	if !filepath.IsAbs(u.Home) {
		return nil, false, nil
	}
	st, err := os.Stat(u.Home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if st.Mode()&fs.ModeSticky != 0 {
		return nil, false, stickyHome(u)
	}
	path := filepath.Join(u.Home, forwardName)
	f, err := owner.OpenRegular(path) // not through a link, without waiting for a pipe's writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if errors.Is(err, owner.ErrNotRegular) {
		err = fmt.Errorf("%w: %w", errInsecure, err)
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return nil, false, err
	}
	if err := safe(st, path, u, false); err != nil {
		return nil, false, err
	}
	for dir := u.Home; ; dir = filepath.Dir(dir) {
		if st, err = os.Stat(dir); err != nil {
			return nil, false, err
		}
		if err := safe(st, dir, u, true); err != nil {
			return nil, false, err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	content, err = io.ReadAll(io.LimitReader(f, maxForward+1))
	if err == nil && len(content) > maxForward {
		err = fmt.Errorf("%s is larger than %d octets", path, maxForward)
	}
	return content, err == nil, err
}

// safe refuses what somebody else than the user could have written.
func safe(st fs.FileInfo, path string, u user.User, orRoot bool) error {
	uid, ok := owner.UID(st)
	if !ok || uid != int(u.UID) && (!orRoot || uid != 0) {
		return fmt.Errorf("%w: %s is not owned by %s", errInsecure, path, u.Name)
	}
	if st.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%w: %s is writable by others", errInsecure, path)
	}
	return nil
}
