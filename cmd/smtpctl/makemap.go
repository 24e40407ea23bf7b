package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/getopt"
	"github.com/godwit-mta/godwit/core/makemap"
	"github.com/godwit-mta/godwit/platform"
)

// makeMap is makemap(8).
func makeMap(args []string) int {
	o, err := makemap.ParseOptions(args)
	if err == nil && o.Help {
		fmt.Printf("usage: %s\n", makemap.Usage)
		return 0
	}
	n := 0
	if err == nil {
		if o.Dump {
			err = makemap.Dump(o.Source, os.Stdout)
		} else {
			n, err = makemap.Make(o.Source, o.Output, o.Type, os.Stdin)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "makemap: %v\n", err)
		return 1
	}
	if n == 0 && !o.Dump {
		fmt.Fprintf(os.Stderr, "makemap: warning: %s is empty\n", o.Output)
	}
	return 0
}

// newAliases is newaliases(8).
func newAliases(args []string) int {
	file := platform.Current().ConfigFile
	opts, rest, err := getopt.Parse(args, "f:h")
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%s: there are no operands", rest[0])
	}
	for _, o := range opts {
		if o.Letter == 'h' {
			fmt.Println("usage: newaliases [-f file]")
			return 0
		}
		file = o.Value
	}
	if err == nil {
		err = rebuildAliases(file)
	}
	if err == nil {
		err = updateAliases()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "newaliases: %v\n", err)
		return 1
	}
	return 0
}

const aliasesTable = "aliases"

// rebuildAliases makes the database of the table of aliases again. A file of aliases is
// checked.
func rebuildAliases(file string) error {
	cfg, _, err := config.Load(file, nil, environment())
	if err != nil {
		return err
	}
	for _, t := range cfg.Tables {
		if t.Name != aliasesTable {
			continue
		}
		n, source := 0, t.Path
		switch t.Backend {
		case "file":
			n, err = makemap.Check(source, makemap.Aliases)
		case "db":
			if source, err = makemap.Source(t.Path); err == nil {
				n, err = makemap.Make(source, t.Path, makemap.Aliases, nil)
			}
		default:
			return nil
		}
		if err == nil {
			fmt.Printf("%s: %d aliases\n", source, n)
		}
		return err
	}
	return fmt.Errorf("%s has no table %q", file, aliasesTable)
}

// updateAliases has the server read the table again. One that does not run reads it when it
// starts.
func updateAliases() error {
	c, err := dial(socketPath())
	switch {
	case errors.Is(err, fs.ErrPermission):
		return err
	case err != nil:
		fmt.Fprintf(os.Stderr, "newaliases: %v; it reads its tables when it starts\n", err)
		return nil
	}
	defer c.close()
	return c.carryOut(&control.Request{Op: control.UpdateTable, Name: aliasesTable}, os.Stdout)
}
