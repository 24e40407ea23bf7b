package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// keepsGroups has the systems whose kernel has groups of interfaces, and so their own
// groups "all" and "lo".
var keepsGroups = map[string]bool{
	"openbsd": true, "freebsd": true, "dragonfly": true,
	"linux": false, "netbsd": false, "darwin": false,
}

// tellsChanges has the systems that tell of changes by a socket.
var tellsChanges = map[string]bool{
	"openbsd": true, "freebsd": true, "dragonfly": true, "linux": true, "netbsd": true, "darwin": true,
}

func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(a Address) bool { return a.Addr == netip.MustParseAddr("127.0.0.1") })
	if i < 0 {
		t.Skipf("no 127.0.0.1 among %v", all)
	}
	if lo := all[i]; !lo.Loopback || lo.Bits != 8 {
		t.Errorf("got %+v", lo)
	}
	for _, a := range all {
		if a.Interface == "" || !a.Addr.IsValid() || a.Addr.Is4In6() || a.Bits > a.Addr.BitLen() {
			t.Errorf("got %+v", a)
		}
		if linkLocal := a.Addr.Is6() && a.Addr.IsLinkLocalUnicast(); linkLocal != (a.Addr.Zone() != "") {
			t.Errorf("zone of %+v", a)
		}
		list, err := Find(all, a.Interface)
		if err != nil || !slices.Contains(list, a) {
			t.Errorf("%s: got %v, %v, want %v among them", a.Interface, list, err, a)
		}
	}
}

// TestFind: what a name stands for on this system.
func TestFind(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	loopback := pick(all, func(a Address) bool { return a.Loopback })
	for _, test := range []struct {
		name string
		want []Address
		err  error
	}{
		{"all", all, nil},
		{"lo", loopback, nil},
		{"", nil, ErrNotFound},
		{"nosuchif0", nil, ErrNotFound},
		{"anameofagroupthatistoolong", nil, ErrNotFound},
		{"127.0.0.1", nil, ErrNotFound},
	} {
		list, err := Find(all, test.name)
		if !slices.Equal(list, test.want) || !errors.Is(err, test.err) {
			t.Errorf("%q: got %v, %v, want %v, %v", test.name, list, err, test.want, test.err)
		}
	}
	list, err := Find(all, "egress")
	if err != nil {
		t.Errorf("egress: %v", err)
	}
	for _, a := range list {
		if !slices.Contains(all, a) {
			t.Errorf("egress: %v is not among all addresses", a)
		}
	}
}

func TestGroup(t *testing.T) {
	kept, known := keepsGroups[runtime.GOOS]
	if !known {
		t.Fatalf("no expectation for %s", runtime.GOOS)
	}
	for _, name := range []string{"all", "lo"} {
		members, err := group(name)
		if kept && (err != nil || len(members) == 0) || !kept && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %v, %v", name, members, err)
		}
	}
	if members, err := group("nosuchgroup"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, %v", members, err)
	}
}

// TestFindEmpty: an interface without addresses is there.
func TestFindEmpty(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range interfaces {
		if list, err := Find(nil, i.Name); err != nil || len(list) != 0 {
			t.Errorf("%s: got %v, %v", i.Name, list, err)
		}
	}
}

func TestAbsent(t *testing.T) {
	// Addresses for documentation: RFC 5737 section 3, RFC 3849.
	for _, addr := range []string{"198.51.100.99:0", "[2001:db8::99]:0"} {
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			t.Errorf("listens on %s", addr)
		} else if !Absent(err) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if _, err := net.Listen("tcp", l.Addr().String()); err == nil || Absent(err) {
		t.Errorf("twice on %s: %v", l.Addr(), err)
	}
	if err := fmt.Errorf("x: %w", syscall.EACCES); Absent(err) {
		t.Error(err)
	}
}

func TestWatch(t *testing.T) {
	tells, known := tellsChanges[runtime.GOOS]
	if !known {
		t.Fatalf("no expectation for %s", runtime.GOOS)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if changes, err := Watch(ctx); changes == nil || tells != (err == nil) {
		t.Errorf("got %v, %v", changes, err)
	}
}

// TestFollowEnds: a watch that is not needed any more leaves nothing behind.
func TestFollowEnds(t *testing.T) {
	events, err := openEvents()
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { follow(ctx, events, make(chan struct{}, 1)); close(ended) }()
	cancel()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("still waits for events")
	}
	if _, err := events.Read(make([]byte, 1)); err == nil {
		t.Error("the socket is open")
	}
}

func TestTell(t *testing.T) {
	changes := make(chan struct{}, 1)
	tell(changes)
	tell(changes)
	if len(changes) != 1 {
		t.Errorf("%d changes are waiting", len(changes))
	}
}
