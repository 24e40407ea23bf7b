package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

func enter(p Profile, paths []string) (Report, error) {
	if p != Queue {
		paths = nil
	}
	for _, path := range paths {
		if err := unix.Unveil(path, "rwc"); err != nil {
			return Report{}, fmt.Errorf("unveil %s: %w", path, err)
		}
	}
	promises := promisesOf(p)
	// Without the promise "unveil" nothing more can be unveiled afterwards.
	if err := unix.PledgePromises(promises); err != nil {
		return Report{}, fmt.Errorf("pledge: %w", err)
	}
	return Report{Active: true, Text: fmt.Sprintf("pledge %q", promises)}, nil
}

// promisesOf gives the promises of pledge(2). A role without rpath has no files.
func promisesOf(p Profile) string {
	switch p {
	case Dispatcher:
		return "stdio inet unix recvfd sendfd"
	case Lookup: // exec for getent(1), unix for programs that answer look-ups
		return "stdio rpath inet unix dns getpw recvfd sendfd proc exec"
	case Queue:
		return "stdio rpath wpath cpath fattr flock recvfd sendfd"
	case Control:
		return "stdio inet unix recvfd sendfd"
	case Crypto:
		return "stdio"
	}
	// Agent. What it starts is free again, as users expect of their programs.
	return "stdio rpath wpath cpath fattr flock inet unix recvfd sendfd proc exec"
}
