package format

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
)

var testVars = Vars{
	Sender: address.Address{Local: "x'|${y}`z`", Domain: "example.com"},
	Rcpt:   address.Address{Local: "alice+Tag", Domain: "exp.example.org"},
	Dest:   address.Address{Local: "Alice+Tag", Domain: "example.net"},
	User:   "alice", Directory: "/home/alice", Delim: "+",
}

func TestPath(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"", ""},
		{"/var/mail", "/var/mail"},
		{"~/Maildir", "/home/alice/Maildir"},
		{"x~/y", "x~/y"},
		{"%{user.directory}/%{user.username}", "/home/alice/alice"},
		{"%{rcpt} %{rcpt.user} %{rcpt.domain}", "alice+Tag@exp.example.org alice+Tag exp.example.org"},
		{"%{dest.user}@%{dest.domain}|%{dest}", "Alice+Tag@example.net|Alice+Tag@example.net"},
		{"%{sender}", "x::::y::z:@example.com"},
		{"%{sender.user:raw}", "x'|${y}`z`"},
		{"%{mbox.from}", "x::::y::z:@example.com"},
		{"%{rcpt:uppercase}", "ALICE+TAG@EXP.EXAMPLE.ORG"},
		{"%{rcpt:lowercase}", "alice+tag@exp.example.org"},
		{"%{rcpt.user:strip}", "alice"},
		{"%{rcpt:strip}", "alice@exp.example.org"},
		{"%{dest.user:strip|lowercase}", "alice"},
		{"%{dest.user:lowercase|raw|strip}", "alice"},
		{"%{user.username[0]}%{user.username[1]}%{user.username[-1]}%{user.username[-2]}", "alec"},
		{"%{user.username[:2]}", "ali"},
		{"%{user.username[1:2]}", "li"},
		{"%{user.username[2:]}", "ice"},
		{"%{user.username[-2:]}", "ce"},
		{"%{user.username[:-1]}", "alic"},
		{"%{user.username[-3:-1]}", "ic"},
		{"%{user.username[:]}", "alice"},
		{"[%{user.username[9]}%{user.username[3:1]}%{user.username[9:]}%{user.username[-9:0]}]", "[a]"},
		{"%{dest.user[0]:lowercase}", "a"},
		{"%{Dest.User:LowerCase|STRIP}", "alice"},
		{"%{dest.user:lowercase[0]}", "a"},
		{"%{dest.user[0:4]:lowercase|uppercase[1]}", "L"},
		{"%%{rcpt} 100% %s %%%{user.username}%", "%{rcpt} 100% %s %alice%"},
	}
	for _, tt := range tests {
		if err := Check(tt.pattern); err != nil {
			t.Errorf("Check(%q): %v", tt.pattern, err)
		}
		if got, err := Path(tt.pattern, testVars); got != tt.want || err != nil {
			t.Errorf("Path(%q) = %q, %v, want %q", tt.pattern, got, err, tt.want)
		}
	}
}

func TestPathErrors(t *testing.T) {
	for _, s := range []string{"%{", "%{rcpt", "%{}", "%{nosuch}", "%{rcpt:}", "%{rcpt:Lower}", "%{rcpt[}", "%{rcpt[]}", "%{rcpt[a]}",
		"%{rcpt[1:b]}", "%{rcpt[99999]}", "%{rcpt[1]x}", "%{rcpt|raw}", "%{rcpt.user.x}", "%{mda}", "x %{mda:raw} y", "%{mda[0]}", "%{" + strings.Repeat("x", 200) + "}"} {
		if Check(s) == nil {
			t.Errorf("Check(%q) is content", s)
		}
		if got, err := Path(s, testVars); err == nil || got != "" {
			t.Errorf("Path(%q) = %q", s, got)
		}
		if _, _, err := Command("/bin/x "+s, testVars); err == nil {
			t.Errorf("Command(%q) is content", s)
		}
	}
	if got, err := Path(strings.Repeat("%{rcpt}", 50), testVars); err == nil {
		t.Errorf("%d octets are not too many", len(got))
	}
	if got := (Vars{}); got.Sender.Null() {
		if s, err := Path("%{mbox.from}", got); s != "MAILER-DAEMON" || err != nil {
			t.Errorf("null sender: %q, %v", s, err)
		}
	}
}

// A value is one part of a path or less, whatever the address.
func TestPathPaths(t *testing.T) {
	tests := []struct{ local, pattern, want string }{
		{"../../etc/passwd", "/m/%{dest.user}", "/m/:::..:etc:passwd"},
		{"..", "/m/%{dest.user}/x", "/m/::/x"},
		{"..", "/m/%{dest.user:raw}/x", "/m/::/x"},
		{"a..b", "/m/%{dest.user[1:2]}/x", "/m/::/x"},
		{"a.b", "/m/%{dest.user[1]}%{dest.user[1]}/x", "/m/::/x"},
		{"/etc/passwd", "%{dest.user:raw}", ":etc:passwd"},
		{"a b;c<d>(e)\"\\", "%{dest.user}", "a:b:c:d::e:::"},
	}
	for _, tt := range tests {
		v := Vars{Dest: address.Address{Local: tt.local, Domain: "x"}}
		if got, err := Path(tt.pattern, v); got != tt.want || err != nil {
			t.Errorf("%q in %q: %q, %v, want %q", tt.local, tt.pattern, got, err, tt.want)
		}
	}
}

