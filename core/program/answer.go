package program

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const protocolVersion = "0.1"

// ErrNotFound is the answer not-found.
var ErrNotFound = errors.New("the program knows no such message or envelope")

// Kind says what is wrong.
type Kind string

// The kinds of errors that a program may answer.
const (
	Temporary Kind = "temporary" // may be gone at the next try
	NoSpace   Kind = "no-space"
	Exists    Kind = "exists"
	Size      Kind = "size"
)

// Error is an error that the program answered.
type Error struct {
	Kind Kind
	Text string
}

func (e *Error) Error() string {
	if e.Text == "" {
		return "the program answered the error " + string(e.Kind)
	}
	return fmt.Sprintf("the program answered the error %s: %q", e.Kind, e.Text)
}

// Answer is an answer that is being read.
type Answer struct {
	Fields []string // what follows ok
	verb   string
	id     uint64
	err    error
	c      *Conn
}

// parseAnswer reads VERB-result|ID|ok, with fields, or |not-found, or |error|KIND|TEXT.
func parseAnswer(line string) (*Answer, error) {
	f := strings.Split(line, "|")
	verb, suffixed := strings.CutSuffix(f[0], "-result")
	if !suffixed || len(f) < 3 {
		return nil, fmt.Errorf("answered %q", abbreviate(line))
	}
	id, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil || strconv.FormatUint(id, 10) != f[1] {
		return nil, fmt.Errorf("answered request %q, which waits for no answer", abbreviate(f[1]))
	}
	a := &Answer{verb: verb, id: id}
	kinds := []Kind{Temporary, NoSpace, Exists, Size}
	switch {
	case f[2] == "ok":
		a.Fields = f[3:]
	case f[2] == "not-found" && len(f) == 3:
		a.err = ErrNotFound
	case f[2] == "error" && len(f) > 3 && slices.Contains(kinds, Kind(f[3])):
		a.err = &Error{Kind(f[3]), abbreviate(strings.Join(f[4:], "|"))}
	default:
		return nil, fmt.Errorf("answered %q", abbreviate(line))
	}
	return a, nil
}

// Expect reads the numbers that follow ok: as many as there are arguments, each not
// negative.
func (a *Answer) Expect(numbers ...*int64) error {
	if len(a.Fields) != len(numbers) {
		return fmt.Errorf("%d fields after ok instead of %d", len(a.Fields), len(numbers))
	}
	for i, p := range numbers {
		var err error
		if *p, err = ParseNumber(a.Fields[i]); err != nil {
			return err
		}
	}
	return nil
}

// ParseNumber reads a number that is not negative.
func ParseNumber(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is no number", abbreviate(s))
	}
	return n, nil
}

// Line reads a further line of the answer: a word and so many fields.
func (a *Answer) Line(word string, fields int) ([]string, error) {
	line, err := a.c.line()
	if err != nil {
		return nil, err
	}
	f := strings.Split(line, "|")
	if f[0] != word || len(f) != fields+1 {
		return nil, fmt.Errorf("%q instead of %s and %d fields", abbreviate(line), word, fields)
	}
	return f[1:], nil
}

// Block copies the next n octets of the answer to w. An error of w does not disturb what
// is read after it: it is given when all was read.
func (a *Answer) Block(w io.Writer, n int64) (failed, err error) {
	sink := &errWriter{w: w}
	got, err := io.CopyN(sink, a.c.reader, n)
	if err != nil {
		return nil, fmt.Errorf("ended after %d of %d octets", got, n)
	}
	return sink.err, nil
}

// errWriter takes everything and remembers the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(b []byte) (int, error) {
	if e.err == nil {
		_, e.err = e.w.Write(b)
	}
	return len(b), nil
}

// abbreviate keeps what is foreign from filling the log.
func abbreviate(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}
