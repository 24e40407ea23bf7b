package daemon

import "testing"

func TestGenerations(t *testing.T) {
	var g generations[string]
	if got := g.get(0); got != "" {
		t.Errorf("before the first: %q", got)
	}
	for i, s := range []string{"a", "b", "c", "d"} {
		g.add(uint64(i+1), s)
	}
	for number, want := range map[uint64]string{0: "d", 1: "d", 2: "b", 3: "c", 4: "d", 5: "d"} {
		if got := g.get(number); got != want {
			t.Errorf("%d: %q, want %q", number, got, want)
		}
	}
}
