package table

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/config"
)

// Limits of a table file, in octets.
const (
	MaxFile = 256 << 20
	MaxLine = 64 << 10
)

// file is a table whose contents are read from a file into memory.
type file struct {
	*static
	path     string
	delim    string
	readFile func(path string) ([]byte, error)
}

func openFile(path, delim string, readFile func(string) ([]byte, error)) (*file, error) {
	f := &file{static: &static{}, path: path, delim: delim, readFile: readFile}
	return f, f.replace(f.load)
}

func (f *file) load() (*contents, error) {
	data, err := f.readFile(f.path)
	if err != nil {
		return nil, err
	}
	kind, entries, err := parseFile(f.path, string(data))
	if err != nil {
		return nil, err
	}
	return newContents(f.path, kind, entries, f.delim), nil
}

// Reload reads the file again.
func (f *file) Reload(context.Context) error { return f.replace(f.load) }

// ReadFile reads a regular file of at most most octets.
func ReadFile(path string, most int64) ([]byte, error) { return readOpened(owner.Open, path, most) }

func readOpened(open func(string) (*os.File, error), path string, most int64) ([]byte, error) {
	fd, err := open(path)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	data, err := io.ReadAll(io.LimitReader(fd, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: larger than %d octets", path, most)
	}
	return data, err
}

// parseFile reads the format of table(5). The first line that is not a comment decides:
// a key alone makes a list, a key and a value a mapping. A comment "@list" before it
// makes a list of lines in which blanks and colons are ordinary characters.
func parseFile(name, data string) (kind config.TableKind, entries []entry, err error) {
	number := int32(0)
	for line := range strings.SplitSeq(data, "\n") {
		number++
		line = strings.Trim(line, " \t\r")
		switch {
		case line == "":
			continue
		case line[0] == '#':
			if kind == config.UnknownKind && strings.TrimLeft(line[1:], " \t") == "@list" {
				kind = config.ListKind
			}
			continue
		}
		e := entry{line: number}
		if kind, err = e.parse(line, kind); err != nil {
			return 0, nil, fmt.Errorf("%s:%d: %w", name, number, err)
		}
		entries = append(entries, e)
	}
	if kind == config.UnknownKind {
		kind = config.MapKind
	}
	return kind, entries, nil
}

func (e *entry) parse(line string, kind config.TableKind) (config.TableKind, error) {
	if len(line) > MaxLine {
		return 0, fmt.Errorf("line longer than %d octets", MaxLine)
	}
	if strings.IndexFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) >= 0 {
		return 0, fmt.Errorf("control character in line")
	}
	if kind == config.ListKind {
		e.key = line
	} else {
		e.key, e.value = cutEntry(line)
	}
	switch {
	case e.key == "":
		return 0, fmt.Errorf("invalid entry without a key")
	case len(e.key) > MaxKey:
		return 0, fmt.Errorf("key longer than %d octets", MaxKey)
	case kind == config.UnknownKind && e.value == "" && e.key == line:
		return config.ListKind, nil
	case kind != config.ListKind && e.value == "":
		return 0, fmt.Errorf("invalid map entry")
	case kind == config.UnknownKind:
		return config.MapKind, nil
	}
	return kind, nil
}

// cutEntry splits at the first blank or colon that is not inside leading brackets, which
// hold an IPv6 address, or of a URL. "key : value" is taken for what it is meant to be; "key
// :include:/path" keeps its colons.
func cutEntry(line string) (key, value string) {
	start := 0
	if line[0] == '[' {
		start = max(strings.IndexByte(line, ']'), 0)
	} else if i := strings.IndexAny(line, " \t:"); i > 0 && strings.HasPrefix(line[i:], "://") {
		if start = strings.IndexAny(line, " \t"); start < 0 {
			return line, ""
		}
	}
	i := strings.IndexAny(line[start:], " \t:")
	if i < 0 {
		return line, ""
	}
	i += start
	value = strings.TrimLeft(line[i+1:], " \t")
	if line[i] != ':' && len(value) > 1 && value[0] == ':' && (value[1] == ' ' || value[1] == '\t') {
		value = strings.TrimLeft(value[1:], " \t")
	}
	return line[:i], value
}
