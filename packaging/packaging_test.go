package packaging

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/platform"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all gives the first group of each match, and fails when there is none.
func all(t *testing.T, text, expr string) (found []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?m)"+expr).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	if found == nil {
		t.Fatalf("nothing matches %s", expr)
	}
	return found
}

// TestTargets: what is released is what is checked.
func TestTargets(t *testing.T) {
	block := all(t, read(t, "../ci/cross.sh"), `^targets="\n((?:.*\n)+?)"`)[0]
	var want []string
	for target := range strings.FieldsSeq(block) {
		want = append(want, strings.ReplaceAll(target, "/", "_"))
	}
	got := all(t, read(t, "../goreleaser.yaml"), `^      - ([a-z]+_[a-z0-9_]+)$`)
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("goreleaser.yaml has\n\t%q\nci/cross.sh has\n\t%q", got, want)
	}
}

// TestSources: every file that a package takes from the tree is there.
func TestSources(t *testing.T) {
	text := read(t, "../goreleaser.yaml")
	for _, src := range all(t, text, `src: ([a-zA-Z][^ ,}]*/[^ ,}]+|[A-Z]+(?:\.md)?)[,}]`) {
		if page, ok := strings.CutPrefix(src, "bin/share/man/"); ok { // made by share.sh
			src = "packaging/man/" + strings.TrimSuffix(page, ".gz")
		} else if strings.HasPrefix(src, "bin/share/") {
			continue
		}
		if found, err := filepath.Glob("../" + src); err != nil || len(found) == 0 {
			t.Errorf("%s is not in the tree", src)
		}
	}
	for _, src := range all(t, text, `(?:install|remove|upgrade|changelog): (packaging/.*)$`) {
		if _, err := os.Stat("../" + src); err != nil {
			t.Error(err)
		}
	}
	pages, err := filepath.Glob("man/*.[1-8]")
	if err != nil || len(pages) == 0 {
		t.Fatal("no manual pages", err)
	}
	for _, page := range pages {
		name := filepath.Base(page)
		want := "dst: /usr/share/man/man" + name[len(name)-1:] + "/" + name + ".gz"
		if !strings.Contains(text, want) {
			t.Errorf("goreleaser.yaml: no %q", want)
		}
	}
}

func TestScripts(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no shell")
	}
	var scripts []string
	for _, pattern := range []string{"*.sh", "*/*.sh", "openrc/*", "../ci/*.sh"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		scripts = append(scripts, found...)
	}
	if len(scripts) < 8 {
		t.Errorf("only %q", scripts)
	}
	for _, script := range scripts {
		if out, err := exec.Command(sh, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", script, err, out)
		}
	}
}

// TestPaths: packages, service files and scripts name what the daemon looks for.
func TestPaths(t *testing.T) {
	facts, ok := platform.For("linux")
	if !ok {
		t.Fatal("no facts of linux")
	}
	for file, wanted := range map[string][]string{
		"../goreleaser.yaml": {"dst: " + facts.ConfigFile + ",", "dst: " + facts.Empty + ",", "dst: " + facts.Spool + ",",
			"dst: " + facts.SendmailPath + ",", "owner: " + facts.Users.Queue + ", group: " + facts.Users.QueueGroup + ",",
			"/system/" + facts.Service + ".service", "/etc/init.d/" + facts.Service},
		"scripts/preinstall.sh":  {facts.Users.Daemon + " " + facts.Empty, facts.Users.Queue + " " + facts.Spool},
		"scripts/postinstall.sh": {facts.Aliases, facts.Service + ".service", "rc-service --ifstarted " + facts.Service},
		"scripts/preremove.sh":   {facts.Service + ".service", "rc-service --ifstarted " + facts.Service},
		"scripts/postremove.sh": {"spool=" + facts.Spool, "for name in " + facts.Users.Daemon + " " + facts.Users.Queue,
			facts.Aliases},
		"man/smtpd.8": {facts.ConfigFile, facts.Spool, facts.Empty, facts.ControlSocket, facts.PidFile, facts.MailnameFile,
			facts.Users.Daemon, facts.Users.Queue},
		"man/smtpctl.8":  {facts.ControlSocket},
		"man/sendmail.8": {facts.ControlSocket},
	} {
		text := read(t, file)
		for _, want := range wanted {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q", file, want)
			}
		}
	}
}

// TestServiceFiles: a package and smtpd-service install the same, but for comments.
func TestServiceFiles(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../compat/service/texts.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				texts[spec.Names[0].Name], _ = strconv.Unquote(lit.Value)
			}
		}
		return true
	})
	fill := strings.NewReplacer("@PROGRAM@", "/usr/sbin/smtpd", "@NAME@", "smtpd")
	for name, path := range map[string]string{"systemdUnit": "systemd/smtpd.service", "openRCScript": "openrc/smtpd"} {
		if got, want := bare(read(t, path)), bare(fill.Replace(texts[name])); got != want || want == "" {
			t.Errorf("%s:\n%s\n%s of compat/service:\n%s", path, got, name, want)
		}
	}
}

// bare leaves comments and empty lines out.
func bare(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if s := strings.TrimSpace(line); s != "" && s[0] != '#' {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestVersion: the newest version has one number everywhere.
func TestVersion(t *testing.T) {
	want := all(t, read(t, "../Makefile"), `^VERSION = (.*)$`)[0]
	if got := all(t, read(t, "../CHANGELOG.md"), `^## ([^ \n]+)`)[0]; got != want {
		t.Errorf("CHANGELOG.md: %s, Makefile: %s", got, want)
	}
	if got := all(t, read(t, "changelog.yaml"), `^- semver: (.*)$`)[0]; got != want {
		t.Errorf("changelog.yaml: %s, Makefile: %s", got, want)
	}
}
