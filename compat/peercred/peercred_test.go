package peercred

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// tellsPID has the systems whose kernel tells the number of the process.
var tellsPID = map[string]bool{
	"linux": true, "openbsd": true, "netbsd": true, "darwin": true,
	"freebsd": false, "dragonfly": false,
}

func TestGet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	want := Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	pid, known := tellsPID[runtime.GOOS]
	if !known {
		t.Fatalf("no expectation for %s", runtime.GOOS)
	}
	if pid {
		want.PID = os.Getpid()
	}
	if got, err := Get(server); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestGetClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if got, err := Get(c); err == nil {
		t.Errorf("got %+v of a closed connection", got)
	}
}
