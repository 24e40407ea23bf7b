package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/platform"
)

const (
	plainHash = "$9$plain" // what verify of the tests takes for the hash of "plainpw"
	otherHash = "$9$other"
	oddHash   = "QJz1c5zoZ1vmQ" // no method that anybody knows
)

// counter is a Verify that knows hashes of its own and notes what it was asked.
type counter struct{ asked []string }

func (c *counter) verify(hash, password string) (bool, error) {
	c.asked = append(c.asked, hash)
	name, ok := strings.CutPrefix(hash, "$9$")
	if !ok {
		return false, ErrUnusable
	}
	return password == name+"pw", nil
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const shadowText = `# comment
plain:` + plainHash + `:19000:0:99999:7:::
other:` + otherHash + `:19000:0:99999:7:::
second:` + plainHash + `:19000:0:99999:7:::
second:` + otherHash + `:19000:0:99999:7:::
locked:!` + plainHash + `:19000:0:99999:7:::
star:*:19000:0:99999:7:::
none::19000:0:99999:7:::
x:x:19000:0:99999:7:::
odd:` + oddHash + `:19000:0:99999:7:::
expired:` + plainHash + `:19000:0:99999:7::19001:
expired0:` + plainHash + `:19000:0:99999:7::0:
old:` + plainHash + `:19000:0:30:7:::
change:` + plainHash + `:0:0:99999:7:::
notyet:` + plainHash + `:19000:0:99999:7::99999:
short:` + plainHash + `
ghost:` + plainHash + `:19000:0:99999:7:::
+nis:` + plainHash + `:19000:::::
`

const masterText = `plain:` + plainHash + `:1000:1000::0:0:Plain:/home/plain:/bin/sh
other:` + otherHash + `:1001:1001:staff:0:0:Other:/home/other:/bin/sh
locked:*LOCKED*` + plainHash + `:1002:1002::0:0::/home:/bin/sh
star:*:1003:1003::0:0::/home:/bin/sh
none::1004:1004::0:0::/home:/bin/sh
odd:` + oddHash + `:1005:1005::0:0::/home:/bin/sh
expired:` + plainHash + `:1006:1006::0:1600000000::/home:/bin/sh
change:` + plainHash + `:1007:1007::-1:0::/home:/bin/sh
old:` + plainHash + `:1008:1008::1600000000:0::/home:/bin/sh
notyet:` + plainHash + `:1009:1009::9999999999:9999999999::/home:/bin/sh
broken:` + plainHash + `:1010
`

func systems(t *testing.T) map[string]*System {
	t.Helper()
	var accounts strings.Builder
	for line := range strings.Lines(shadowText) {
		if name, _, _ := strings.Cut(line, ":"); name != "ghost" {
			accounts.WriteString(name + ":x:1000:1000::/home:/bin/sh\n")
		}
	}
	return map[string]*System{
		"shadow": Of(platform.Passwords{Format: platform.Shadow, Hashes: write(t, "shadow", shadowText),
			Accounts: write(t, "passwd", accounts.String())}, t.TempDir()),
		"master.passwd": Of(platform.Passwords{Format: platform.MasterPasswd, Hashes: write(t, "master.passwd", masterText)}, t.TempDir()),
	}
}

func TestCheck(t *testing.T) {
	for name, s := range systems(t) {
		if err := s.Usable(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, v := range []struct {
			user, password string
			want           bool
			err            error
		}{
			{"plain", "plainpw", true, nil},
			{"other", "otherpw", true, nil},
			{"notyet", "plainpw", true, nil},
			{"plain", "otherpw", false, nil},
			{"plain", "", false, nil},
			{"PLAIN", "plainpw", false, nil},
			{"locked", "plainpw", false, nil},
			{"star", "plainpw", false, nil},
			{"star", "", false, nil},
			{"none", "", false, nil},
			{"none", "plainpw", false, nil},
			{"expired", "plainpw", false, nil},
			{"old", "plainpw", false, nil},
			{"change", "plainpw", false, nil},
			{"nobody", "plainpw", false, nil},
			{"nobody", "otherpw", false, nil},
			{"", "plainpw", false, nil},
			{"# comment", "plainpw", false, nil},
			{"-plain", "plainpw", false, nil},
			{"plain:" + plainHash, "plainpw", false, nil},
			{"plain", "plainpw\x00", false, nil},
			{"plain", strings.Repeat("x", MaxPassword+1), false, nil},
			{strings.Repeat("x", 5000), "plainpw", false, nil},
			{"odd", "plainpw", false, ErrUnusable},
		} {
			c := &counter{}
			got, err := s.Check(t.Context(), v.user, v.password, otherHash, c.verify)
			if got != v.want || !errors.Is(err, v.err) {
				t.Errorf("%s: %.20q, %.20q: %v, %v", name, v.user, v.password, got, err)
			}
			// Whoever it is, one hash is computed.
			computed := slices.DeleteFunc(slices.Clone(c.asked), func(h string) bool { return h == oddHash })
			if len(computed) != 1 {
				t.Errorf("%s: %.20q: compared %q", name, v.user, c.asked)
			}
		}
	}
}

// Users of shadow(5) only: a first line counts, an account must exist, and a line may be
// short.
func TestShadowAlone(t *testing.T) {
	s := systems(t)["shadow"]
	for user, want := range map[string]bool{"second": true, "ghost": false, "x": false, "expired0": false, "short": true, "nis": false, "+nis": false} {
		if got, err := s.Check(t.Context(), user, "plainpw", otherHash, (&counter{}).verify); got != want || err != nil {
			t.Errorf("%s: %v, %v", user, got, err)
		}
	}
	if ok, _ := s.Check(t.Context(), "second", "otherpw", otherHash, (&counter{}).verify); ok {
		t.Error("the second line of a user counts")
	}
}

// An unknown user is compared with the same hash each time, or with the decoy where there
// are no hashes.
func TestDecoy(t *testing.T) {
	s := systems(t)["shadow"]
	c := &counter{}
	for range 3 {
		_, _ = s.Check(t.Context(), "nobody", "x", "$9$decoy", c.verify)
	}
	if c.asked[0] == "$9$decoy" || c.asked[0] != c.asked[1] || c.asked[1] != c.asked[2] {
		t.Errorf("compared with %q", c.asked)
	}
	empty := Of(platform.Passwords{Format: platform.Shadow, Hashes: write(t, "shadow", "root:*:1::::::\n"), Accounts: write(t, "passwd", "root:x:0:0::/:/bin/sh\n")}, "")
	c = &counter{}
	ok, err := empty.Check(t.Context(), "root", "decoypw", "$9$decoy", c.verify)
	if ok || err != nil || !slices.Equal(c.asked, []string{"$9$decoy"}) {
		t.Errorf("%v, %v, compared with %q", ok, err, c.asked)
	}
}

// What the system cannot tell is an error, never a refusal for good.
func TestFailure(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	for name, p := range map[string]platform.Passwords{
		"no file":     {Format: platform.Shadow, Hashes: missing, Accounts: write(t, "passwd", "")},
		"no accounts": {Format: platform.Shadow, Hashes: write(t, "shadow", shadowText), Accounts: missing},
		"no means":    {},
		"long line":   {Format: platform.MasterPasswd, Hashes: write(t, "master.passwd", strings.Repeat("x", maxLine+1))},
	} {
		s := Of(p, t.TempDir())
		if ok, err := s.Check(t.Context(), "plain", "plainpw", otherHash, (&counter{}).verify); ok || err == nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if (name == "no file" || name == "no means") != (s.Usable() != nil) {
			t.Errorf("%s: %v", name, s.Usable())
		}
	}
	s := systems(t)["shadow"]
	broken := errors.New("broken")
	if ok, err := s.Check(t.Context(), "nobody", "x", otherHash, func(string, string) (bool, error) { return false, broken }); ok || !errors.Is(err, broken) {
		t.Errorf("%v, %v", ok, err)
	}
}

// script is a login script that lets ann in with annpw and notes how it was called.
const script = `#!/bin/sh
printf '%s\n' "$*" >> LOG
got=$(tr '\000' '/' <&3)
case "$5:$4:$got" in
*:ann:/annpw/|staff:bea:/beapw/) printf 'value x\nauthorize secure\n' >&3 ;;
*:liar:*) printf 'authorize\n' >&3; exit 1 ;;
*:both:*) printf 'authorize\nreject\n' >&3 ;;
*:late:*) kill -9 $$ ;;
*:long:*) head -c 10000 /dev/zero >&3 ;;
*) printf 'reject\n' >&3; exit 1 ;;
esac
`

const classes = `# classes
auth-defaults:auth=passwd,skey:
default:\
	:path=/usr/bin /bin:\
	:tc=auth-defaults:
staff|crew:\
	:auth-smtp=radius,passwd:\
	:tc=default:
loop:tc=loop:
evil:auth=../../tmp/x:
`

func scripts(t *testing.T) (s *System, called func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	for _, style := range []string{"passwd", "radius"} {
		text := strings.ReplaceAll(script, "LOG", log)
		if err := os.WriteFile(filepath.Join(dir, "login_"+style), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	master := ""
	for _, u := range []string{"ann::0:0", "bea:staff:0:0", "liar::0:0", "both::0:0", "late::0:0", "long::0:0", "evil:evil:0:0"} {
		name, rest, _ := strings.Cut(u, ":")
		master += name + ":*:1000:1000:" + rest + "::/home:/bin/sh\n"
	}
	master += "gone:*:1000:1000::0:1600000000::/home:/bin/sh\n"
	s = Of(platform.Passwords{Format: platform.MasterPasswd, Hashes: write(t, "master.passwd", master), Scripts: dir,
		Classes: write(t, "login.conf", classes)}, t.TempDir())
	return s, func() []string {
		text, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

func TestScripts(t *testing.T) {
	s, called := scripts(t)
	if err := s.Usable(); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		user, password string
		want, fails    bool
		call           string
	}{
		{"ann", "annpw", true, false, "-s response -- ann default"},
		{"ann", "wrong", false, false, "-s response -- ann default"},
		{"bea", "beapw", true, false, "-s response -- bea staff"},
		{"nobody", "annpw", false, false, "-s response -- nobody default"},
		{"-schallenge", "x", false, false, "-s response -- nobody: default"},
		{"ann:skey", "annpw", false, false, "-s response -- nobody: default"},
		{"liar", "x", false, false, "-s response -- liar default"},
		{"both", "x", false, false, "-s response -- both default"},
		{"late", "x", false, true, "-s response -- late default"},
		{"long", "x", false, true, "-s response -- long default"},
		{"evil", "x", false, true, ""},
		{"gone", "x", false, false, "-s response -- gone default"},
	} {
		got, err := s.Check(t.Context(), v.user, v.password, otherHash, nil)
		if got != v.want || (err != nil) != v.fails {
			t.Errorf("%s, %q: %v, %v", v.user, v.password, got, err)
		}
		if calls := called(); len(calls) != 1 || calls[0] != v.call {
			t.Errorf("%s: called with %q", v.user, calls)
		}
	}
}

// A script that hangs is killed with everything that it started.
func TestScriptHangs(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	if err := os.WriteFile(filepath.Join(dir, PAMHelper), []byte("#!/bin/sh\n: > "+started+"\nsleep 1000 & wait\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := Of(platform.Passwords{}, dir)
	if err := s.Usable(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for _, err := os.Stat(started); err != nil; _, err = os.Stat(started) {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if ok, err := s.Check(ctx, "ann", "annpw", otherHash, nil); ok || err == nil {
		t.Errorf("%v, %v", ok, err)
	}
}

func TestHelperThatOthersCanChange(t *testing.T) {
	dir := t.TempDir()
	helper := filepath.Join(dir, PAMHelper)
	if err := os.WriteFile(helper, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(helper, 0o722); err != nil {
		t.Fatal(err)
	}
	if Of(platform.Passwords{}, dir).Usable() == nil {
		t.Error("taken")
	}
}

func TestStyle(t *testing.T) {
	for class, want := range map[string]string{"default": "passwd", "staff": "radius", "crew": "radius", "unknown": "passwd", "loop": "passwd",
		"auth-defaults": "passwd", "evil": ""} {
		got, err := styleOf(classes, class)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", class, got, err)
		}
	}
	path := write(t, "login.conf", classes)
	if err := os.Mkdir(path+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path+".d", "staff"), []byte("staff:auth=ldap:tc=default:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for class, want := range map[string]string{"staff": "ldap", "crew": "radius", "../x": "passwd"} {
		if got, err := loginStyle(path, class); got != want || err != nil {
			t.Errorf("%s: %q, %v", class, got, err)
		}
	}
	if got, err := loginStyle(filepath.Join(t.TempDir(), "none"), "default"); got != "passwd" || err != nil {
		t.Errorf("without login.conf: %q, %v", got, err)
	}
}

// Whatever the files have in them, nothing but a whole hash of the user lets him in.
func FuzzFiles(f *testing.F) {
	f.Add(shadowText, "plain", true)
	f.Add(masterText, "other", false)
	f.Add("a:b", "a", true)
	f.Fuzz(func(t *testing.T, text, user string, isShadow bool) {
		read := masterPasswd
		if isShadow {
			read = shadow
		}
		_ = scanText(strings.NewReader(text), func(fields []string) {
			if hash, _ := read(fields, time.Unix(1.7e9, 0)); strings.ContainsAny(hash, ":\n") {
				t.Errorf("hash %q", hash)
			}
		})
		_, _ = styleOf(text, user)
	})
}
