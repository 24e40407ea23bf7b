package config

import (
	"errors"
	"strings"

	"github.com/godwit-mta/godwit/core/format"
)

const howSpecified = "write one of FORMAT SPECIFIERS in smtpd.conf(5), or %% for a plain %"

// specifiers reports a wrong format specifier in a word.
func (c *checker) specifiers(w word, err error) {
	var wrong *format.Error
	switch {
	case errors.As(err, &wrong):
		c.errorf(c.inside(w, wrong.Offset, len(wrong.Specifier)), "%s: %s", err, howSpecified)
	case err != nil:
		c.errorf(w.pos, "%s: %s", err, howSpecified)
	}
}

// inside gives the place of a part of a word. That is the place of the word unless the word
// stands in the file as it is: backslashes, macros and continued lines move what follows.
func (c *checker) inside(w word, offset, length int) Pos {
	at := w.pos
	line := c.rep.line(at)
	if at.Column > len(line) {
		return at
	}
	written := strings.TrimLeft(line[at.Column-1:], "\"'")
	quote := len(line) - (at.Column - 1) - len(written)
	if quote > 1 || !strings.HasPrefix(written, w.text[:offset+length]) {
		return at
	}
	at.Column += quote + offset
	return at
}
