package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/godwit-mta/godwit/core/bdb"
	"github.com/godwit-mta/godwit/core/cdb"
	"github.com/godwit-mta/godwit/core/config"
)

// smallDB is the size up to which a database is kept in memory, in octets.
const smallDB = 1 << 20

// setValue stands for no value in the lists that OpenSMTPD's makemap writes.
const setValue = "<set>"

// openDB opens a database: a constant one, as makemap(8) writes it, or one of Berkeley DB,
// which other programs have written. It keeps the file unless there is an error.
func openDB(f *os.File, path, delim string) (*contents, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var s store
	if head := make([]byte, bdb.HeadSize); readHead(f, head) && bdb.Is(head) {
		s, err = loadBerkeley(f, fi.Size(), path)
	} else {
		s, err = openConstant(f, fi.Size(), path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; make it again from its source with makemap(8)", path, err)
	}
	c := &contents{store: s, source: path, kind: config.MapKind, delim: delim}
	ref, _, some, err := c.next(0)
	if err == nil && some {
		var value string
		if _, value, err = c.at(ref); value == "" {
			c.kind = config.ListKind
		}
	}
	return c, err
}

func readHead(f io.ReaderAt, b []byte) bool {
	_, err := f.ReadAt(b, 0)
	return err == nil
}

// constant is a constant database. A large one stays in its file, which is closed when the
// last one that reads it has let go of it, as the runtime sees to.
type constant struct {
	*cdb.Reader
	path string
	nul  bool // keys end in a NUL
}

func openConstant(f *os.File, size int64, path string) (*constant, error) {
	var file io.ReaderAt = f
	if size <= smallDB {
		data := make([]byte, size)
		if _, err := f.ReadAt(data, 0); err != nil && err != io.EOF {
			return nil, err
		}
		file = bytes.NewReader(data)
		defer f.Close()
	}
	r, err := cdb.NewReader(file, size)
	if err != nil {
		return nil, err
	}
	d := &constant{Reader: r, path: path}
	ref, _, found, err := r.Next(0)
	if err == nil && found {
		var key []byte
		key, _, err = r.At(ref)
		d.nul = bytes.HasSuffix(key, []byte{0})
	}
	return d, err
}

func (d *constant) find(key []byte) (uint32, bool, error) {
	if d.nul {
		key = append(key[:len(key):len(key)], 0)
	}
	return d.Find(key)
}

func (d *constant) at(ref uint32) (key, value string, err error) {
	k, v, err := d.At(ref)
	if err == nil && (len(k) > MaxKey+1 || len(v) > MaxLine) {
		err = errors.New("entry is too long")
	}
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", d.path, err)
	}
	return dbText(k), dbValue(v), nil
}

func (d *constant) next(place uint32) (ref, after uint32, found bool, err error) {
	if ref, after, found, err = d.Next(place); err != nil {
		err = fmt.Errorf("%s: %w", d.path, err)
	}
	return ref, after, found, err
}

func (d *constant) where(uint32) string { return d.path }

// dbText drops the NUL that programs written in C may leave at the end.
func dbText(b []byte) string { return string(bytes.TrimSuffix(b, []byte{0})) }

func dbValue(b []byte) string {
	if s := dbText(b); s != setValue {
		return s
	}
	return ""
}

// loadBerkeley reads all of a file of Berkeley DB into memory. Of equal keys the first one
// counts.
func loadBerkeley(f *os.File, size int64, path string) (*textStore, error) {
	defer f.Close()
	if size > MaxFile {
		return nil, fmt.Errorf("larger than %d octets", MaxFile)
	}
	l := &textStore{source: path, inline: true}
	var text strings.Builder
	err := bdb.Read(f, size, func(k, v []byte) error {
		key, value := dbText(k), dbValue(v)
		switch {
		case len(key) > MaxKey || len(value) > MaxLine || text.Len() > MaxFile:
			return errors.New("entry is too long")
		case key == "@" && value == "@": // Sendmail's and Postfix's sign that a file is complete
			return nil
		}
		l.add(&text, key, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.text = text.String()
	slices.Reverse(l.items) // so that the last one is the first
	l.index(nil)
	return l, nil
}
