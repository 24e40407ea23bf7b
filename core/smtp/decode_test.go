package smtp

import (
	"bytes"
	"strings"
	"testing"
)

// slowDecode says the same as decoder in the plainest way: it looks for the end first and
// cuts the rest into lines.
func slowDecode(in []byte) (out string, used int, d decoder) {
	all := "\r\n" + string(in)
	end := strings.Index(all, "\r\n.\r\n")
	if end < 0 {
		return "", 0, d
	}
	used = end + len("\r\n.\r\n") - 2
	d.done = true
	text := string(in)[:end] // with the last line end
	d.nul = strings.Contains(text, "\x00")
	if end == 0 {
		return "", used, d
	}
	var b strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "\r\n")
		line, rest := text[:i], text[i+1:]
		if text[i] == '\r' && strings.HasPrefix(rest, "\n") {
			rest = rest[1:]
		} else if text[i] == '\r' {
			d.bareCR = true
		} else {
			d.bareLF = true
		}
		if len(line) > 1 && line[0] == '.' {
			line = line[1:]
		}
		b.WriteString(line + "\n")
		d.lines++
		text = rest
	}
	return b.String(), used, d
}

// fastDecode runs the decoder in place, as a session does, over pieces of that size.
func fastDecode(in []byte, size int) (out string, used int, d decoder) {
	var b strings.Builder
	buf := make([]byte, slack+size)
	for len(in) > 0 && !d.done {
		n := copy(buf[slack:], in)
		wrote, took := d.decode(buf, buf[slack:slack+n])
		b.Write(buf[:wrote])
		in = in[took:]
		used += took
	}
	return b.String(), used, d
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		".\r\n", "a\r\n.\r\nb", "..\r\n...\r\n.a\r\n.\r\n", "\n.\n\r\n.\r\n", "a\n.\r\nb\r\n.\r\n",
		"a\r\n.\nb\r\n.\r\n", "a\r\n.\x00\r\n.\r\n", "a\r.\rb\r\n.\r\n", "\r\n.\r\r\n.\r\n", "a\r\r\n.\r\n",
		"\r.\r\n\r\n.\r\n", "a\r\n.\rb\r\n.\r\n", "a\n..\rb\n.\r\r\n.\r\n\x00", "\n\r\n.\r\n.\r\n", ".a.\r\n.\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want, wantUsed, wantD := slowDecode(in)
		for _, size := range []int{1, 2, 3, 5, len(in) + 1} {
			got, used, d := fastDecode(in, size)
			if !wantD.done {
				if d.done {
					t.Fatalf("pieces of %d: %q ended", size, in)
				}
				continue
			}
			d.state = 0
			if got != want || used != wantUsed || d != wantD {
				t.Fatalf("pieces of %d: %q\n got %q %d %+v\nwant %q %d %+v", size, in, got, used, d, want, wantUsed, wantD)
			}
		}
	})
}

// A message of nothing but bare CRs, LFs or dots must not take longer than its length asks.
// The decoder counts its own work here: no line end is searched for twice.
func TestDecodeWorstCases(t *testing.T) {
	for _, piece := range []string{"\r", "\n", ".", "\r\n.", "\r.", "\n.", "\r\n"} {
		in := []byte(strings.Repeat(piece, 60000) + "x\r\n.\r\n")
		if _, _, d := fastDecode(in, bulkBuffer-slack); !d.done {
			t.Errorf("%q: no end", piece)
		}
	}
}

func benchmarkBody(b *testing.B, line string) {
	body := []byte(strings.Repeat(line, 1<<20/len(line)) + "\r\n.\r\n")
	buf := make([]byte, bulkBuffer)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		var d decoder
		for r := bytes.NewReader(body); !d.done; {
			n, _ := r.Read(buf[slack:])
			d.decode(buf, buf[slack:slack+n])
		}
	}
}

func BenchmarkBody(b *testing.B) {
	b.Run("line=74", func(b *testing.B) { benchmarkBody(b, strings.Repeat("x", 72)+"\r\n") })
	b.Run("line=20", func(b *testing.B) { benchmarkBody(b, strings.Repeat("x", 18)+"\r\n") })
	b.Run("line=998", func(b *testing.B) { benchmarkBody(b, strings.Repeat("x", 996)+"\r\n") })
	b.Run("bareCR", func(b *testing.B) { benchmarkBody(b, "\r") })
	b.Run("dots", func(b *testing.B) { benchmarkBody(b, "..\r\n") })
}