func TestCommand(t *testing.T) {
	evil := Vars{Sender: address.Address{Local: "`touch${IFS}/tmp/x`", Domain: "example.com"},
		Rcpt: address.Address{Local: "-oX", Domain: "[127.0.0.1]"}, User: "alice", Directory: "/home/alice", Delim: "+"}
	tests := []struct {
		command string
		shell   bool
		want    []string
	}{
		{"/usr/bin/deliver -f %{sender} -d %{user.username}", false,
			[]string{"/usr/bin/deliver", "-f", ":touch::IFS::tmp:x:@example.com", "-d", "alice"}},
		{"/usr/bin/deliver %{sender:raw}", false, []string{"/usr/bin/deliver", "`touch${IFS}/tmp/x`@example.com"}},
		{"/usr/bin/deliver \"%{sender:raw} x\" 'y z'", false, []string{"/usr/bin/deliver", ":touch::IFS::tmp:x:@example.com x", "y z"}},
		{"/usr/bin/deliver %{rcpt} -r%{rcpt:raw} ''", false, []string{"/usr/bin/deliver", ":oX@[127.0.0.1]", "-r-oX@[127.0.0.1]", ""}},
		{"/bin/x %%{a;b}", true, []string{"/bin/x %{a;b}"}},
		{"/bin/x %%%{rcpt.domain:lowercase} %%", false, []string{"/bin/x", "%[127.0.0.1]", "%"}},
		{"/bin/sh -c 'x %{sender:raw}'", false, []string{"/bin/sh", "-c", "x :touch::IFS::tmp:x:@example.com"}},
		{"/bin/sh -c %{sender:raw}", false, []string{"/bin/sh", "-c", ":touch::IFS::tmp:x:@example.com"}},
		{"/usr/bin/perl -ne %{sender:raw}", false, []string{"/usr/bin/perl", "-ne", ":touch::IFS::tmp:x:@example.com"}},
		{"/usr/bin/ssh h x %{sender:raw}", false, []string{"/usr/bin/ssh", "h", "x", ":touch::IFS::tmp:x:@example.com"}},
		{"/bin/date +%s 100%%", false, []string{"/bin/date", "+%s", "100%"}},
		{"  /bin/x\ty  ", false, []string{"/bin/x", "y"}},
		{"deliver %{sender:raw}", true, []string{"deliver :touch::IFS::tmp:x:@example.com"}},
		{"/bin/x %{sender:raw} | /bin/y", true, []string{"/bin/x :touch::IFS::tmp:x:@example.com | /bin/y"}},
		{`/bin/x "$SENDER"`, true, []string{`/bin/x "$SENDER"`}},
		{"/bin/x %{rcpt}; '%{rcpt}'", true, []string{"/bin/x :oX@:127.0.0.1:; ':oX@:127.0.0.1:'"}},
		{"exit 75", true, []string{"exit 75"}},
		{"A=1 /bin/x", true, []string{"A=1 /bin/x"}},
		{"/bin/x ~/y", true, []string{"/bin/x ~/y"}},
		{"/bin/x 'unclosed", true, []string{"/bin/x 'unclosed"}},
		{"cat > %{user.directory}/box", true, []string{"cat > /home/alice/box"}},
		{"", true, []string{""}},
	}
	for _, tt := range tests {
		got, shell, err := Command(tt.command, evil)
		if err != nil || shell != tt.shell || !slices.Equal(got, tt.want) {
			t.Errorf("Command(%q) = %q, %v, %v, want %q, %v", tt.command, got, shell, err, tt.want, tt.shell)
		}
	}
	evil.Directory = "/home/$(id)"
	if got, _, err := Command("cat > %{user.directory}/box", evil); err == nil {
		t.Errorf("home became shell text: %q", got)
	}
	if got, _, err := Command("/bin/x %{user.directory}", evil); err != nil || got[1] != "/home/$(id)" {
		t.Errorf("home as an argument: %q, %v", got, err)
	}
	if _, _, err := Command("/bin/x "+strings.Repeat("%{sender}", 500), evil); err == nil {
		t.Error("a command without a limit")
	}
}

