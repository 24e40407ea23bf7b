package diskfree

import (
	"os"
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
	if s.Blocks < 0 || s.Blocks > 100 || s.Inodes < 0 || s.Inodes > 100 {
		t.Errorf("not percentages: %+v", s)
	}
	dir.Close()
	if _, err := Of(dir); err == nil {
		t.Error("a closed file has free space")
	}
}

func TestPercent(t *testing.T) {
	for _, test := range []struct {
		free, total uint64
		want        int
	}{
		{0, 0, 100}, {5, 0, 100}, {0, 10, 0}, {10, 10, 100}, {49, 1000, 4}, {50, 1000, 5},
		{1 << 63, 1 << 20, 0}, {1 << 62, 1 << 62, 100}, {^uint64(0) - 5, 1000, 0},
	} {
		if got := percent(test.free, test.total); got != test.want {
			t.Errorf("percent(%d, %d) = %d, want %d", test.free, test.total, got, test.want)
		}
	}
}
