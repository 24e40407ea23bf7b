package ci

import (
	"bufio"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// programs are those whose modules are compared. One that is not in the tree is left
// out; of the others every module must be listed.
var programs = []string{"smtpd", "smtpctl", "smtpd-service"}

// dependency is one entry of dependencies.txt: its fields by name.
type dependency map[string]string

func readDependencies(t *testing.T) map[string]dependency {
	t.Helper()
	f, err := os.Open("dependencies.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := make(map[string]dependency)
	var now dependency
	last := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case line[0] != ' ' && key == "module" && all[value] == nil:
			now = make(dependency)
			all[value] = now
		case strings.HasPrefix(line, "    ") && last != "":
			now[last] += " " + strings.TrimSpace(line)
		case strings.HasPrefix(line, "  ") && now != nil && value != "" && now[key] == "":
			now[key], last = value, key
		default:
			t.Fatalf("dependencies.txt: %q", line)
		}
	}
	return all
}

func TestDependencyFields(t *testing.T) {
	want := []string{"adds", "kept by", "licence", "linked by", "why"}
	for module, d := range readDependencies(t) {
		if got := slices.Sorted(maps.Keys(d)); !slices.Equal(got, want) {
			t.Errorf("%s: fields %q, want %q", module, got, want)
		}
		for p := range strings.FieldsSeq(d["linked by"]) {
			if !slices.Contains(programs, p) {
				t.Errorf("%s: linked by %q?", module, p)
			}
		}
	}
}

// TestDependencies compares the list with what the go command says. A module that a
// program links on one system only counts.
func TestDependencies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command here")
	}
	listed := readDependencies(t)
	for _, program := range programs {
		if files, err := filepath.Glob(filepath.Join(root, "cmd", program, "*.go")); err != nil || files == nil {
			t.Logf("%s is not in the tree", program)
			continue
		}
		var want []string
		for module, d := range listed {
			if slices.Contains(strings.Fields(d["linked by"]), program) {
				want = append(want, module)
			}
		}
		slices.Sort(want)
		var got []string
		for _, goos := range []string{"linux", "openbsd", "darwin"} {
			got = append(got, linked(t, program, goos)...)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s links\n\t%q\ndependencies.txt says\n\t%q", program, got, want)
		}
	}
}

// linked gives the modules of a program on one system.
func linked(t *testing.T, program, goos string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/"+program)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v: %s", program, err, &stderr)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(m string) bool { return m == modulePath })
}
