// Package twofile keeps a text in two files that are written in turn: while one is being
// written the other one is whole. It is for processes that may write files which they were
// given, but can neither make nor rename any.
//
// Each file is a line with a word, which says what it is for, a number, which says which file is
// newer, and the digest of the rest; and then the text.
package twofile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// File is one of the two.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// Pair is the two files. It is used by one goroutine at a time.
type Pair struct {
	word  string
	files [2]File
	last  uint64
}

// New gives a pair; the word must have no space.
func New(word string, a, b File) *Pair { return &Pair{word: word, files: [2]File{a, b}} }

var errDamaged = errors.New("file is damaged")

// Load gives the text of the newer file that is whole, nil when there is none. Then the error
// says what is wrong with one of them; that one was not written to its end is none. No more than
// most octets are read of a file.
func (p *Pair) Load(most int64) ([]byte, error) {
	var newest []byte
	var failed error
	for _, f := range p.files {
		n, body, err := p.read(f, most)
		switch {
		case err != nil:
			failed = err
		case n > p.last:
			p.last, newest = n, body
		}
	}
	if newest != nil {
		return newest, nil
	}
	return nil, failed
}

func (p *Pair) read(f File, most int64) (number uint64, body []byte, err error) {
	all, err := io.ReadAll(io.NewSectionReader(f, 0, most))
	if err != nil || len(all) == 0 {
		return 0, nil, err
	}
	head, body, _ := bytes.Cut(all, []byte("\n"))
	fields := strings.Fields(string(head))
	if len(fields) != 3 || fields[0] != p.word {
		return 0, nil, errDamaged
	}
	number, err = strconv.ParseUint(fields[1], 10, 64)
	if err != nil || fields[2] != fmt.Sprintf("%x", sha256.Sum256(body)) {
		return 0, nil, errDamaged
	}
	return number, body, nil
}

// Save writes a text in place of the older file. It is durable when it returns without an error.
func (p *Pair) Save(body []byte) error {
	n := p.last + 1
	f := p.files[n%2]
	all := append(fmt.Appendf(nil, "%s %d %x\n", p.word, n, sha256.Sum256(body)), body...)
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt(all, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	p.last = n
	return nil
}

// Close closes the files.
func (p *Pair) Close() {
	for _, f := range p.files {
		_ = f.Close()
	}
}
