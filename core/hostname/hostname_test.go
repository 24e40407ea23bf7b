package hostname

import (
	"os"
	"path/filepath"
	"testing"
)

func TestServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mailname")
	for text, want := range map[string]string{
		"MX.example.org\n":          "mx.example.org",
		" mx.example.org \nother\n": "mx.example.org",
		"mx.example.org":            "mx.example.org",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Server(path); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
	// A file that names no host is passed over for the host's own name.
	for _, text := range []string{"", "\n", "two words\n", "-x-\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Server(path); got == "" || got == text {
			t.Errorf("%q gives %q", text, got)
		}
	}
}
