package mta

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// wire gives a body as it leaves.
func wire(t testing.TB, b *Body) []byte {
	var e encoder
	var out []byte
	if err := b.chunks(func(p []byte) error { out = e.append(out, p); return nil }); err != nil {
		t.Fatal(err)
	}
	return e.end(out)
}

func TestBodyOnTheWire(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\n", "a\r\n.\r\n"},
		{"\n\n", "\r\n\r\n.\r\n"},
		{".\n..\n.a\na.\n", "..\r\n...\r\n..a\r\na.\r\n.\r\n"},
		{"a\n.", "a\r\n..\r\n.\r\n"},
		{"a\r\nb\n", "a\r\nb\r\n.\r\n"},
		{"a\r.\rb\n", "a . b\r\n.\r\n"},
		{"a\r\r\n.\r\nb", "a \r\n..\r\nb\r\n.\r\n"},
		{"a\n.\nMAIL FROM:<x>\n", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"},
		{"a\r", "a \r\n.\r\n"},
		{"\x00\xff\n", "\x00\xff\r\n.\r\n"},
	}
	for _, tt := range tests {
		if got := wire(t, &Body{Bytes: []byte(tt.in)}); string(got) != tt.want {
			t.Errorf("%q: %q", tt.in, got)
		}
	}
}

func TestBodyAtChunkEnds(t *testing.T) {
	for _, tail := range []string{"\r\n.\r\n", "\r.\r\n", "\n.\n", ".\n.", "\r\r\n", "\r"} {
		for shift := range 8 {
			in := strings.Repeat("x", chunkSize-shift) + tail + strings.Repeat("y", chunkSize) + "\n"
			want := wireSlow(in)
			if got := wire(t, &Body{Bytes: []byte(in)}); string(got) != want {
				t.Errorf("tail %q shift %d", tail, shift)
			}
			if got := wire(t, &Body{File: strings.NewReader(in + "beyond"), Size: int64(len(in))}); string(got) != want {
				t.Errorf("file: tail %q shift %d", tail, shift)
			}
		}
	}
}

// wireSlow says the same in the plainest way.
func wireSlow(in string) string {
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", " ")
	var b strings.Builder
	for line := range strings.Lines(in) {
		if line[0] == '.' {
			b.WriteByte('.')
		}
		b.WriteString(strings.TrimSuffix(line, "\n") + "\r\n")
	}
	return b.String() + ".\r\n"
}

func FuzzBody(f *testing.F) {
	f.Add("a\r.\rb\n.\n")
	f.Add("\r\n.\r")
	f.Fuzz(func(t *testing.T, in string) {
		if got := wire(t, &Body{Bytes: []byte(in)}); string(got) != wireSlow(in) {
			t.Errorf("%q", got)
		}
	})
}

func TestShortFile(t *testing.T) {
	b := &Body{File: strings.NewReader("short"), Size: 100}
	if err := b.chunks(func([]byte) error { return nil }); err == nil || strings.Contains(ioText(err), "closed") {
		t.Error(err)
	}
}

func BenchmarkBody(b *testing.B) {
	line := strings.Repeat("x", 75) + "\n"
	body := &Body{Bytes: []byte(strings.Repeat(line, 1<<20/76))}
	c := newClient(discard{}, Timeouts{}.withDefaults())
	b.SetBytes(body.size())
	b.ReportAllocs()
	for b.Loop() {
		if err := c.writeBody(body); err != nil {
			b.Fatal(err)
		}
		if err := c.flush(); err != nil {
			b.Fatal(err)
		}
	}
}

// discard is a connection that takes everything.
type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error)      { return len(p), nil }
func (discard) SetWriteDeadline(time.Time) error { return nil }

func TestGuardBudget(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		for {
			if _, err := b.Write(bytes.Repeat([]byte("250-x\r\n"), 100)); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, &guard{Conn: a, block: time.Minute, budget: 10000})
	b.Close()
	if err != errReplyLength || n > 10000 {
		t.Error(n, err)
	}
}
