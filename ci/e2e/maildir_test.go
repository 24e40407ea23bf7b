package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// maildir takes messages out of a maildir, as a mail reader does.
type maildir struct {
	dir string
}

func newMaildir(user string) *maildir { return &maildir{dir: filepath.Join(home(user), "Maildir")} }

// take gives what has come since the last call.
func (m *maildir) take() [][]byte {
	paths, _ := filepath.Glob(filepath.Join(m.dir, "new", "*"))
	var list [][]byte
	for _, path := range paths {
		if text, err := os.ReadFile(path); err == nil {
			list = append(list, text)
			_ = os.Remove(path)
		}
	}
	return list
}

// wait takes n messages.
func (m *maildir) wait(t *testing.T, n int, limit time.Duration) [][]byte {
	t.Helper()
	var list [][]byte
	if !within(limit, func() bool { list = append(list, m.take()...); return len(list) >= n }) || len(list) > n {
		t.Fatalf("%d messages in %s, want %d", len(list), m.dir, n)
	}
	return list
}

// split divides a message into its header and its body. Lines end with LF.
func split(text []byte) (header, body []byte) {
	if bytes.HasPrefix(text, []byte("\n")) {
		return nil, text[1:]
	}
	if i := bytes.Index(text, []byte("\n\n")); i >= 0 {
		return text[:i+1], text[i+2:]
	}
	return text, nil
}

// field gives a field of a header, in one line.
func field(header []byte, name string) string {
	header = bytes.ReplaceAll(header, []byte("\n "), []byte(" "))
	header = bytes.ReplaceAll(header, []byte("\n\t"), []byte(" "))
	for line := range bytes.Lines(header) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(key, []byte(name)) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}
