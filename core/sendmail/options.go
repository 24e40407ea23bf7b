package sendmail

import (
	"fmt"
	"slices"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// Mode is what the program is asked to do.
type Mode uint8

// The modes.
const (
	Submit     Mode = iota // -bm, and when nothing is said
	ListQueue              // -bp: mailq
	NewAliases             // -bi
)

// Options is a command line.
type Options struct {
	Mode       Mode
	HasSender  bool // -f or -r was given
	Sender     address.Address
	Name       string // -F: full name of the sender
	Scan       bool   // -t: recipients stand in the header
	Verbose    bool   // -v
	Notify     string // NOTIFY of each recipient, or empty
	Ret        string // FULL, HDRS or empty
	EnvID      string // ENVID as xtext, or empty
	Recipients []address.Address
}

// Usage is the text for a wrong command line.
const Usage = "usage: sendmail [-itv] [-f from] [-F name] [-N notify] [-R ret] [-V envid] to ..."

// letters names the options as getopt(3) does; two colons mark a value that is joined or absent.
const letters = "A:B:b:C:d::E::e:F:f:Gh:iJ::L:mN:nO:o:p:q::R:r:StUvV:X:x"

// ParseOptions reads the arguments after the name of the program. Its errors are *Error.
func ParseOptions(args []string) (*Options, error) {
	for _, arg := range args {
		if strings.ContainsFunc(arg, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fail(ExitUsage, "control character in argument %q", arg)
		}
	}
	o := new(Options)
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0][1:]
		args = args[1:]
		if word == "-" {
			break
		}
		for word != "" {
			letter, value := word[0], ""
			var err error
			if value, word, args, err = cutValue(letter, word[1:], args); err != nil {
				return nil, err
			}
			if err := o.set(letter, value); err != nil {
				return nil, err
			}
		}
	}
	for _, arg := range args {
		list, err := ParseRecipients(arg)
		if err != nil {
			return nil, fail(ExitUsage, "%v", err)
		}
		o.Recipients = append(o.Recipients, list...)
	}
	return o, nil
}

// cutValue gives the value of an option and what follows it.
func cutValue(letter byte, word string, args []string) (value, restWord string, rest []string, err error) {
	i := strings.IndexByte(letters, letter)
	switch {
	case letter == ':' || i < 0:
		return "", "", nil, fail(ExitUsage, "unknown option -%c\n%s", letter, Usage)
	case strings.HasPrefix(letters[i+1:], "::"):
		return word, "", args, nil
	case !strings.HasPrefix(letters[i+1:], ":"):
		return "", word, args, nil
	case word != "":
		return word, "", args, nil
	case len(args) == 0:
		return "", "", nil, fail(ExitUsage, "option -%c needs a value\n%s", letter, Usage)
	}
	return args[0], "", args[1:], nil
}

// set carries an option out. Those that mean nothing here are ignored, as every
// replacement of sendmail has done.
func (o *Options) set(letter byte, value string) (err error) {
	switch letter {
	case 'b':
		err = o.setMode(value)
	case 'F':
		o.Name = value
	case 'f', 'r':
		o.HasSender = true
		o.Sender, err = parseSender(value)
	case 'N':
		o.Notify, err = parseNotify(value)
	case 'q':
		err = fail(ExitSoftware, "-q is not supported: the server runs the queue by itself")
	case 'R':
		switch o.Ret = strings.ToUpper(value); o.Ret {
		case "FULL", "HDRS":
		default:
			err = fail(ExitUsage, "-R takes full or hdrs, not %q", value)
		}
	case 't':
		o.Scan = true
	case 'V':
		o.EnvID, err = xtext(value)
	case 'v':
		o.Verbose = true
	}
	return err
}

func (o *Options) setMode(value string) error {
	switch value {
	case "m":
		o.Mode = Submit
	case "p":
		o.Mode = ListQueue
	case "i":
		o.Mode = NewAliases
	default:
		return fail(ExitUsage, "-b%s is not supported", value)
	}
	return nil
}

func parseSender(value string) (address.Address, error) {
	if value == "" || value == "<>" {
		return address.Address{}, nil
	}
	list, err := ParseRecipients(value)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%q is not one address", value)
	}
	if err != nil {
		return address.Address{}, fail(ExitUsage, "sender: %v", err)
	}
	return list[0], nil
}

// parseNotify checks a NOTIFY value, RFC 3461 section 4.1.
func parseNotify(value string) (string, error) {
	value = strings.ToUpper(value)
	words := strings.Split(value, ",")
	for i, word := range words {
		if slices.Contains(words[:i], word) {
			return "", fail(ExitUsage, "-N names something twice")
		}
		switch word {
		case "SUCCESS", "FAILURE", "DELAY":
		case "NEVER":
			if len(words) > 1 {
				return "", fail(ExitUsage, "-N never stands alone")
			}
		default:
			return "", fail(ExitUsage, "-N takes success, failure, delay or never, not %q", word)
		}
	}
	return value, nil
}

// maxEnvID is the limit of RFC 3461 section 5.4 for ENVID, in octets.
const maxEnvID = 100

// xtext encodes an envelope identifier, RFC 3461 section 4. It is printable ASCII.
func xtext(value string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] > '~' {
			return "", fail(ExitUsage, "-V takes ASCII only, not %q", value)
		}
		if c := value[i]; c < '!' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	if b.Len() > maxEnvID {
		return "", fail(ExitUsage, "-V is too long")
	}
	return b.String(), nil
}
