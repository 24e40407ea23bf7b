package config

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const manual = "../../packaging/man/smtpd.conf.5"

// manualKeywords gives the words that follow Ic and Cm.
func manualKeywords(text string) []string {
	others := strings.Fields("Ar Oo Oc Op Ns Li Pq Ql Pa Xo Xc No Dq It Xr Sx Nm Em Sy")
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, ".") {
			continue
		}
		keyword := false
		for _, w := range strings.Fields(line[1:]) {
			switch {
			case w == "Ic" || w == "Cm":
				keyword = true
			case slices.Contains(others, w):
				keyword = false
			case keyword && strings.Trim(w, ",.;:|()") != "":
				found[w] = true
			}
		}
	}
	var words []string
	for w := range found {
		words = append(words, w)
	}
	return words
}

func readManual(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestManualKeywords: the manual has the words of the parser, all and no other.
func TestManualKeywords(t *testing.T) {
	documented := manualKeywords(readManual(t))
	known := append(contextual(), reserved...)
	for _, w := range known {
		if !slices.Contains(documented, w) {
			t.Errorf("%q is not in the manual", w)
		}
	}
	for _, w := range documented {
		if !slices.Contains(known, w) {
			t.Errorf("the manual has %q, which the parser does not know", w)
		}
	}
}

// TestManualExamples: what the manual shows as an example works.
func TestManualExamples(t *testing.T) {
	_, examples, _ := strings.Cut(readManual(t), ".Sh EXAMPLES")
	n := 0
	for {
		_, rest, found := strings.Cut(examples, ".Bd -literal -offset indent\n")
		if !found {
			break
		}
		var text string
		text, examples, _ = strings.Cut(rest, ".Ed\n")
		cfg, warnings := mustParse(t, text)
		if len(cfg.Unsupported)+len(warnings) > 0 {
			t.Errorf("%s\n%v %v", text, cfg.Unsupported, warnings)
		}
		n++
	}
	if n < 4 {
		t.Errorf("%d examples", n)
	}
}

// TestManualFormats lets a formatter look at the manual where one is installed.
func TestManualFormats(t *testing.T) {
	cmd := exec.Command("mandoc", "-T", "lint", "-W", "warning", manual)
	if _, err := exec.LookPath("mandoc"); err != nil {
		if _, err := exec.LookPath("groff"); err != nil {
			t.Skip("neither mandoc nor groff is installed")
		}
		cmd = exec.Command("groff", "-mdoc", "-Tascii", "-ww", "-z", manual)
	}
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}
