package expand

import (
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/address"
)

var testVars = Vars{
	Sender: address.Address{Local: "x'|${y}`z`", Domain: "example.com"},
	Rcpt:   address.Address{Local: "alice+Tag", Domain: "exp.example.org"},
	Dest:   address.Address{Local: "Alice+Tag", Domain: "example.net"},
	User:   "alice", Directory: "/home/alice", MDA: "/usr/bin/inner -x", Delim: "+",
}

func TestFormat(t *testing.T) {
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
		{"%{mda}", "/usr/bin/inner -x"},
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
		{"%{dest.user:lowercase[0]}", "a"},
		{"%{dest.user[0:4]:lowercase|uppercase[1]}", "L"},
		{"%%{rcpt} 100% %s %%%{user.username}%", "%{rcpt} 100% %s %alice%"},
	}
	for _, tt := range tests {
		if err := CheckFormat(tt.pattern); err != nil {
			t.Errorf("CheckFormat(%q): %v", tt.pattern, err)
		}
		if got, err := Format(tt.pattern, testVars); got != tt.want || err != nil {
			t.Errorf("Format(%q) = %q, %v, want %q", tt.pattern, got, err, tt.want)
		}
	}
}

func TestFormatErrors(t *testing.T) {
	for _, s := range []string{"%{", "%{rcpt", "%{}", "%{nosuch}", "%{rcpt:}", "%{rcpt:Lower}", "%{rcpt[}", "%{rcpt[]}", "%{rcpt[a]}",
		"%{rcpt[1:b]}", "%{rcpt[99999]}", "%{rcpt[1]x}", "%{rcpt|raw}", "%{rcpt.user.x}", "%{" + strings.Repeat("x", 200) + "}"} {
		if CheckFormat(s) == nil {
			t.Errorf("CheckFormat(%q) is content", s)
		}
		if got, err := Format(s, testVars); err == nil || got != "" {
			t.Errorf("Format(%q) = %q", s, got)
		}
		if _, _, err := Command("/bin/x "+s, testVars); err == nil {
			t.Errorf("Command(%q) is content", s)
		}
	}
	if got, err := Format(strings.Repeat("%{rcpt}", 50), testVars); err == nil {
		t.Errorf("%d octets are not too many", len(got))
	}
	if got := (Vars{}); got.Sender.Null() {
		if s, err := Format("%{mbox.from}", got); s != "MAILER-DAEMON" || err != nil {
			t.Errorf("null sender: %q, %v", s, err)
		}
	}
}

// A value is one part of a path or less, whatever the address.
func TestFormatPaths(t *testing.T) {
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
		if got, err := Format(tt.pattern, v); got != tt.want || err != nil {
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
		{"/usr/bin/deliver \"%{sender:raw} x\" 'y z'", false, []string{"/usr/bin/deliver", "`touch${IFS}/tmp/x`@example.com x", "y z"}},
		{"/usr/bin/deliver %{rcpt} -r%{rcpt:raw} ''", false, []string{"/usr/bin/deliver", ":oX@[127.0.0.1]", "-r-oX@[127.0.0.1]", ""}},
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

func TestWrap(t *testing.T) {
	if got := Wrap("/usr/bin/filter | %{mda}", "/bin/x %{rcpt}"); got != "/usr/bin/filter | /bin/x %{rcpt}" {
		t.Errorf("wrapped: %q", got)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("~/%{sender}/%{rcpt.user[1:-1]:raw|strip}", "a/../b", "x'|${y}`z`")
	f.Add("%{dest[0]:lowercase[0]}%%{", "..", "-")
	f.Add("%{rcpt:raw}%{mbox.from:uppercase}", "\"; rm", "\x00\n")
	f.Fuzz(func(t *testing.T, pattern, local, domain string) {
		a := address.Address{Local: local, Domain: domain}
		v := Vars{Sender: a, Rcpt: a, Dest: a, User: local, Directory: "/home/x", Delim: "+"}
		check := CheckFormat(pattern)
		if _, err := Format(pattern, v); check != nil && err == nil {
			t.Errorf("Format(%q) takes what CheckFormat refuses: %v", pattern, check)
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
			text, err := s.argument(v, true)
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
	f.Add("/bin/x -f %{sender} '%{rcpt:raw} y'", "`id`")
	f.Add("x \"%{sender}\" | y", "$(id)")
	f.Add("%%{sender}", "a")
	f.Fuzz(func(t *testing.T, command, local string) {
		// What a shell gets does not depend on more than the safe characters of a value.
		a := address.Address{Local: local, Domain: "x"}
		argv, shell, err := Command(command, Vars{Sender: a, Rcpt: a, Dest: a, User: local})
		if err != nil {
			return
		}
		if shell != (len(argv) == 1 && !plain(command)) {
			t.Errorf("%q: %q, shell %v", command, argv, shell)
		}
		if !shell && strings.Contains(strings.Join(argv, ""), "\x00") && !strings.Contains(command, "\x00") {
			t.Errorf("%q: NUL in %q", command, argv)
		}
	})
}

func plain(command string) bool {
	_, ok := plainWords(command)
	return ok
}
