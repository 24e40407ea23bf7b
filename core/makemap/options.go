package makemap

import (
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/core/getopt"
)

const letters = "d:ho:t:U"

// Usage is printed with errors of the command line.
const Usage = "makemap [-U] [-d hash | btree | cdb] [-o dbfile] [-t aliases | set] file"

// Options are those of makemap(8).
type Options struct {
	Source, Output string
	Type           Type
	Dump, Help     bool
}

// ParseOptions reads the command line: that of OpenSMTPD, with one operand, or that of
// Sendmail, with a type and the name of the map, whose source is standard input.
func ParseOptions(args []string) (*Options, error) {
	opts, rest, err := getopt.Parse(args, letters)
	if err != nil {
		return nil, err
	}
	o := &Options{}
	for _, opt := range opts {
		if err := o.set(opt); err != nil {
			return nil, err
		}
	}
	switch {
	case o.Help:
		return o, nil
	case len(rest) == 2 && o.Output == "":
		if err := checkFormat(rest[0]); err != nil {
			return nil, err
		}
		if o.Source, o.Output = Stdin, addSuffix(rest[1]); o.Dump {
			o.Source = o.Output
		}
	case len(rest) == 1:
		if o.Source = rest[0]; o.Output == "" && o.Source != Stdin {
			o.Output = o.Source + ".db"
		}
	default:
		return nil, fmt.Errorf("usage: %s", Usage)
	}
	if o.Output == "" && !o.Dump {
		return nil, fmt.Errorf("standard input has no name: say with -o what to write")
	}
	return o, nil
}

func (o *Options) set(opt getopt.Option) error {
	switch opt.Letter {
	case 'd':
		return checkFormat(opt.Value)
	case 'h':
		o.Help = true
	case 'o':
		o.Output = opt.Value
	case 't':
		switch opt.Value {
		case "aliases":
			o.Type = Aliases
		case "set":
			o.Type = Set
		default:
			return fmt.Errorf("unsupported type %q: aliases or set", opt.Value)
		}
	case 'U':
		o.Dump = true
	}
	return nil
}

// checkFormat takes the names of formats that there were. All get the same one.
func checkFormat(name string) error {
	switch name {
	case "hash", "btree", "dbm", "cdb":
		return nil
	}
	return fmt.Errorf("unsupported format %q: hash, btree or cdb", name)
}

func addSuffix(name string) string {
	if strings.HasSuffix(name, ".db") {
		return name
	}
	return name + ".db"
}
