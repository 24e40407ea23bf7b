package user

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

const passwd = `# comment
root:*:0:0:Charlie &:/root:/bin/ksh
+nis:*:0:0:::
short:*:1
broken:*:x:1::/:/bin/sh
huge:*:4294967296:1::/:/bin/sh
ann:x:1000:1000:Ann,,,:/home/ann:/bin/sh
ann:x:1001:1001:second Ann:/home/ann2:/bin/sh
bob:x:1002:100::/home/bob:
`

const group = `wheel:*:0:root,ann
users:x:100:
mail:x:8:bob, ann
mail2:x:8:ann
ann:x:1000:ann
annex:x:50:annex,an
bad:x:y:ann
short:x
`

func TestFindUser(t *testing.T) {
	tests := []struct {
		name string
		want User
		err  error
	}{
		{"root", User{Name: "root", Home: "/root", Shell: "/bin/ksh"}, nil},
		{"ann", User{Name: "ann", UID: 1000, GID: 1000, Home: "/home/ann", Shell: "/bin/sh"}, nil},
		{"bob", User{Name: "bob", UID: 1002, GID: 100, Home: "/home/bob"}, nil},
		{"an", User{}, ErrNotFound},
		{"+nis", User{}, ErrNotFound},
		{"nis", User{}, ErrNotFound},
		{"short", User{}, ErrNotFound},
		{"broken", User{}, ErrNotFound},
		{"huge", User{}, ErrNotFound},
	}
	for _, tt := range tests {
		got, err := findUser(strings.NewReader(passwd), func(u User) bool { return u.Name == tt.name })
		if !errors.Is(err, tt.err) || !same(got, tt.want) {
			t.Errorf("%s: got %+v, %v", tt.name, got, err)
		}
	}
}

func same(a, b User) bool {
	return a.Name == b.Name && a.UID == b.UID && a.GID == b.GID && a.Home == b.Home &&
		a.Shell == b.Shell && slices.Equal(a.Groups, b.Groups)
}

func TestFindGroups(t *testing.T) {
	tests := []struct {
		member string
		gid    uint32
		want   []uint32
	}{
		{"ann", 1000, []uint32{0, 8}},
		{"bob", 100, []uint32{8}},
		{"nobody", 99, nil},
	}
	for _, tt := range tests {
		got, err := findGroups(strings.NewReader(group), tt.member, tt.gid)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.member, got, err, tt.want)
		}
	}
	if gid, err := findGroup(strings.NewReader(group), "mail"); gid != 8 || err != nil {
		t.Errorf("mail: %d, %v", gid, err)
	}
	if _, err := findGroup(strings.NewReader(group), "bad"); !errors.Is(err, ErrNotFound) {
		t.Errorf("bad: %v", err)
	}
}

// A file that cannot be read to its end is not the same as a user who is not there.
func TestLineTooLong(t *testing.T) {
	text := strings.Repeat("x", maxLine+1) + "\n" + passwd
	_, err := findUser(strings.NewReader(text), func(u User) bool { return u.Name == "ann" })
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestSafe(t *testing.T) {
	for _, name := range []string{"ann", "_smtpd", "a.b", "a-b", "x1", "1a", "ann@example.org",
		"host$", "root+x", strings.Repeat("a", maxName)} {
		if !safe(name) {
			t.Errorf("%q is refused", name)
		}
	}
	for _, name := range []string{"", "0", "1000", "-G", "--", "+ann", "a b", "a:b", "a/b", "../x",
		".", "..", "a\n", "a\x00b", "é", "a\\b", "$x", strings.Repeat("a", maxName+1)} {
		if safe(name) {
			t.Errorf("%q is taken", name)
		}
	}
}

func TestLookup(t *testing.T) {
	me, err := LookupID(uint32(os.Getuid()))
	if err != nil {
		t.Skipf("the user that runs this test has no name: %v", err)
	}
	again, err := Lookup(me.Name)
	if err != nil || again.UID != me.UID || again.Home != me.Home {
		t.Errorf("%s: got %+v, %v, want %+v", me.Name, again, err, me)
	}
	for _, name := range []string{"no-such-user-here", "0", "-G", ""} {
		if _, err := Lookup(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: got %v", name, err)
		}
		if _, err := LookupGroup(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("group %q: got %v", name, err)
		}
	}
	if _, err := LookupID(4123456789); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown number: got %v", err)
	}
}

func FuzzFindUser(f *testing.F) {
	f.Add(passwd, "ann")
	f.Add(group, "root")
	f.Add("a:b:1:2:c:d:e:f\n::::::\n", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		u, err := findUser(strings.NewReader(text), func(u User) bool { return u.Name == name })
		if err == nil && (u.Name != name || name == "" || strings.ContainsAny(u.Home+u.Shell, ":\n")) {
			t.Errorf("%q: got %+v", name, u)
		}
		if _, err := findGroups(strings.NewReader(text), name, 0); err != nil && !errors.Is(err, ErrNotFound) &&
			len(text) < maxLine {
			t.Errorf("groups of %q: %v", name, err)
		}
	})
}
