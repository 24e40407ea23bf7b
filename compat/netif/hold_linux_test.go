package netif

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHoldIsQuiet: the poller of this process does not know a socket that is held.
func TestHoldIsQuiet(t *testing.T) {
	l, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !polled(t, st.Ino) {
		t.Skip("the poller does not tell what it knows")
	}
	s, err := Hold(l)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if polled(t, st.Ino) {
		t.Error("a client wakes who holds the socket")
	}
}

// polled reports whether an epoll descriptor of this process watches a file.
func polled(t *testing.T, inode uint64) bool {
	t.Helper()
	infos, err := filepath.Glob("/proc/self/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range infos {
		text, _ := os.ReadFile(path)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "tfd:") && strings.Contains(line, fmt.Sprintf(" ino:%x ", inode)) {
				return true
			}
		}
	}
	return false
}
