package owner

import (
	"os"
	"testing"
	"testing/fstest"
)

func TestUID(t *testing.T) {
	fi, err := os.Lstat(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if uid, ok := UID(fi); !ok || uid != os.Geteuid() {
		t.Errorf("UID = %d, %t; want %d", uid, ok, os.Geteuid())
	}
	other, err := fstest.MapFS{"f": {}}.Stat("f")
	if err != nil {
		t.Fatal(err)
	}
	if uid, ok := UID(other); ok {
		t.Errorf("a file of no system belongs to %d", uid)
	}
}
