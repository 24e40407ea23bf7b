package mta

import (
	"net/netip"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

func TestBlock(t *testing.T) {
	one, two := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2")
	tests := []struct {
		block   Block
		sources []netip.Addr
		domain  string
		held    bool
	}{
		{Block{Domain: "Example.COM."}, nil, "example.com", true},
		{Block{Domain: "example.com"}, []netip.Addr{one}, "example.com", true},
		{Block{Domain: "example.com"}, nil, "other.example", false},
		{Block{Source: one}, []netip.Addr{one}, "example.com", true},
		{Block{Source: one}, []netip.Addr{one, two}, "example.com", false}, // from the other
		{Block{Source: one}, nil, "example.com", false},
		{Block{Source: one, Domain: "example.com"}, []netip.Addr{one}, "example.com", true},
		{Block{Source: one, Domain: "example.com"}, []netip.Addr{one}, "other.example", false},
	}
	for _, test := range tests {
		s := &counted{}
		b := newBench(t, nil)
		addr := s.start(t)
		b.domain("example.com", addr)
		b.domain("other.example", addr)
		opts := &Relay{Name: "out", Sources: test.sources}
		b.one(opts, "x\n", "u@"+test.domain) // there is a connection when it is paused
		if !b.Block(test.block) || b.Block(test.block) {
			t.Errorf("%s: not paused once", test.block)
		}
		r := b.one(opts, "x\n", "u@"+test.domain)
		if held := r.Status == envelope.TempFail; held != test.held || held && (!r.Unreached || s.mails != 1) {
			t.Errorf("%s: %+v", test.block, r)
		}
		if list := b.Blocks(); len(list) != 1 || list[0] != test.block.clean() {
			t.Errorf("%v", list)
		}
		missed, ok := b.Unblock(test.block)
		if !ok || test.held && (len(missed) != 1 || missed[0] != Destination{"out", test.domain}) {
			t.Errorf("%s: missed %v", test.block, missed)
		}
		if _, again := b.Unblock(test.block); again {
			t.Errorf("%s: resumed twice", test.block)
		}
		if r := b.one(opts, "x\n", "u@"+test.domain); r.Status != envelope.Delivered {
			t.Errorf("%s: %+v", test.block, r)
		}
	}
}
