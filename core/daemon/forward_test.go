package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/user"
)

// home makes a home directory below directories that nobody else can write in.
func home(t *testing.T) string {
	t.Helper()
	base, err := os.UserHomeDir()
	if err != nil {
		t.Skip("no home directory to make one in")
	}
	for up := base; up != filepath.Dir(up); up = filepath.Dir(up) {
		if st, err := os.Stat(up); err != nil || st.Mode().Perm()&0o022 != 0 {
			t.Skipf("the home directory lies below %s, where others can write: every file there is refused", up)
		}
	}
	dir, err := os.MkdirTemp(base, "forward-test")
	if err != nil {
		t.Skip("home directory cannot be written: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestReadForward(t *testing.T) {
	me := uint32(os.Getuid())
	for name, c := range map[string]struct {
		prepare  func(dir, file string) error
		uid      uint32
		content  string
		found    bool
		insecure bool
		fails    bool
	}{
		"none":         {func(string, string) error { return nil }, me, "", false, false, false},
		"good":         {write("joe@example.org\n", 0o600), me, "joe@example.org\n", true, false, false},
		"readable":     {write("joe\n", 0o644), me, "joe\n", true, false, false},
		"group writes": {write("joe\n", 0o664), me, "", false, true, true},
		"all write":    {write("joe\n", 0o602), me, "", false, true, true},
		"foreign":      {write("joe\n", 0o600), me + 1, "", false, true, true},
		"too large":    {write(strings.Repeat("x", maxForward+1), 0o600), me, "", false, false, true},
		"link": {func(dir, file string) error {
			if err := os.WriteFile(dir+"/other", []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Symlink("other", file)
		}, me, "", false, true, true},
		"two names": {func(dir, file string) error {
			if err := os.WriteFile(dir+"/other", []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Link(dir+"/other", file)
		}, me, "", false, true, true},
		"directory": {func(_, file string) error { return os.Mkdir(file, 0o700) }, me, "", false, true, true},
		"home writable": {func(dir, file string) error {
			if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
				return err
			}
			return os.Chmod(dir, 0o777)
		}, me, "", false, true, true},
		"home sticky": {func(dir, file string) error {
			return os.Chmod(dir, 0o755|os.ModeSticky)
		}, me, "", false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := home(t)
			if err := c.prepare(dir, filepath.Join(dir, ".forward")); err != nil {
				t.Fatal(err)
			}
			content, found, err := readForward(user.User{Name: "joe", UID: c.uid, Home: dir})
			if string(content) != c.content && !c.fails || found != c.found || (err != nil) != c.fails || errors.Is(err, errInsecure) != c.insecure {
				t.Errorf("%q, %v, %v", content, found, err)
			}
		})
	}
}

// TestForwardCache: an answer is good as long as the file looks the same, and not for long.
func TestForwardCache(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, forwardName)
	if err := write("joe\n", 0o600)(dir, path); err != nil {
		t.Fatal(err)
	}
	u := user.User{Name: "joe", UID: 1000, Home: dir}
	now := time.Now()
	look := func() os.FileInfo {
		ask, file, err := mayForward(u)
		if !ask || err != nil {
			t.Fatalf("mayForward: %v, %v", ask, err)
		}
		return file
	}
	c := forwardCache{}
	c.put(u, look(), &forwardReply{Found: true, Content: []byte("joe\n")}, now)
	if reply, ok := c.get(u, look(), now); !ok || !reply.Found {
		t.Error("forgotten at once")
	}
	if _, ok := c.get(u, look(), now.Add(forwardAge)); ok {
		t.Error("remembered for ever")
	}
	if _, ok := c.get(user.User{Name: "joe", UID: 1001, Home: dir}, look(), now); ok {
		t.Error("given to another user")
	}
	if _, ok := c.get(u, nil, now); ok {
		t.Error("given for a file that root cannot see")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.get(u, look(), now); ok {
		t.Error("given after a change of the mode")
	}
	for i := range 3 * forwardMemory {
		c.put(user.User{UID: uint32(i), Home: dir}, look(), &forwardReply{}, now)
	}
	if len(c.files) > forwardMemory {
		t.Errorf("%d files remembered", len(c.files))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if ask, _, err := mayForward(u); ask || err != nil {
		t.Errorf("without a file: %v, %v", ask, err)
	}
}

func write(text string, mode os.FileMode) func(dir, file string) error {
	return func(_, file string) error {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		return os.Chmod(file, mode)
	}
}
