package diskfree

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"testing"
)

func TestOf(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Of(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Blocks < 0 || s.Blocks > 100 || s.Inodes < 0 || s.Inodes > 100 || s.Free < 0 || s.Free > s.Size {
		t.Errorf("not percentages: %+v", s)
	}
	dir.Close()
	if _, err := Of(dir); err == nil {
		t.Error("a closed file has free space")
	}
}

func TestSpace(t *testing.T) {
	const most = math.MaxInt64
	minus := func(n uint64) uint64 { return -n }
	for name, test := range map[string]struct {
		counts counts
		want   Space
	}{
		"nothing is told":        {counts{}, Space{100, 100, most, most}},
		"btrfs: no inodes":       {counts{4096, 1000, 500, 500, 0, 0, 0}, Space{50, 100, 500 * 4096, 1000 * 4096}},
		"no blocks, inodes":      {counts{512, 0, 0, 0, 10, 1, 1}, Space{100, 10, most, most}},
		"full":                   {counts{512, 10, 0, 0, 10, 0, 0}, Space{0, 0, 0, 5120}},
		"empty":                  {counts{512, 10, 10, 10, 10, 10, 10}, Space{100, 100, 5120, 5120}},
		"5 % are root's":         {counts{1, 1000, 100, 50, 100, 50, 50}, Space{5, 50, 50, 950}},
		"only root's left":       {counts{1, 1000, 50, 0, 100, 50, 50}, Space{0, 50, 0, 950}},
		"root uses its reserve":  {counts{1, 1000, 30, minus(20), 100, 50, minus(1)}, Space{0, 0, 0, 970}},
		"more free than there":   {counts{1, 1000, 2000, 3000, 10, 20, 20}, Space{0, 0, 0, 1000}},
		"inodes kept for root":   {counts{1, 10, 10, 10, 100, 10, 0}, Space{100, 0, 10, 10}},
		"just below a percent":   {counts{1, 1000, 49, 49, 1000, 50, 50}, Space{4, 5, 49, 1000}},
		"larger than can be":     {counts{1 << 20, 1 << 62, 1 << 62, 1 << 62, 1 << 62, 1 << 61, 1 << 61}, Space{100, 50, most, most}},
		"a unit that is nothing": {counts{0, 10, 10, 10, 0, 0, 0}, Space{100, 100, 0, 0}},
	} {
		if got := test.counts.space(); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}

func TestFull(t *testing.T) {
	for err, want := range map[error]bool{
		syscall.ENOSPC: true, syscall.EDQUOT: true, syscall.EIO: false, errors.New("no space left on device"): false,
		fmt.Errorf("write: %w", &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}): true,
	} {
		if got := Full(err); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
	if Full(nil) {
		t.Error("no error says that the disk is full")
	}
}
