package mutants

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// root is the top of the tree as seen from this package.
const root = "../../.."

// TestApply: each mutant still fits the tree.
func TestApply(t *testing.T) {
	for _, m := range All() {
		if _, err := m.Overlay(root, t.TempDir()); err != nil {
			t.Error(err)
		}
	}
}

// detector are the tests of core/queue that cut the power.
const detector = "^Test(PowerCut|PowerCutRecovery)$"

// TestCaught: the simulated power cuts find the mutants that nothing else could, and find
// nothing without them. It compiles core/queue for each and runs in ci/torture/run.sh.
func TestCaught(t *testing.T) {
	if os.Getenv("GODWIT_TORTURE_MUTANTS") != "1" {
		t.Skip("ci/torture/run.sh runs it")
	}
	if out, err := detect(""); err != nil {
		t.Fatalf("without a mutant: %v\n%s", err, out)
	}
	for _, m := range All() {
		if m.Kill {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			overlay, err := m.Overlay(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			out, err := detect(overlay)
			if err == nil || !strings.Contains(out, "--- FAIL: ") {
				t.Fatalf("not caught: %v\n%s", err, out)
			}
			_, found, _ := strings.Cut(out, "--- FAIL: ")
			t.Logf("caught: %s", strings.Join(strings.Fields(found[:min(len(found), 300)]), " "))
		})
	}
}

// detect runs the power cuts with the file of an overlay, "" for the tree as it is.
func detect(overlay string) (string, error) {
	args := []string{"test", "-vet=off", "-failfast", "-run", detector}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./core/queue")...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
