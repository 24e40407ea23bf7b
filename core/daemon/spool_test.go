package daemon

import (
	"os"
	"testing"

	"github.com/godwit-mta/godwit/compat/owner"
)

func TestShareSpool(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: gives a directory to another group")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	const group = 4242
	for range 2 { // the second time there is nothing to do
		if err := shareSpool(dir, group); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := owner.UID(st)
		gid, _ := owner.GID(st)
		if uid != 0 || gid != group || st.Mode().Perm() != 0o751 {
			t.Errorf("owner %d:%d, mode %04o", uid, gid, st.Mode().Perm())
		}
	}
}
