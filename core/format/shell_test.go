package format

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// outline gives what a shell makes of a text before it looks at the letters: the
// characters that mean something to it, with their quoting. Two texts with one outline are
// the same program with other words.
func outline(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if !safe(c) || c == '[' || c == ']' {
			b.WriteByte(c)
		} else if s := b.String(); s == "" || s[len(s)-1] != 'w' {
			b.WriteByte('w')
		}
	}
	return b.String()
}

// harmless has letters only, as many kinds of values as the patterns can name.
var harmless = Vars{Sender: address.Address{Local: "aa", Domain: "aa"}, Rcpt: address.Address{Local: "aa", Domain: "aa"},
	Dest: address.Address{Local: "aa", Domain: "aa"}, User: "aa", Directory: "/aa", Delim: "+"}

func hostile(local, domain string) Vars {
	a := address.Address{Local: local, Domain: domain}
	return Vars{Sender: a, Rcpt: a, Dest: a, User: local, Directory: "/aa", Delim: "+"}
}

// attacks are local parts and the like that do something if a shell sees them.
var attacks = []string{"`id`", "$(id)", "${IFS}id", "a;id", "a|id", "a&id", "a\nid", "'id'", `"id"`, `\`, "'", `"`, "*", "?", "~", "~root", "#",
	"-c", "--", "a\x00b", "\xff\xfe", "[a-z]*", "{a,b}", "!!", "<x", ">x", "a b", "\t", "", "%{sender}", "%s", "=x", "A=b", "..", "/etc/passwd"}

var commands = []string{"%{sender}", "x %{sender}", "x '%{sender}'", `x "%{sender}"`, "x '%{sender:raw}' y", `x "%{rcpt.user:raw}"`,
	"x %{sender:raw}", "x `y %{sender:raw}`", "x $(y %{rcpt[1:]:raw})", "x | y %{dest.user:raw|uppercase}", `x \%{sender:raw}`,
	"x \"`y '%{mbox.from:raw}'`\"", "x <<E\n%{sender:raw}\nE\n", "x %%%{sender:raw}%%", "x=%{user.username:raw}; y $x", "#%{sender:raw}\nx",
	"x ${y:-%{sender:raw}}", "~/x %{sender:raw}", "x %{user.directory}/%{dest.domain:raw[-3:]}", "%{rcpt:raw}%{rcpt:raw}"}

// TestShellText: what a shell gets has the outline that it has with harmless values.
func TestShellText(t *testing.T) {
	for _, command := range commands {
		for _, attack := range attacks {
			checkOutline(t, command, hostile(attack, attack))
			checkOutline(t, command, hostile("x"+attack+"y", "d"))
		}
	}
}

func checkOutline(t *testing.T, command string, v Vars) {
	t.Helper()
	got, shell, err := Command(command, v)
	if err != nil || !shell {
		return
	}
	want, _, err := Command(command, harmless)
	if err != nil {
		t.Fatalf("%q: %v", command, err)
	}
	// A value that is empty leaves no word behind.
	g, w := strings.ReplaceAll(outline(got[0]), "w", ""), strings.ReplaceAll(outline(want[0]), "w", "")
	if g != w {
		t.Errorf("%q with %q: shell text %q", command, v.Sender.Local, got[0])
	}
}

// randomAttacks gives texts of what a shell treats, always the same ones.
func randomAttacks(n int) []string {
	const letters = "`$(){}[]|&;<>*?~#!\\'\"\n\t \x00%=-+aA0./\xff"
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]string, n)
	for i := range list {
		for range 1 + r.IntN(12) {
			list[i] += string(letters[r.IntN(len(letters))])
		}
	}
	return list
}

// TestRealShell lets /bin/sh tell what it understood, with nothing that it could run.
func TestRealShell(t *testing.T) {
	const sh = "/bin/sh"
	if _, err := os.Stat(sh); err != nil {
		t.Skip("no /bin/sh here")
	}
	dir := t.TempDir()
	for _, pattern := range []string{"%{sender:raw}", "'%{sender:raw}'", `"%{sender:raw}"`, "%{rcpt.user:raw}x", "a%{dest[0:9]:raw}", "${nosuch:-%{sender:raw}}"} {
		for _, attack := range append(randomAttacks(20), attacks...) {
			v := hostile(attack, "d.example")
			argv, shell, err := Command("printf '%s\\n' "+pattern+" end;", v)
			if err != nil || !shell {
				t.Fatalf("%q: %q, %v", pattern, argv, err)
			}
			word, err := expandCommand(strings.Trim(strings.NewReplacer("${nosuch:-", "", "raw}}", "raw}").Replace(pattern), `'"`), v, shellText)
			if err != nil {
				t.Fatal(err)
			}
			want := word + "\nend\n"
			if word == "" && pattern[0] != '\'' && pattern[0] != '"' {
				want = "end\n"
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, sh, "-c", argv[0])
			cmd.Dir, cmd.Env = dir, []string{"PATH="}
			out, err := cmd.CombinedOutput()
			cancel()
			if string(out) != want || err != nil {
				t.Errorf("%q with %q: %q printed %q, %v, want %q", pattern, attack, argv[0], out, err, want)
			}
		}
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
