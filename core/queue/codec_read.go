package queue

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// decoder reads one encoded text: exactly as many octets as its head says. What is damaged in
// any way ends in an error before or at the end, never in io.EOF.
type decoder struct {
	size int64 // of the plain text
	left int64
	r    io.Reader
	end  func()
	err  error
}

// encoded reports whether an envelope's text is encoded. No plain one begins like this.
func encoded(text []byte) bool { return len(text) > 0 && text[0] == magic[0] }

// decoder begins to read a text of owner. One of more than limit octets is refused.
func (c *codec) decoder(r io.Reader, owner string, limit int64) (*decoder, error) {
	head := make([]byte, headSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, damage(err)
	}
	size := binary.BigEndian.Uint64(head[8:])
	switch {
	case string(head[:4]) != magic, head[5] > 1, head[6] != 0, head[7] != 0, Compression(head[4]) > Zstd, size > uint64(limit):
		return nil, fmt.Errorf("%w: its head is none, or too much is in it", errEncoded)
	case head[5] == 0 && !bytes.Equal(head[16:], make([]byte, headSize-16)):
		return nil, fmt.Errorf("%w: a key without encryption", errEncoded)
	}
	d := &decoder{size: int64(size), left: int64(size), r: r, end: func() {}}
	if head[5] == 1 {
		aead, err := c.cipher(head)
		if err != nil {
			return nil, err
		}
		d.r = &opener{r: bufio.NewReaderSize(r, 4096), aead: aead, bound: bound(head, owner), size: size}
	}
	return d, d.decompress(Compression(head[4]))
}

// cipher gives the one of a text, by the name of its key.
func (c *codec) cipher(head []byte) (cipher.AEAD, error) {
	k := c.keys[[keyNameSize]byte(head[16:])]
	if k == nil {
		return nil, &KeyError{hex.EncodeToString(head[16 : 16+keyNameSize])}
	}
	return k.aead(head[24:])
}

func (d *decoder) decompress(method Compression) error {
	switch method {
	case Gzip:
		z, err := gzip.NewReader(d.r)
		if err != nil {
			return damage(err)
		}
		d.r = z
	case Zstd:
		z, err := zstd.NewReader(d.r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderMaxMemory(1<<40))
		if err != nil {
			return damage(err)
		}
		d.r, d.end = z, z.Close
	}
	return nil
}

// damage makes an error of what was read one of the text; errors of the disk stay what they are.
func damage(err error) error {
	var known *KeyError
	var disk interface{ Timeout() bool } // *fs.PathError and its like
	if errors.Is(err, errEncoded) || errors.As(err, &known) || errors.As(err, &disk) {
		return err
	}
	return fmt.Errorf("%w: %w", errEncoded, err)
}

func (d *decoder) close() { d.end() }

func (d *decoder) Read(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.left == 0 {
		d.err = d.finish()
		return 0, d.err
	}
	n, err := d.r.Read(b[:min(int64(len(b)), d.left)])
	d.left -= int64(n)
	switch {
	case err == io.EOF && d.left > 0:
		d.err = fmt.Errorf("%w: %d octets are missing", errEncoded, d.left)
	case err != nil && err != io.EOF:
		d.err = damage(err)
	}
	return n, d.err
}

// finish makes sure that nothing follows, and that all checksums were looked at.
func (d *decoder) finish() error {
	n, err := io.ReadFull(d.r, make([]byte, 1))
	switch {
	case n > 0:
		return fmt.Errorf("%w: there is more than its head says", errEncoded)
	case err == io.EOF:
		return io.EOF
	}
	return damage(err)
}

// opener decrypts chunks.
type opener struct {
	r     *bufio.Reader
	aead  cipher.AEAD
	bound []byte
	size  uint64
	n     uint64
	in    []byte
	plain []byte // what was not read yet
	done  bool
}

func (o *opener) Read(b []byte) (int, error) {
	for len(o.plain) == 0 {
		if o.done {
			return 0, io.EOF
		}
		if err := o.open(); err != nil {
			return 0, err
		}
	}
	n := copy(b, o.plain)
	o.plain = o.plain[n:]
	return n, nil
}

// open decrypts the next chunk. It is the last one if nothing follows.
func (o *opener) open() error {
	if o.in == nil {
		o.in = make([]byte, chunkSize+tagSize)
	}
	n, err := io.ReadFull(o.r, o.in)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	bound := o.bound
	if err == nil {
		if _, err = o.r.Peek(1); err != nil && err != io.EOF {
			return err
		}
	}
	if o.done = err != nil; o.done {
		bound = binary.BigEndian.AppendUint64(bound, o.size)
	}
	o.plain, err = o.aead.Open(o.in[:0], nonce(o.n, o.done), o.in[:n], bound)
	o.n++
	if err != nil {
		return fmt.Errorf("%w, or is not what it is taken for: %w", errEncoded, err)
	}
	if len(o.plain) == 0 && o.n > 1 {
		return errEncoded
	}
	return nil
}

// decode gives a text that fits in memory.
func (c *codec) decode(owner string, text []byte, limit int) ([]byte, error) {
	d, err := c.decoder(bytes.NewReader(text), owner, int64(limit))
	if err != nil {
		return nil, err
	}
	defer d.close()
	out := make([]byte, 0, min(d.size, 64<<10))
	w := &appendWriter{b: out}
	if _, err := io.Copy(w, d); err != nil {
		return nil, err
	}
	return w.b, nil
}
