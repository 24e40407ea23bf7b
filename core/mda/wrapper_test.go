package mda

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// TestWrapper: what a wrapper hands over is delivered, once and with one set of trace
// fields; what it fails at is not.
func TestWrapper(t *testing.T) {
	const text = "Subject: x\n\nbody\n"
	tests := []struct {
		name    string
		wrapper string
		argv    []string
		status  envelope.Status
		want    string // in the maildir
	}{
		{"as it is", WrappedCommand, nil, envelope.Delivered, text},
		{"changed", "sed s/body/changed/ | " + WrappedCommand, nil, envelope.Delivered, "Subject: x\n\nchanged\n"},
		{"without a shell", "", []string{"/bin/sh", "-c", WrappedCommand}, envelope.Delivered, text},
		{"instead", "cat > /dev/null", nil, envelope.Delivered, ""},
		{"later", WrappedCommand + "; exit 75", nil, envelope.TempFail, ""},
		{"never", WrappedCommand + "; echo no; exit 1", nil, envelope.PermFail, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			j := job(Maildir, "", text)
			j.Path = filepath.Join(t.TempDir(), "Maildir")
			j.Wrapper, j.WrapperArgv = tt.wrapper, tt.argv
			out := Deliver(t.Context(), j, Host{Hostname: "mx"}, nil)
			if out.Status != tt.status {
				t.Fatalf("outcome %+v", out)
			}
			files, err := filepath.Glob(filepath.Join(j.Path, "new", "*"))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				got += string(b)
			}
			want := tt.want
			if want != "" {
				want = j.prefix() + want
			}
			if got != want {
				t.Errorf("delivered %q, want %q", got, want)
			}
			if left, err := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 || err != nil {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	j := job(File, "", "X: y\n\nz\n")
	j.Path, j.Wrapper = filepath.Join(t.TempDir(), "box"), "sed s/z/zz/ | "+WrappedCommand
	if out := Deliver(t.Context(), j, Host{}, nil); out.Status != envelope.Delivered {
		t.Fatalf("outcome %+v", out)
	}
	if b, err := os.ReadFile(j.Path); err != nil || strings.Count(string(b), "Delivered-To:") != 1 || !strings.Contains(string(b), "zz\n") {
		t.Errorf("file %q, %v", b, err)
	}
}
