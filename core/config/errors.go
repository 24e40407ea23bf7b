package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxErrors is how many errors are reported. More help nobody.
const maxErrors = 100

// maxShown is how many octets of a line are shown with an error.
const maxShown = 400

// Error is what is wrong at one place of a file.
type Error struct {
	Pos        Pos
	Line       string // the text of the line, without its end
	Message    string
	Suggestion string // what was probably meant, or ""
}

// Error gives the place and the message, the line, and a caret under the column.
func (e *Error) Error() string {
	message := e.Message
	if e.Suggestion != "" {
		message += fmt.Sprintf(", did you mean %q?", e.Suggestion)
	}
	return pointed(e.Pos, message, e.Line)
}

// String gives the place and the message, the line, and a caret under the column.
func (u Unsupported) String() string {
	return pointed(u.Pos, "warning: "+u.What+"; smtpd does not start with it", u.Line)
}

// pointed gives a place and a message, the line, and a caret under the column.
func pointed(pos Pos, message, line string) string {
	text := fmt.Sprintf("%s:%d:%d: %s", pos.File, pos.Line, pos.Column, message)
	if line == "" || pos.Column > maxShown {
		return text
	}
	before := line[:min(pos.Column-1, len(line))]
	return text + "\n" + shown(line) + "\n" + blank(before) + "^"
}

// shown makes a line fit for a terminal: no control characters, not too long.
func shown(line string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, line[:min(len(line), maxShown)])
}

// blank replaces what stands before the caret. Tabs stay, so that the caret lines up.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

// Errors are the errors of a file and of those that it includes, in their order.
type Errors []*Error

// Error gives all of them, each as Error.Error does.
func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, one := range e {
		texts[i] = one.Error()
	}
	return strings.Join(texts, "\n")
}

// Warning is something odd that does not keep a file from being used.
type Warning struct {
	Pos     Pos
	Message string
}

func (w Warning) String() string {
	return fmt.Sprintf("%s:%d:%d: warning: %s", w.Pos.File, w.Pos.Line, w.Pos.Column, w.Message)
}

// report gathers what there is to say about a file.
type report struct {
	names    []string // of the files, in the order in which they were opened
	texts    map[string][]byte
	errors   Errors
	warnings []Warning
}

func (r *report) addFile(name string, text []byte) {
	if _, again := r.texts[name]; !again {
		r.names = append(r.names, name)
	}
	r.texts[name] = text
}

func (r *report) full() bool { return len(r.errors) >= maxErrors }

func (r *report) errorf(pos Pos, suggestion, format string, args ...any) {
	if r.full() {
		return
	}
	r.errors = append(r.errors, &Error{
		Pos:        pos,
		Line:       r.line(pos),
		Message:    shown(fmt.Sprintf(format, args...)),
		Suggestion: suggestion,
	})
}

func (r *report) warnf(pos Pos, format string, args ...any) {
	if len(r.warnings) < maxErrors {
		r.warnings = append(r.warnings, Warning{pos, shown(fmt.Sprintf(format, args...))})
	}
}

// line finds the text of a line.
func (r *report) line(pos Pos) string {
	text := bytes.TrimPrefix(r.texts[pos.File], byteOrderMark)
	for n := 1; n < pos.Line; n++ {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return ""
		}
		text = text[i+1:]
	}
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return string(bytes.TrimSuffix(text, []byte("\r")))
}

// sort brings everything into the order of the files.
func (r *report) sort(cfg *Config) {
	place := map[string]int{}
	for i, name := range r.names {
		place[name] = i
	}
	before := func(a, b Pos) int {
		return cmp.Or(cmp.Compare(place[a.File], place[b.File]),
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	}
	slices.SortStableFunc(r.errors, func(a, b *Error) int { return before(a.Pos, b.Pos) })
	slices.SortStableFunc(r.warnings, func(a, b Warning) int { return before(a.Pos, b.Pos) })
	slices.SortStableFunc(cfg.Unsupported, func(a, b Unsupported) int { return before(a.Pos, b.Pos) })
}
