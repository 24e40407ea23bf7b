package queue

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

func testKey(n byte) []byte { return bytes.Repeat([]byte{'a' + n}, KeySize) }

func testEncodings() map[string]Encoding {
	return map[string]Encoding{
		"gzip":            {Compression: Gzip},
		"zstd":            {Compression: Zstd},
		"encrypted":       {Encrypt: true, Keys: [][]byte{testKey(0)}},
		"gzip, encrypted": {Compression: Gzip, Encrypt: true, Keys: [][]byte{testKey(0)}},
		"zstd, encrypted": {Compression: Zstd, Encrypt: true, Keys: [][]byte{testKey(0)}},
	}
}

func testCodec(t testing.TB, e Encoding) *codec {
	t.Helper()
	c, err := newCodec(e)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// noise gives octets that cannot be compressed in half of their length.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b[:n/2])
	return b
}

func TestCodecRoundTrip(t *testing.T) {
	for name, e := range testEncodings() {
		c := testCodec(t, e)
		for _, n := range []int{0, 1, 2, 511, chunkSize - 1, chunkSize, chunkSize + 1, 2*chunkSize - 1, 2 * chunkSize, 5*chunkSize + 7, zstdWindow + 12345} {
			want := noise(n)
			blob, err := c.encode([]byte("before"), "x", want)
			if err != nil || !bytes.HasPrefix(blob, []byte("before"+magic)) {
				t.Fatalf("%s, %d octets: %v", name, n, err)
			}
			got, err := c.decode("x", blob[6:], n)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d octets: %d octets, %v", name, n, len(got), err)
			}
			if n > 0 {
				if _, err := c.decode("x", blob[6:], n-1); !errors.Is(err, errEncoded) {
					t.Errorf("%s, %d octets pass a limit of %d: %v", name, n, n-1, err)
				}
			}
		}
	}
}

// TestCodecFile writes through a file as streams do, and compares with what is written in memory.
func TestCodecFile(t *testing.T) {
	for name, e := range testEncodings() {
		c := testCodec(t, e)
		want := noise(3*chunkSize + 1)
		f, err := os.Create(t.TempDir() + "/f")
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.encodeTo(f, "x", io.MultiReader(bytes.NewReader(want[:5]), bytes.NewReader(want[5:]))); err != nil || n != int64(len(want)) {
			t.Fatalf("%s: %d octets, %v", name, n, err)
		}
		d, err := c.decoder(io.NewSectionReader(f, 0, 1<<40), "x", 1<<40)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) || d.size != int64(len(want)) {
			t.Errorf("%s: %d octets, %v", name, len(got), err)
		}
		d.close()
		f.Close()
	}
}

// TestCodecDamage cuts an encoded text off at every octet, flips every bit of it and appends to it.
func TestCodecDamage(t *testing.T) {
	want := []byte("From: a@example.org\nSubject: damage\n\n" + string(bytes.Repeat([]byte("text text\n"), 20)))
	for name, e := range testEncodings() {
		c := testCodec(t, e)
		blob, err := c.encode(nil, "x", want)
		if err != nil {
			t.Fatal(err)
		}
		for n := range blob {
			if got, err := c.decode("x", blob[:n], 1<<20); err == nil {
				t.Errorf("%s: cut off at %d: %q", name, n, got)
			}
		}
		for _, more := range [][]byte{{0}, blob, make([]byte, chunkSize)} {
			if got, err := c.decode("x", append(append([]byte{}, blob...), more...), 1<<20); err == nil {
				t.Errorf("%s: with %d octets more: %q", name, len(more), got)
			}
		}
		for bit := range len(blob) * 8 {
			bad := append([]byte{}, blob...)
			bad[bit/8] ^= 1 << (bit % 8)
			got, err := c.decode("x", bad, 1<<20)
			// nothing but encryption protects what means nothing, such as the time in gzip's header
			if err == nil && (e.Encrypt || !bytes.Equal(got, want)) {
				t.Errorf("%s: with bit %d of octet %d flipped: %q", name, bit%8, bit/8, got)
			}
		}
	}
}

