package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/godwit-mta/godwit/compat/privdrop"
)

// The rights over files that Landlock knows, by ABI. What is handled and not granted
// beneath a path is denied. Linking between directories (REFER) is denied by ABI 1 in
// any case.
const (
	readRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_READ_DIR
	rightsABI1 = unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1 // the 13 rights from EXECUTE on
	rightsABI2 = rightsABI1 | unix.LANDLOCK_ACCESS_FS_REFER
	rightsABI3 = rightsABI2 | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	rightsABI5 = rightsABI3 | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

const createRulesetVersion = 1 // LANDLOCK_CREATE_RULESET_VERSION

// grant is a right beneath a directory, or to a file.
type grant struct {
	path   string
	rights uint64
}

func enter(p Profile, paths []string) (Report, error) {
	if p == Agent {
		// It runs what the user wants run, which may be set-group-id (mail programs
		// are): neither Landlock nor no-new-privileges may be in the way.
		return Report{Text: "no sandbox: confined by its user only"}, nil
	}
	abi, _, errno := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, createRulesetVersion)
	if errno != 0 {
		return Report{Text: fmt.Sprintf("no sandbox: landlock: %v", errno)}, nil
	}
	if p == Queue && abi < 2 {
		return Report{Text: "no sandbox: landlock ABI 1 cannot let a file change its directory"}, nil
	}
	handled := rights(int(abi))
	if err := restrict(handled, grants(p, paths, handled)); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return Report{Text: "no sandbox: " + err.Error()}, nil
		}
		return Report{}, err
	}
	return Report{Active: true, Text: fmt.Sprintf("landlock (ABI %d)", abi)}, nil
}

func rights(abi int) uint64 {
	switch {
	case abi < 2:
		return rightsABI1
	case abi == 2:
		return rightsABI2
	case abi < 5:
		return rightsABI3
	}
	return rightsABI5
}

func grants(p Profile, paths []string, handled uint64) []grant {
	var list []grant
	switch p {
	case Lookup:
		// getent(1) gets /dev/null as its standard descriptors.
		list = []grant{{"/", readRights}, {os.DevNull, unix.LANDLOCK_ACCESS_FS_WRITE_FILE}}
	case Queue:
		for _, path := range paths {
			list = append(list, grant{path, handled})
		}
	}
	return list
}

// restrict makes the rule set and applies it to all threads.
func restrict(handled uint64, list []grant) error {
	// Only the first field, which every ABI has.
	attr := struct{ accessFS uint64 }{handled}
	fd, _, errno := syscall.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("landlock: create rule set: %w", errno)
	}
	defer syscall.Close(int(fd))
	for _, g := range list {
		if err := addRule(fd, g); err != nil {
			return fmt.Errorf("landlock: rule for %s: %w", g.path, err)
		}
	}
	// Landlock demands it of processes without privileges.
	if err := privdrop.NoNewPrivs(); err != nil {
		return err
	}
	_, _, errno = syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	if errno != 0 {
		return fmt.Errorf("landlock: restrict: %w", errno)
	}
	return nil
}

func addRule(ruleset uintptr, g grant) error {
	fd, err := unix.Open(g.path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	rule := unix.LandlockPathBeneathAttr{Allowed_access: g.rights, Parent_fd: int32(fd)}
	_, _, errno := syscall.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset,
		unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
