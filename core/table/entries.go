package table

import (
	"fmt"
	"os"

	"github.com/godwit-mta/godwit/core/config"
)

// ReadEntries reads a text in the format of table(5) and calls each for its entries, in
// order. Kind is what the text has to be, or UnknownKind for what it decides for. Two entries
// with one key are an error. Errors, those of each too, begin with file and line.
func ReadEntries(source, text string, kind config.TableKind, each func(key, value string) error) (config.TableKind, error) {
	kind, items, err := parse(source, text, kind)
	if err != nil {
		return 0, err
	}
	m := &textStore{source: source, text: text, items: items}
	m.index(func(ref, before uint32) {
		if key := FoldKey(m.key(ref)); err == nil && key == FoldKey(m.key(before)) {
			err = fmt.Errorf("%s: duplicate entry for %s, which is in %s too", m.where(ref), key, m.where(before))
		}
	})
	for i := range items {
		if err != nil {
			return 0, err
		}
		key, value, _ := m.at(uint32(i))
		if err = each(key, value); err != nil {
			err = fmt.Errorf("%s: %w", m.where(uint32(i)), err)
		}
	}
	return kind, err
}

// FoldKey gives the form in which a key is kept in a database: in lower case. A letter after
// a backslash stays as it is, because it may be of a regular expression, \S.
func FoldKey(key string) string {
	b := []byte(key)
	for i := range b {
		if i == 0 || b[i-1] != '\\' {
			b[i] = lowerByte(b[i])
		}
	}
	return string(b)
}

// ReadDB calls each for the entries of a database that a table can be made of. It closes
// the file.
func ReadDB(f *os.File, path string, each func(key, value string) error) error {
	defer f.Close()
	c, err := openDB(f, path, "")
	if err != nil {
		return err
	}
	return c.each(func(_ uint32, key, value string) error { return each(key, value) })
}
