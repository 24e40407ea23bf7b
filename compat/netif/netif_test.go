package netif

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
)

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
		list, err := Addresses(a.Interface)
		if err != nil || !slices.Contains(list, a) {
			t.Errorf("%s: got %v, %v, want %v among them", a.Interface, list, err, a)
		}
	}
}

func TestNotFound(t *testing.T) {
	for _, name := range []string{"", "nosuchif0"} {
		if list, err := Addresses(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v, %v", name, list, err)
		}
	}
}

func TestDefault(t *testing.T) {
	names, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := Addresses(name); err != nil {
			t.Error(err)
		}
	}
}
