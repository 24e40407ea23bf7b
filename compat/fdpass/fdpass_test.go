package fdpass

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t testing.TB) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c.(*net.UnixConn)
		t.Cleanup(func() { c.Close() })
	}
	return conns[0], conns[1]
}

// files gives n read ends of pipes, of which the i-th holds the octet i.
func files(t testing.TB, n int) []*os.File {
	t.Helper()
	var list []*os.File
	for i := range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
		w.Close()
		t.Cleanup(func() { r.Close() })
		list = append(list, r)
	}
	return list
}

// open counts the descriptors of this process.
func open(t testing.TB) int {
	t.Helper()
	n := 0
	for fd := range 512 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
			n++
		}
	}
	return n
}

func TestPass(t *testing.T) {
	tests := []struct {
		name  string
		data  string
		files int
		err   error
	}{
		{"bytes only", "hello", 0, nil},
		{"one", "x", 1, nil},
		{"as many as allowed", "hello", MaxFiles, nil},
		{"one too many", "hello", MaxFiles + 1, ErrTooMany},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := pair(t)
			n, err := Write(a, []byte(tt.data), files(t, tt.files))
			if !errors.Is(err, tt.err) {
				t.Fatalf("Write: %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if n != len(tt.data) {
				t.Fatalf("wrote %d", n)
			}
			checkReceived(t, b, tt.data, tt.files)
		})
	}
}

func checkReceived(t *testing.T, c *net.UnixConn, data string, want int) {
	t.Helper()
	buf := make([]byte, 100)
	n, got, err := Read(c, buf)
	if err != nil || string(buf[:n]) != data || len(got) != want {
		t.Fatalf("Read: %q, %d files, %v", buf[:n], len(got), err)
	}
	for i, f := range got {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("file %d is not close-on-exec: %#x, %v", i, flags, err)
		}
		var b [2]byte
		if n, _ := f.Read(b[:]); n != 1 || b[0] != byte(i) {
			t.Errorf("file %d holds %v", i, b[:n])
		}
		f.Close()
	}
}

func TestNothingToRideOn(t *testing.T) {
	a, _ := pair(t)
	if _, err := Write(a, nil, files(t, 1)); err == nil {
		t.Error("files went without a byte")
	}
}

func TestClosedFile(t *testing.T) {
	a, _ := pair(t)
	f := files(t, 1)
	f[0].Close()
	if _, err := Write(a, []byte("x"), f); err == nil {
		t.Error("a closed file went")
	}
}

// A peer that sends more than is agreed gets nothing but an error, and we keep nothing.
func TestTooManyLeaksNothing(t *testing.T) {
	a, b := pair(t)
	list := files(t, MaxFiles+3)
	var fds []int
	for _, f := range list {
		fds = append(fds, int(f.Fd()))
	}
	before := open(t)
	if _, _, err := a.WriteMsgUnix([]byte("x"), syscall.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(list)
	_, got, err := Read(b, make([]byte, 10))
	if !errors.Is(err, ErrTooMany) || got != nil {
		t.Errorf("got %d files, %v", len(got), err)
	}
	if after := open(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// What does not fit the control buffer is an error, whatever part of it did.
func TestTruncatedLeaksNothing(t *testing.T) {
	a, b := pair(t)
	list := files(t, 8)
	before := open(t)
	if _, err := Write(a, []byte("x"), list); err != nil {
		t.Fatal(err)
	}
	r := NewReader(b)
	r.oob = r.oob[:syscall.CmsgSpace(4*2)]
	_, got, err := r.Read(make([]byte, 10))
	if !errors.Is(err, ErrTruncated) || got != nil {
		t.Errorf("got %d files, %v", len(got), err)
	}
	if after := open(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func TestEnd(t *testing.T) {
	a, b := pair(t)
	if _, err := Write(a, []byte("last"), files(t, 1)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	checkReceived(t, b, "last", 1)
	if n, got, err := Read(b, make([]byte, 10)); n != 0 || got != nil || err != io.EOF {
		t.Errorf("got %d, %v, %v, want io.EOF", n, got, err)
	}
}

// More bytes than the socket takes at once, with files on the first.
func TestLong(t *testing.T) {
	a, b := pair(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	done := make(chan error, 1)
	list := files(t, 2)
	go func() {
		n, err := Write(a, data, list)
		if err == nil && n != len(data) {
			err = io.ErrShortWrite
		}
		a.Close()
		done <- err
	}()
	r := NewReader(b)
	var got []byte
	count := 0
	buf := make([]byte, 32<<10)
	for {
		n, fs, err := r.Read(buf)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
		count += len(fs)
		closeAll(fs)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) || count != 2 {
		t.Errorf("got %d octets and %d files", len(got), count)
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	a, b := pair(t)
	r := NewReader(b)
	buf := make([]byte, 16)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := a.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Read(buf); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 { // one is the race detector's
		t.Errorf("%v allocations a message", allocs)
	}
}
