// Package format expands the format specifiers of smtpd.conf(5), such as
// %{user.directory}: with them the paths and commands of actions name users and
// addresses. Addresses were chosen by strangers: no value leaves its part of a path and
// none becomes text of a shell.
package format

import (
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
)

// Limits of format specifiers, in octets.
const (
	maxSpecifier = 128  // what stands between the braces
	maxPath      = 1024 // a path after expansion
	maxCommand   = 8192 // a command after expansion
)

// Vars are the values of the format specifiers. What comes from envelopes was chosen by
// strangers; Directory comes from the administrator.
type Vars struct {
	Sender, Rcpt, Dest address.Address
	User               string // user.username
	Directory          string // user.directory
	Delim              string // of sub-addresses, for strip
}

// Error is what is wrong with a specifier.
type Error struct {
	Offset    int    // of the specifier in the pattern, in octets
	Specifier string // as it stands there
	Problem   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("format specifier %q: %s", e.Specifier, e.Problem)
}

// Check reports what Path or Command would not understand, as an *Error.
func Check(pattern string) error {
	return scan(pattern, func(_ string, s *specifier) error { return s.outside() })
}

// CheckWrapper is Check for the command of a wrapper, where %{mda} may stand.
func CheckWrapper(pattern string) error {
	return scan(pattern, func(_ string, s *specifier) error {
		if s.mda() {
			return nil
		}
		return s.outside()
	})
}

// Path expands the specifiers of a path, such as that of a maildir action:
// %{user.directory}/%{dest.domain:lowercase}. A leading ~/ is the home directory, %% is
// a per cent sign. After the name may follow, in any order and number, parts [n], [a:],
// [:b] and [a:b], counted in octets from 0, b included, negative from the end and then b
// excluded; and modifiers :lowercase, :uppercase, :strip (drops the detail of a
// sub-address) and :raw, joined by a vertical bar or colons.
//
// Values from envelopes are reduced to letters, digits and ^+-=_.@,:[] with a colon for
// everything else; raw keeps the other printable characters, but no value ever has a
// slash or begins with a dot, so it is one part of the path or less. The result is not
// for a shell: Command is for that.
func Path(pattern string, v Vars) (string, error) {
	if strings.HasPrefix(pattern, "~/") {
		pattern = "%{user.directory}" + pattern[1:]
	}
	var b strings.Builder
	err := scan(pattern, func(text string, s *specifier) error {
		if err := s.outside(); err != nil {
			return err
		}
		if s == nil {
			b.WriteString(text)
		} else {
			b.WriteString(s.path(v))
		}
		if b.Len() > maxPath {
			return fmt.Errorf("longer than %d octets after expansion", maxPath)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return b.String(), nil
}
