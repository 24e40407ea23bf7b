package queue

import (
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Compression is a method of compression.
type Compression uint8

// The methods.
const (
	NoCompression Compression = iota
	Gzip
	Zstd
)

// KeySize is the length of a key of the queue, in octets.
const KeySize = 32

// Encoding says how texts are written from now on, and what can be read. A text says
// itself how it is encoded, so all of it may be changed while mail is queued.
type Encoding struct {
	Compression Compression
	Encrypt     bool     // with the first key
	Keys        [][]byte // of KeySize octets; each of them decrypts
}

// KeyError is a text whose key is not there. It can be read again when the key is.
type KeyError struct{ Key string } // the name of the key, see KeyName

func (e *KeyError) Error() string {
	return "it is encrypted with key " + e.Key + ", which is not among those of the configuration"
}

var errEncoded = errors.New("encoded text is damaged")

// codec carries an Encoding out. Its zero value reads what is only compressed.
//
// An encoded text is a head of headSize octets
//
//	0   magic
//	4   Compression
//	5   1: encrypted
//	8   octets of the plain text, big endian
//	16  name of the key
//	24  salt
//
// and the compressed text. An encrypted one is cut into chunks of chunkSize octets, the last of
// which may be shorter, each followed by the tag of AES-256-GCM. The key of the text is derived
// from the key and the salt, so that no nonce is used twice; the nonce is the chunk's number and
// whether it is the last. The head without the size, and what the text belongs to, are additional
// data of every chunk; the size is that of the last.
type codec struct {
	compression Compression
	first       *queueKey
	keys        map[[keyNameSize]byte]*queueKey
	gzips       sync.Pool // of *gzip.Writer
	zstds       sync.Pool // of *zstd.Encoder
}

const (
	magic       = "\x02GQ1" // no envelope of plain text begins with an octet like the first
	keyNameSize = 8
	saltSize    = 16
	headSize    = 24 + saltSize
	chunkSize   = 64 << 10
	tagSize     = 16
)

// maxGrowth is more than encoding adds to an envelope, in octets.
const maxGrowth = 1024

type queueKey struct {
	name   [keyNameSize]byte
	secret []byte
}

func newKey(secret []byte) (*queueKey, error) {
	if len(secret) != KeySize {
		return nil, fmt.Errorf("a key of the queue has %d octets, not %d", KeySize, len(secret))
	}
	name, err := hkdf.Key(sha256.New, secret, nil, "godwit queue: name of the key", keyNameSize)
	if err != nil {
		return nil, err
	}
	return &queueKey{name: [keyNameSize]byte(name), secret: secret}, nil
}

// KeyName gives the name by which a key is told from others. It says nothing of the key.
func KeyName(secret []byte) (string, error) {
	k, err := newKey(secret)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(k.name[:]), nil
}

func newCodec(e Encoding) (*codec, error) {
	c := &codec{compression: e.Compression, keys: make(map[[keyNameSize]byte]*queueKey)}
	for _, secret := range e.Keys {
		k, err := newKey(secret)
		if err != nil {
			return nil, err
		}
		if c.first == nil && e.Encrypt {
			c.first = k
		}
		c.keys[k.name] = k
	}
	if e.Encrypt && c.first == nil {
		return nil, errors.New("there is no key to encrypt the queue with")
	}
	if e.Compression > Zstd {
		return nil, fmt.Errorf("there is no compression %d", e.Compression)
	}
	return c, nil
}

// encodes reports whether texts are written in another form than they have.
func (c *codec) encodes() bool { return c.compression != NoCompression || c.first != nil }

// aead gives the cipher of one text.
func (k *queueKey) aead(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, k.secret, salt, "godwit queue: text", KeySize)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// head begins an encoded text.
func (c *codec) head() (head []byte, aead cipher.AEAD, err error) {
	head = make([]byte, headSize)
	copy(head, magic)
	head[4] = byte(c.compression)
	if c.first == nil {
		return head, nil, nil
	}
	head[5] = 1
	copy(head[16:], c.first.name[:])
	rand.Read(head[24:])
	aead, err = c.first.aead(head[24:])
	return head, aead, err
}

// bound gives what a chunk is bound to: its head, without the size, and its owner.
func bound(head []byte, owner string) []byte {
	b := append([]byte(nil), head[:8]...)
	b = append(b, head[16:]...)
	return append(b, owner...)
}

func putSize(head []byte, size int64) { binary.BigEndian.PutUint64(head[8:], uint64(size)) }

// nonce gives that of a chunk.
func nonce(n uint64, last bool) []byte {
	b := make([]byte, 12)
	binary.BigEndian.PutUint64(b, n)
	if last {
		b[11] = 1
	}
	return b
}

// compressor gives what compresses into w, and a function that takes it back after its Close.
func (c *codec) compressor(w io.Writer) (io.WriteCloser, func(), error) {
	switch c.compression {
	case Gzip:
		z, _ := c.gzips.Get().(*gzip.Writer)
		if z == nil {
			z, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is one
		}
		z.Reset(w)
		return z, func() { c.gzips.Put(z) }, nil
	case Zstd:
		z, _ := c.zstds.Get().(*zstd.Encoder)
		if z == nil {
			var err error
			z, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
			if err != nil {
				return nil, nil, err
			}
		}
		z.Reset(w)
		return z, func() { z.Reset(nil); c.zstds.Put(z) }, nil
	}
	return nopCloser{w}, func() {}, nil
}

// zstdWindow is how far back zstd looks, in octets. It bounds the memory of both sides.
const zstdWindow = 1 << 20

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
