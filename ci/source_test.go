package ci

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// root is the top of the tree as seen from this package.
const root = ".."

const modulePath = "github.com/godwit-mta/godwit"

// source is one Go file, of any system and architecture.
type source struct {
	path    string // from the top of the tree, with slashes
	dir     string
	pkg     string
	test    bool
	doc     bool // has a package comment
	imports []string
	tag     string          // its build constraint
	uses    map[string]bool // "os.Exit": selectors on imported packages
	hasInit bool
}

// sources reads every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s, err := parse(name, filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 20 {
		t.Fatalf("only %d files: this is not the tree", len(list))
	}
	return list
}

func parse(name, rel string) (source, error) {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return source{}, err
	}
	s := source{path: rel, dir: path.Dir(rel), pkg: file.Name.Name,
		test: strings.HasSuffix(rel, "_test.go"), doc: file.Doc != nil, uses: make(map[string]bool)}
	names := make(map[string]string) // local name: import path
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return source{}, err
		}
		s.imports = append(s.imports, p)
		local := path.Base(p)
		if spec.Name != nil {
			local = spec.Name.Name
		}
		names[local] = p
	}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if c.Pos() < file.Package && (constraint.IsGoBuild(c.Text) || constraint.IsPlusBuild(c.Text)) {
				s.tag = c.Text
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && names[x.Name] != "" {
				s.uses[names[x.Name]+"."+n.Sel.Name] = true
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				s.hasInit = true
			}
		}
		return true
	})
	return s, nil
}

// systemName says whether a file name alone ties the file to a system or architecture.
func systemName(name string) bool {
	name = strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".go"), "_test")
	parts := strings.Split(name, "_")
	return len(parts) > 1 && systems[parts[len(parts)-1]]
}

// systems are the names that the go command knows in file names.
var systems = func() map[string]bool {
	set := make(map[string]bool)
	for name := range strings.FieldsSeq(`aix android darwin dragonfly freebsd hurd illumos ios js linux
		nacl netbsd openbsd plan9 solaris wasip1 windows zos 386 amd64 amd64p32 arm armbe arm64 arm64be
		loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 ppc64le riscv riscv64 s390
		s390x sparc sparc64 wasm`) {
		set[name] = true
	}
	return set
}()
