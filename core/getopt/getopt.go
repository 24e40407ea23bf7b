// Package getopt reads command line options as getopt(3) does: single letters that may be
// joined (-dv), values joined or apart (-ffile, -f file), "--" ends the options.
package getopt

import (
	"fmt"
	"strings"
)

// Option is one option that was given.
type Option struct {
	Letter byte
	Value  string
}

// Parse reads the options of args, which does not hold the program's name. letters names the
// options; a colon after a letter says that it takes a value. The rest are the operands.
func Parse(args []string, letters string) (opts []Option, rest []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		if len(arg) < 2 || arg[0] != '-' {
			break
		}
		args = args[1:]
		if arg == "--" {
			break
		}
		for i := 1; i < len(arg); i++ {
			at := strings.IndexByte(letters, arg[i])
			if at < 0 || arg[i] == ':' {
				return nil, nil, fmt.Errorf("unknown option -- %c", arg[i])
			}
			o := Option{Letter: arg[i]}
			if at+1 < len(letters) && letters[at+1] == ':' {
				o.Value = arg[i+1:]
				if o.Value == "" {
					if len(args) == 0 {
						return nil, nil, fmt.Errorf("option requires an argument -- %c", arg[i])
					}
					o.Value, args = args[0], args[1:]
				}
				i = len(arg)
			}
			opts = append(opts, o)
		}
	}
	return opts, args, nil
}
