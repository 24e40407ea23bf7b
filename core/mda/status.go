package mda

import (
	"errors"
	"io/fs"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/compat/mailbox"
	"github.com/godwit-mta/godwit/core/envelope"
)

// exitCodes are the subject and detail (https://www.rfc-editor.org/rfc/rfc3463#section-3) of
// the exit codes of sysexits.h from 64 on.
var exitCodes = [...]uint16{
	305, 600, 300, 101, 102, 300, 300, 300, 300, 200, 300, 300, 500, 700, 305,
}

// enhanced gives the enhanced status of an outcome: what a server or a command said, or
// what the exit code stands for.
func (o Outcome) enhanced() (class uint8, code uint16) {
	switch {
	case o.EscClass != 0:
		return o.EscClass, o.EscCode
	case o.Status == envelope.TempFail:
		class = 4
	case o.Status == envelope.PermFail:
		class = 5
	default:
		return 0, 0
	}
	if said, code, ok := statusWord(strings.TrimPrefix(o.Text, `"`)); ok && said == class {
		return said, code
	}
	if i := o.Exit - 64; i >= 0 && i < len(exitCodes) {
		return class, exitCodes[i]
	}
	return class, 0
}

// statusWord reads an enhanced status in front of what a command says, possibly after the
// code of a reply.
func statusWord(s string) (class uint8, code uint16, ok bool) {
	word, rest, _ := strings.Cut(s, " ")
	if n, err := strconv.Atoi(word); err == nil && len(word) == 3 && n >= 400 && n < 600 {
		word, _, _ = strings.Cut(rest, " ")
	}
	parts := strings.Split(strings.TrimRight(word, ":"), ".")
	if len(parts) != 3 || parts[0] != "4" && parts[0] != "5" {
		return 0, 0, false
	}
	for _, p := range parts[1:] {
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil || n > 99 {
			return 0, 0, false
		}
		code = code*100 + uint16(n)
	}
	return parts[0][0] - '0', code, true
}

// errorCode gives the subject and detail of an error of this host.
func errorCode(err error) uint16 {
	switch {
	case mailbox.OverQuota(err):
		return 202 // mailbox full
	case mailbox.NoSpace(err):
		return 301 // mail system full
	case errors.Is(err, mailbox.ErrUnsafe), errors.Is(err, mailbox.ErrOwner), errors.Is(err, fs.ErrPermission):
		return 305 // system incorrectly configured
	}
	return 300
}
