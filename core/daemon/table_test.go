package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// tableScript is a table program. What it serves stands in the file that it is given: lines
// "SERVICE KEY VALUE"; "die" as a value ends it.
const tableScript = `#!/bin/sh
echo "pid $$" >&2
while IFS= read -r line && [ "$line" != "config|ready" ]; do :; done
printf 'register|alias\nregister|domain\nregister|ready\n'
while IFS='|' read -r _ _ _ _ verb service id key; do
	case $verb in
	update)
		if grep -q '^broken' "$1"; then echo "update-result|$service|error|broken"; else echo "update-result|$service|ok"; fi
		continue ;;
	esac
	value=$(sed -n "s/^$service $key //p" "$1")
	case $verb$value in
	*die) exit 7 ;;
	lookup) echo "lookup-result|$id|not-found" ;;
	check) echo "check-result|$id|not-found" ;;
	lookup*) echo "lookup-result|$id|found|$value" ;;
	check*) echo "check-result|$id|found" ;;
	esac
done
`

// serve puts a table program and its file into the directory of the lab.
func (l *lab) serve(name, script, data string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Join(l.dir, "libexec"), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "libexec", "table-"+name), []byte(script), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "data"), []byte(data), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// rcpt gives the code of the reply to a recipient.
func rcpt(t *testing.T, c *gosmtp.Client, addr string) int {
	t.Helper()
	err := c.Rcpt(addr, nil)
	var reply *gosmtp.SMTPError
	if errors.As(err, &reply) {
		return reply.Code
	}
	if err != nil {
		t.Fatal(err)
	}
	return 250
}

