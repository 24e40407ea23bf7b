package smtp

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tests of other programs than core.
var testDirs = map[string]string{"e2e": "../../ci/e2e", "torture": "../../ci/torture"}

// names gives what the files that match declare: functions, methods, types, constants.
func names(t *testing.T, pattern string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				found[d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						found[s.Name.Name] = true
					case *ast.ValueSpec:
						for _, n := range s.Names {
							found[n.Name] = true
						}
					}
				}
			}
		}
	}
	return found
}

// Every file, function and test that conformance.md names is there, and each row says how it
// is done and how that is known.
func TestConformance(t *testing.T) {
	text, err := os.ReadFile("conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]map[string]bool)
	has := func(pattern, name string) bool {
		if known[pattern] == nil {
			known[pattern] = names(t, pattern)
		}
		return known[pattern][name]
	}
	rows := make(map[string]int)
	section := ""
	for i, line := range strings.Split(string(text), "\n") {
		if head, ok := strings.CutPrefix(line, "## "); ok {
			section, _, _ = strings.Cut(head, ":")
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| Section") || strings.HasPrefix(line, "| Point") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("line %d has %d cells", i+1, len(cells))
		}
		rows[section]++
		code, tests := strings.TrimSpace(cells[2]), strings.TrimSpace(cells[3])
		checkPlaces(t, i+1, code, has)
		checkTests(t, i+1, tests, strings.HasPrefix(code, "none:"), has)
	}
	for _, s := range []string{"RFC 5321", "RFC 1870", "RFC 2034", "RFC 2920", "RFC 3030", "RFC 3207", "RFC 3461", "RFC 4954",
		"RFC 6531", "RFC 8689", "RFC 9422", "What OpenSMTPD does otherwise"} {
		if rows[s] == 0 {
			t.Errorf("nothing about %s", s)
		}
	}
	if n := rows["What OpenSMTPD does otherwise"]; n != 27 {
		t.Errorf("%d of 27 points are decided", n)
	}
}

func checkPlaces(t *testing.T, line int, code string, has func(pattern, name string) bool) {
	if reason, none := strings.CutPrefix(code, "none:"); none {
		if len(reason) < 10 {
			t.Errorf("line %d: no reason", line)
		}
		return
	}
	for place := range strings.SplitSeq(code, "; ") {
		file, function, ok := strings.Cut(place, ": ")
		if !ok || !has(filepath.Join("..", file), function) {
			t.Errorf("line %d: no %q", line, place)
		}
	}
}

func checkTests(t *testing.T, line int, tests string, optional bool, has func(pattern, name string) bool) {
	if tests == "-" && optional {
		return
	}
	for test := range strings.FieldsSeq(tests) {
		pkg, name, _ := strings.Cut(test, ".")
		name, script, _ := strings.Cut(name, "/")
		dir := testDirs[pkg]
		if dir == "" {
			dir = filepath.Join("..", pkg)
		}
		if !strings.HasPrefix(name, "Test") && !strings.HasPrefix(name, "Fuzz") || !has(filepath.Join(dir, "*_test.go"), name) {
			t.Errorf("line %d: no test %s", line, test)
		}
		if script != "" {
			if _, err := os.Stat(filepath.Join(dir, "testdata", script+".dialog")); err != nil {
				t.Errorf("line %d: %v", line, err)
			}
		}
	}
	if tests == "" || tests == "-" {
		t.Errorf("line %d: no test", line)
	}
}
