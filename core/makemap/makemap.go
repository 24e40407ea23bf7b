// Package makemap makes a database of the file of a table: makemap(8).
package makemap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/cdb"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/expand"
	"github.com/godwit-mta/godwit/core/table"
)

// Type says what the values of a map are.
type Type uint8

// The types of maps.
const (
	Any     Type = iota // what the file decides for
	Aliases             // lists of destinations, which are checked
	Set                 // keys without values
)

// Stdin is the name of standard input.
const Stdin = "-"

// Make writes a database and gives the number of its entries. Output appears when it is
// complete and on stable storage; on an error the old one stays. It keeps the owner and the
// permissions of the old one, or gets those of the source.
func Make(source, output string, t Type, stdin *os.File) (n int, err error) {
	text, like, err := read(source, stdin)
	if err != nil {
		return 0, err
	}
	if old, err := os.Stat(output); err == nil {
		like = old
	}
	err = replace(output, like, func(f io.WriteSeeker) error {
		n, err = write(f, source, text, t)
		return err
	})
	return n, err
}

// Check reads a source without making anything of it.
func Check(source string, t Type) (n int, err error) {
	text, _, err := read(source, nil)
	if err != nil {
		return 0, err
	}
	return each(source, text, t, func(_, _ []byte) error { return nil })
}

// read gives the text of a source, and what tells to whom it belongs.
func read(source string, stdin *os.File) (string, fs.FileInfo, error) {
	f := stdin
	if source != Stdin {
		var err error
		if f, err = owner.Open(source); err != nil {
			return "", nil, err
		}
		defer f.Close()
	}
	fi, err := f.Stat()
	if err != nil {
		return "", nil, err
	}
	if !fi.Mode().IsRegular() {
		fi = nil
	}
	var text strings.Builder
	n, err := io.Copy(&text, io.LimitReader(f, table.MaxFile+1))
	if err == nil && n > table.MaxFile {
		err = fmt.Errorf("%s: larger than %d octets", source, table.MaxFile)
	}
	return text.String(), fi, err
}

func write(f io.WriteSeeker, source, text string, t Type) (int, error) {
	w, err := cdb.NewWriter(f)
	if err != nil {
		return 0, err
	}
	n, err := each(source, text, t, w.Add)
	if err != nil {
		return 0, err
	}
	return n, w.Close()
}

// each calls add for the entries of a text, as they are in a database.
func each(source, text string, t Type, add func(key, value []byte) error) (n int, err error) {
	kind := config.UnknownKind
	switch t {
	case Aliases:
		kind = config.MapKind
	case Set:
		kind = config.ListKind
	}
	_, err = table.ReadEntries(source, text, kind, func(key, value string) error {
		if t == Aliases {
			if err := expand.CheckList(value); err != nil {
				return err
			}
		}
		n++
		return add([]byte(table.FoldKey(key)), []byte(value))
	})
	return n, err
}

// Dump prints the entries of a database, one a line, key and value separated by a tab.
func Dump(path string, out io.Writer) error {
	f, err := owner.Open(path)
	if err != nil {
		return err
	}
	return table.ReadDB(f, path, func(key, value string) error {
		if value != "" {
			key += "\t" + value
		}
		_, err := io.WriteString(out, key+"\n")
		return err
	})
}

// Source gives the file that a database is made of: its name without ".db".
func Source(db string) (string, error) {
	source, ok := strings.CutSuffix(db, ".db")
	if !ok || source == "" {
		return "", errors.New(db + ": its name does not end in .db, so nobody knows what it is made of")
	}
	return source, nil
}
