package opensmtpd

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
)

// form is how a file is encoded. Only envelopes show it, by their first octet. The message is a
// stranger's and may begin with anything; it has the form of its envelopes, for OpenSMTPD cannot read
// a queue in which they differ.
type form struct{ sealed, zipped bool }

// An encrypted file is versionByte, an initialization vector, the ciphertext and the tag of
// AES-256-GCM.
const (
	versionByte = 1
	ivSize      = 12
	tagSize     = 16
	gzipByte    = 0x1f // the first one of gzip (RFC 1952 section 2.3.1)
)

// maxSealed is the largest encrypted file that is read, in octets: OpenSMTPD seals all of it at once, and
// it has to be in memory until the tag is known to be good.
const maxSealed = 256 << 20

var (
	errNoKey  = errors.New("it is encrypted, and no key was given")
	errSealed = errors.New("it is encrypted with another key, or damaged")
	errLarge  = errors.New("it is encrypted and too large to be read into memory")
)

// unseal gives what is in a file, decrypted if it has to be.
func (s *Spool) unseal(f io.ReaderAt, size int64, sealed bool) (*bufio.Reader, error) {
	if !sealed {
		return bufio.NewReader(io.NewSectionReader(f, 0, size)), nil
	}
	text, err := s.decrypt(f, size)
	return bufio.NewReader(bytes.NewReader(text)), err
}

// own gives the text of an envelope and its form.
func (s *Spool) own(f io.ReaderAt, size int64) (io.Reader, form, error) {
	var first [1]byte
	if _, err := f.ReadAt(first[:], 0); err != nil && err != io.EOF {
		return nil, form{}, err
	}
	how := form{sealed: first[0] == versionByte}
	r, err := s.unseal(f, size, how.sealed)
	if err != nil {
		return nil, how, err
	}
	if head, _ := r.Peek(1); len(head) == 1 && head[0] == gzipByte {
		how.zipped = true
		z, err := gzip.NewReader(r)
		return z, how, err
	}
	return r, how, nil
}

// mail gives the text of a message.
func (s *Spool) mail(f io.ReaderAt, size int64, how form) (io.Reader, error) {
	r, err := s.unseal(f, size, how.sealed)
	if err != nil || !how.zipped {
		return r, err
	}
	return gzip.NewReader(r)
}

// decrypt decrypts a file of version 1.
func (s *Spool) decrypt(f io.ReaderAt, size int64) ([]byte, error) {
	switch {
	case s.key == nil:
		return nil, errNoKey
	case size > maxSealed:
		return nil, errLarge
	case size < 1+ivSize+tagSize:
		return nil, errSealed
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	block, err := aes.NewCipher(s.key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	text, err := aead.Open(b[1+ivSize:1+ivSize], b[1:1+ivSize], b[1+ivSize:], nil)
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}