// TestCodecChunks takes chunks away from a long text, swaps them and takes them from another.
func TestCodecChunks(t *testing.T) {
	c := testCodec(t, testEncodings()["encrypted"])
	want := noise(4 * chunkSize)
	blob, _ := c.encode(nil, "x", want)
	other, _ := c.encode(nil, "x", want)
	const chunk = chunkSize + tagSize
	part := func(b []byte, i int) []byte { return b[headSize+i*chunk : headSize+(i+1)*chunk] }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	head := blob[:headSize]
	for name, bad := range map[string][]byte{
		"first missing":       join(head, part(blob, 1), part(blob, 2), part(blob, 3)),
		"last missing":        join(head, part(blob, 0), part(blob, 1), part(blob, 2)),
		"middle missing":      join(head, part(blob, 0), part(blob, 2), part(blob, 3)),
		"two swapped":         join(head, part(blob, 1), part(blob, 0), part(blob, 2), part(blob, 3)),
		"last twice":          join(blob, part(blob, 3)),
		"one of another":      join(head, part(other, 0), part(blob, 1), part(blob, 2), part(blob, 3)),
		"the head of another": join(other[:headSize], part(blob, 0), part(blob, 1), part(blob, 2), part(blob, 3)),
		"only the head":       head,
	} {
		if _, err := c.decode("x", bad, 1<<30); !errors.Is(err, errEncoded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.decode("y", blob, 1<<30); !errors.Is(err, errEncoded) {
		t.Errorf("taken for another's: %v", err)
	}
}

// TestCodecBomb has more in it than its head says, and a head that says more than is allowed.
func TestCodecBomb(t *testing.T) {
	for _, method := range []Compression{Gzip, Zstd} {
		c := testCodec(t, Encoding{Compression: method})
		blob, err := c.encode(nil, "x", make([]byte, 64<<20))
		if err != nil || len(blob) > 1<<20 {
			t.Fatalf("%d octets, %v", len(blob), err)
		}
		if _, err := c.decode("x", blob, 32<<10); !errors.Is(err, errEncoded) {
			t.Errorf("method %d: %v", method, err)
		}
		putSize(blob, 100)
		if got, err := c.decode("x", blob, 32<<10); !errors.Is(err, errEncoded) {
			t.Errorf("method %d, head that lies: %d octets, %v", method, len(got), err)
		}
	}
}

func TestCodecKeys(t *testing.T) {
	old := testCodec(t, Encoding{Encrypt: true, Keys: [][]byte{testKey(0)}})
	both := testCodec(t, Encoding{Encrypt: true, Keys: [][]byte{testKey(1), testKey(0)}})
	onlyRead := testCodec(t, Encoding{Keys: [][]byte{testKey(1), testKey(0)}})
	first, _ := old.encode(nil, "x", []byte("first"))
	second, _ := both.encode(nil, "x", []byte("second"))
	for name, c := range map[string]*codec{"both": both, "only read": onlyRead} {
		for _, blob := range [][]byte{first, second} {
			if _, err := c.decode("x", blob, 100); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	_, err := old.decode("x", second, 100)
	var missing *KeyError
	name, _ := KeyName(testKey(1))
	if !errors.As(err, &missing) || missing.Key != name || !Temporary(err) {
		t.Errorf("without the key: %v, want the name %s", err, name)
	}
	if onlyRead.encodes() {
		t.Error("keys alone encrypt")
	}
	for _, bad := range []Encoding{{Encrypt: true}, {Keys: [][]byte{[]byte("short")}}, {Compression: Zstd + 1}} {
		if _, err := newCodec(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// FuzzDecode: whatever the bytes are, no more than the limit comes out, and nothing panics.
func FuzzDecode(f *testing.F) {
	e := Encoding{Encrypt: true, Keys: [][]byte{testKey(0)}}
	for _, seed := range testEncodings() {
		blob, err := testCodec(f, seed).encode(nil, "x", []byte("Subject: x\n\ntext\n"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(blob)
	}
	c := testCodec(f, e)
	f.Fuzz(func(t *testing.T, blob []byte) {
		got, err := c.decode("x", blob, 4096)
		if err == nil && len(got) > 4096 {
			t.Fatalf("%d octets", len(got))
		}
	})
}

func BenchmarkEncodeEnvelope(b *testing.B) {
	text, err := appendEnvelope(nil, testEnvelope(1<<32+1, 1))
	if err != nil {
		b.Fatal(err)
	}
	for name, e := range testEncodings() {
		c := testCodec(b, e)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf, _ = c.encode(buf[:0], "envelope 0000000100000001", text)
			}
			b.ReportMetric(float64(len(buf))/float64(len(text)), "size")
		})
	}
}
