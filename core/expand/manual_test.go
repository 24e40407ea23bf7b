package expand

import (
	"os"
	"strings"
	"testing"
)

// example gives the first literal block of the EXAMPLES of a manual page.
func example(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/man/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n.Sh EXAMPLES")
	if !ok {
		t.Fatalf("%s has no examples", page)
	}
	_, rest, _ = strings.Cut(rest, "\n.Bd -literal")
	_, rest, _ = strings.Cut(rest, "\n")
	block, _, ok := strings.Cut(rest, "\n.Ed\n")
	if !ok {
		t.Fatalf("%s has no literal block", page)
	}
	return strings.ReplaceAll(block, `\(dq`, `"`)
}

// TestManual reads the examples of the manual pages.
func TestManual(t *testing.T) {
	aliases := 0
	for line := range strings.Lines(example(t, "aliases.5")) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		list, err := parseList(value)
		if !ok || key == "" || len(list) == 0 || err != nil {
			t.Errorf("aliases.5: %s: %v, %v", line, list, err)
		}
		aliases++
	}
	if aliases < 8 {
		t.Errorf("%d aliases in the example", aliases)
	}
	list, err := parseLines([]byte(example(t, "forward.5")), maxForwardNodes)
	if err != nil || len(list) != 3 {
		t.Errorf("forward.5: %v, %v", list, err)
	}
}