func TestCheckPlace(t *testing.T) {
	tests := []struct {
		pattern, wrong string
		offset         int
	}{
		{"~/%{rcpt.user[0]:lowercase}/%{nosuch}", "%{nosuch}", 28},
		{"100%% %{rcpt:upper}%{x}", "%{rcpt:upper}", 6},
		{"%s %{rcpt", "%{rcpt", 3},
		{"a %{mda} b", "%{mda}", 2},
	}
	for _, tt := range tests {
		var e *Error
		if err := Check(tt.pattern); !errors.As(err, &e) || e.Offset != tt.offset || e.Specifier != tt.wrong {
			t.Errorf("Check(%q): %+v, want %q at %d", tt.pattern, e, tt.wrong, tt.offset)
		}
	}
	if err := CheckWrapper("x %{mda} %{mda:raw} %{rcpt}"); err != nil {
		t.Error(err)
	}
	if CheckWrapper("x %{mda:lowercase}") == nil || CheckWrapper("%{nosuch}") == nil {
		t.Error("CheckWrapper is content with anything")
	}
}

func TestWrap(t *testing.T) {
	tests := []struct{ wrapper, command, want string }{
		{"/usr/bin/filter | %{mda}", "/bin/x %{rcpt}", "/usr/bin/filter | /bin/x %{rcpt}"},
		{"a '%{mda:raw}' %%{mda} %{mda}%{rcpt}", "%{mda}", "a '%{mda}' %%{mda} %{mda}%{rcpt}"},
		{"/bin/other", "/bin/x", "/bin/other"},
	}
	for _, tt := range tests {
		if got, err := Wrap(tt.wrapper, tt.command); got != tt.want || err != nil {
			t.Errorf("Wrap(%q, %q) = %q, %v, want %q", tt.wrapper, tt.command, got, err, tt.want)
		}
	}
	if _, err := Wrap(strings.Repeat("%{mda}", 1000), strings.Repeat("x", 1000)); err == nil {
		t.Error("a wrapped command without a limit")
	}
}

func FuzzPath(f *testing.F) {
	f.Add("~/%{sender}/%{rcpt.user[1:-1]:raw|strip}", "a/../b", "x'|${y}`z`")
	f.Add("%{dest[0]:lowercase[0]}%%{", "..", "-")
	f.Add("%{rcpt:raw}%{mbox.from:uppercase}", "\"; rm", "\x00\n")
	f.Fuzz(func(t *testing.T, pattern, local, domain string) {
		a := address.Address{Local: local, Domain: domain}
		v := Vars{Sender: a, Rcpt: a, Dest: a, User: local, Directory: "/home/x", Delim: "+"}
		check := Check(pattern)
		if _, err := Path(pattern, v); check != nil && err == nil {
			t.Errorf("Path(%q) takes what Check refuses: %v", pattern, check)
		}
		// The values alone, without the text around them.
		err := scan(pattern, func(_ string, s *specifier) error {
			if s == nil || !s.fromWire() {
				return nil
			}
			path := s.path(v)
			if strings.ContainsAny(path, "/\x00\n\r\x7f") || strings.HasPrefix(path, ".") {
				t.Errorf("%q, %+v: path %q", pattern, s, path)
			}
			if s.raw && strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%q, %+v: raw path %q", pattern, s, path)
			}
			text, err := s.argument(v, shellText)
			if i := strings.IndexFunc(text, func(r rune) bool { return r > '~' || !safe(byte(r)) }); i >= 0 || err != nil {
				t.Errorf("%q, %+v: shell text %q, %v", pattern, s, text, err)
			}
			return nil
		})
		if (err == nil) != (check == nil) {
			t.Errorf("scan of %q: %v and %v", pattern, err, check)
		}
	})
}

func FuzzCommand(f *testing.F) {
	f.Add("/bin/x -f %{sender} '%{rcpt:raw} y'", "`id`", "d")
	f.Add("x \"%{sender}\" | y", "$(id)", "")
	f.Add("/bin/sh -c %{sender:raw}", "a", "b")
	f.Fuzz(func(t *testing.T, command, local, domain string) {
		v := hostile(local, domain)
		argv, shell, err := Command(command, v)
		if err != nil {
			return
		}
		if shell {
			checkOutline(t, command, v)
			return
		}
		// The words are those of the pattern: no value makes or ends one.
		words, plain := plainWords(command)
		if !plain || len(words) != len(argv) {
			t.Fatalf("%q: %q of %q", command, argv, words)
		}
		for i, arg := range argv {
			if strings.ContainsAny(arg, "\x00\n") {
				t.Errorf("%q: control character in %q", command, arg)
			}
			if raw := interpreted(words) || strings.ContainsAny(words[i], " \t"); raw && strings.ContainsFunc(local+domain, shellSpecial) {
				want, err := expandCommand(words[i], harmless, shellText)
				if err != nil {
					t.Fatal(err)
				}
				if strings.ReplaceAll(outline(arg), "w", "") != strings.ReplaceAll(outline(want), "w", "") {
					t.Errorf("%q: %q could be text of a shell", command, arg)
				}
			}
		}
	})
}