func (l *lab) session() *gosmtp.Client {
	l.t.Helper()
	c, err := gosmtp.Dial(l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	if err := c.Mail("a@example.net", nil); err != nil {
		l.t.Fatal(err)
	}
	return c
}

const programConf = `
listen on 127.0.0.1 port PORT
table t script:DIR/data
action "in" maildir virtual <t> userbase <people>
match from any for domain <t> action "in"
`

const programData = "alias joe@a.example joe\nalias bad@a.example die\ndomain a.example yes\n"

func TestTableProgram(t *testing.T) {
	l := newLab(t, nil, programConf)
	l.serve("script", tableScript, programData)
	l.begin()
	c := l.session()
	for addr, want := range map[string]int{"joe@a.example": 250, "joe+x@a.example": 250, "no@a.example": 524, "joe@b.example": 550} {
		if got := rcpt(t, c, addr); got != want {
			t.Errorf("%s: %d, want %d", addr, got, want)
		}
	}
	l.log.wait(t, 0, `table "t": pid \d+`)

	if got := rcpt(t, c, "bad@a.example"); got != 451 {
		t.Errorf("a program that dies: %d", got)
	}
	l.log.wait(t, 0, `warn: table "t": program exited with status 7`)
	l.log.wait(t, 0, `info: table "t": the program was started again`)
	if got := rcpt(t, c, "joe@a.example"); got != 250 {
		t.Errorf("after the restart: %d", got)
	}
}

func TestUpdateTableProgram(t *testing.T) {
	l := newLab(t, nil, programConf)
	l.serve("script", tableScript, programData)
	l.begin()
	update := control.Request{Op: control.UpdateTable, Name: "t"}
	if err := l.ask(update, nil); err != nil {
		t.Errorf("update: %v", err)
	}
	l.log.wait(t, 0, `^info: Table "t" successfully updated$`)
	l.serve("script", tableScript, programData+"broken\n")
	if err := l.ask(update, nil); err == nil || !strings.Contains(err.Error(), `its program answered the error "broken"`) {
		t.Errorf("update: %v", err)
	}
	if err := l.ask(control.Request{Op: control.UpdateTable, Name: "nosuch"}, nil); err == nil {
		t.Error("a table that does not exist was updated")
	}
}

// Sessions go on with the program that they began with; a program that cannot be used
// changes nothing.
func TestReloadTableProgram(t *testing.T) {
	l := newLab(t, nil, programConf)
	l.serve("script", tableScript, programData)
	l.begin()
	old := l.session()
	port := l.addr[strings.LastIndexByte(l.addr, ':')+1:]
	conf := strings.ReplaceAll(programConf, "PORT", port)

	l.serve("bad", "#!/bin/sh\necho 'register|nosuch'\n", programData)
	from := l.log.len()
	l.write(strings.ReplaceAll(conf, "script:", "bad:"))
	l.reload <- struct{}{}
	l.log.wait(t, from, `configuration not reloaded: .*smtpd.conf:4: table "t": the program serves "nosuch"`)
	if got := rcpt(t, old, "joe@a.example"); got != 250 {
		t.Errorf("after a bad reload: %d", got)
	}
	l.serve("other", strings.ReplaceAll(tableScript, "joe", "jim"), programData)
	if err := os.WriteFile(filepath.Join(l.dir, "other"), []byte("alias jim@a.example joe\ndomain a.example yes\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l.write(strings.ReplaceAll(conf, "script:DIR/data", "other:DIR/other"))
	l.reload <- struct{}{}
	l.log.wait(t, from, "configuration reloaded")
	if a, b := rcpt(t, old, "joe@a.example"), rcpt(t, old, "jim@a.example"); a != 250 || b != 524 {
		t.Errorf("a session from before: %d %d", a, b)
	}
	c := l.session()
	if a, b := rcpt(t, c, "joe@a.example"), rcpt(t, c, "jim@a.example"); a != 524 || b != 250 {
		t.Errorf("a new session: %d %d", a, b)
	}
}

// lookup gets from the parent what the configurations name, and nothing else.
func TestGrants(t *testing.T) {
	var g grants
	g.add(1, []config.Table{{Name: "f", Backend: "file", Path: "/a"}, {Name: "p", Backend: "ldap", Path: "/conf"}, {Name: "d", Backend: "db", Path: "/b"}}, nil)
	g.settle(true)
	g.add(2, []config.Table{{Name: "f", Backend: "file", Path: "/other"}}, nil)
	for path, want := range map[string]bool{"/a": true, "/b": true, "/b.db": true, "/other": true, "/conf": false, "": false, "/etc/shadow": false} {
		if got := g.file(path); got != want {
			t.Errorf("file %q: %t", path, got)
		}
	}
	g.settle(false)
	if g.file("/other") {
		t.Error("a file of a configuration that was refused")
	}
	for _, tt := range []struct {
		generation uint64
		name       string
		want       bool
	}{{1, "p", true}, {1, "q", false}, {2, "f", false}, {0, "p", false}} {
		if _, got := g.table(tt.generation, tt.name); got != tt.want {
			t.Errorf("table %s of %d: %t", tt.name, tt.generation, got)
		}
	}
	for n := range uint64(keptGenerations) {
		g.add(10+n, nil, nil)
		g.settle(true)
	}
	if g.file("/a") {
		t.Error("a file of a configuration that nobody uses any more")
	}
}

// A program that floods the log does not get far.
func TestTableStderr(t *testing.T) {
	w := &watch{more: make(chan struct{})}
	text := strings.Repeat("x", maxStderrLine+1) + "\n\n" + strings.Repeat("line\n", 10*mostStderrLines)
	logStderr(trace.New(w), "table \"t\"", io.NopCloser(strings.NewReader(text)))
	if len(w.lines) != mostStderrLines+1 || len(w.lines[0]) != len(`table "t": `)+maxStderrLine || w.lines[1] != `table "t": x` {
		t.Errorf("%d lines: %.60q", len(w.lines), w.lines)
	}
	if last := w.lines[len(w.lines)-1]; last != `warn: table "t": its program writes too much to standard error` {
		t.Errorf("%q", last)
	}
}

func TestTableProgramPath(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, path := range []string{a + "/table-one", b + "/table-one", b + "/table-two"} {
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(a+"/table-data", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	facts := platform.Facts{Libexec: a, Helpers: []string{b}}
	for backend, want := range map[string]string{"one": a + "/table-one", "two": b + "/table-two", "data": "", "nosuch": ""} {
		got, err := tableProgramPath(facts, backend)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v", backend, got, err)
		}
		if err != nil && err.Error() != fmt.Sprintf("there is no program %s/table-%s", a, backend) {
			t.Error(err)
		}
	}
}

func TestTooManyTablePrograms(t *testing.T) {
	p := programs{running: make(map[uint64]*runningProgram)}
	for id := range uint64(mostPrograms) {
		p.running[id] = &runningProgram{}
	}
	if _, _, err := p.start(Lookup, "t", exec.Command("/bin/false"), nil); err == nil || !strings.Contains(err.Error(), "more than 128") {
		t.Errorf("one too many: %v", err)
	}
	clear(p.running)
	p.end()
	if _, _, err := p.start(Lookup, "t", exec.Command("/bin/false"), nil); !errors.Is(err, errEnding) {
		t.Errorf("after the end: %v", err)
	}
}
