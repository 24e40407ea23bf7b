package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// letter is a message of a test. Lines end with LF.
type letter struct {
	id   string // in the field X-Test
	text []byte
	sum  [sha256.Size]byte // of the body
}

// style says what bodies consist of.
type style int

const (
	anything style = iota // all octets but NUL, lines of any length
	short                 // no lines that our sendmail would encode
	plain                 // nothing that swaks takes for a placeholder, and no large ones
)

// Sizes of bodies, in octets.
const (
	maxPlain = 256 << 10 // of the many
	maxBody  = 20 << 20  // of the few
)

// letters makes n messages: sizes from 0 up, evenly by their logarithm, and some large
// ones.
func letters(prefix string, n int, how style) []letter {
	r := rand.New(rand.NewPCG(uint64(n), uint64(len(prefix))))
	list := make([]letter, n)
	for i := range list {
		size := int(math.Exp(r.Float64() * math.Log(maxPlain)))
		switch {
		case how == plain:
		case i < 3:
			size = 0
		case i == 3:
			size = maxBody
		case i < 8:
			size = 1<<20 + r.IntN(3<<20)
		}
		list[i] = newLetter(fmt.Sprintf("%s-%04d", prefix, i), makeBody(r, size, how))
	}
	return list
}

func newLetter(id string, body []byte) letter {
	header := "From: Tester <tester@client.test>\nTo: someone@godwit.test\nSubject: test " + id +
		"\nDate: Mon, 1 Jan 2024 00:00:00 +0000\nMessage-ID: <" + id + "@client.test>\nX-Test: " + id + "\n\n"
	return letter{id, append([]byte(header), body...), sha256.Sum256(body)}
}

// makeBody makes a body of about size octets that ends with a line end, or is empty. It has
// lines that begin with dots, 8-bit octets, empty lines and, where the style allows it lines far beyond 998 octets.
func makeBody(r *rand.Rand, size int, how style) []byte {
	var b bytes.Buffer
	for b.Len() < size {
		room := size - b.Len()
		switch k := r.IntN(12); {
		case k == 0:
			b.WriteString(strings.Repeat(".", 1+r.IntN(3)))
		case k == 1:
			b.WriteString("..From here with dots")
		case k == 2:
			b.WriteString("From the start of a line")
		case k == 3: // an empty line
		case k == 4 && how == anything:
			writeLine(&b, r, min(room, 1000+r.IntN(20000)), how)
		default:
			writeLine(&b, r, min(room, r.IntN(76)), how)
		}
		b.WriteByte('\n')
	}
	if how == plain {
		b.WriteString("The end.\n") // a dot alone would be taken for that of DATA
	}
	return b.Bytes()
}

// writeLine writes n octets of any value but NUL, CR and LF; plain ones are letters.
func writeLine(b *bytes.Buffer, r *rand.Rand, n int, how style) {
	for range n {
		c := byte(1 + r.IntN(255))
		switch {
		case how == plain:
			c = 'a' + c%26
		case c == '\n' || c == '\r':
			c = ' '
		}
		b.WriteByte(c)
	}
}

// crlf gives a message as it goes over the wire, before dots are doubled.
func (l letter) crlf() []byte { return bytes.ReplaceAll(l.text, []byte("\n"), []byte("\r\n")) }

// save writes messages to files of a directory and gives it.
func save(t *testing.T, list []letter, text func(letter) []byte) string {
	t.Helper()
	dir := place(t)
	for _, l := range list {
		if err := os.WriteFile(filepath.Join(dir, l.id), text(l), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// collect waits until every letter has come once, unchanged. take gives what is new.
func collect(t *testing.T, want []letter, limit time.Duration, take func() [][]byte) {
	t.Helper()
	open := make(map[string]letter, len(want))
	for _, l := range want {
		open[l.id] = l
	}
	bad := 0
	done := within(limit, func() bool {
		for _, text := range take() {
			header, body := split(text)
			id := field(header, "X-Test")
			l, ok := open[id]
			delete(open, id)
			if !ok {
				t.Errorf("message %q came twice, or from nowhere", id)
			} else if sha256.Sum256(body) != l.sum {
				if bad++; bad < 5 {
					_, sent := split(l.text)
					t.Errorf("the body of %s was changed: %s", id, difference(sent, body))
				}
			}
		}
		return len(open) == 0
	})
	if bad > 0 {
		t.Errorf("%d bodies were changed", bad)
	}
	if !done {
		some := make([]string, 0, 5)
		for id := range open {
			if some = append(some, id); len(some) == cap(some) {
				break
			}
		}
		t.Fatalf("%d of %d messages have not come: %v ...", len(open), len(want), some)
	}
}

// difference shows where two bodies part.
func difference(want, got []byte) string {
	i := 0
	for i < min(len(want), len(got)) && want[i] == got[i] {
		i++
	}
	part := func(b []byte) []byte { return b[max(0, i-20):min(len(b), i+40)] }
	return fmt.Sprintf("%d and %d octets, at %d: %q and %q", len(want), len(got), i, part(want), part(got))
}
