package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ErrNotConvertible is the error of Convert for a file that is right but has a string that
// cannot be written without a macro, or words that only a macro makes.
var ErrNotConvertible = errors.New("cannot be written in today's language")

// ConvertFile is Convert for a file that is to be read.
func ConvertFile(path string, env Environment) ([]byte, []Unsupported, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return Convert(path, text, readFile, env)
}

// Convert gives the text of a file in today's language. One that is in it is not changed.
// An older one becomes a text with its comments, what it includes in its place and macros
// replaced. Load reads the same from both, but for what today's language cannot say, which is
// listed. When something is wrong in the file the error is of type Errors.
func Convert(name string, text []byte, include func(path string) ([]byte, error), env Environment) (
	[]byte, []Unsupported, error) {
	rep := &report{texts: map[string][]byte{}}
	t := parse(name, text, nil, include, env, rep)
	cfg := check(t, env, rep)
	rep.sort(cfg)
	switch {
	case len(rep.errors) > 0:
		return nil, nil, rep.errors
	case t.lang == Today:
		return text, nil, nil
	}
	c := &converter{name: name, rep: rep}
	var err error
	if t.lang == May2018 {
		err = c.cut(text, t.set)
	} else {
		c.units(t)
	}
	if err == nil {
		err = c.verify(cfg, include, env)
	}
	if err != nil {
		return nil, nil, err
	}
	return c.out.Bytes(), t.lost, nil
}

// converter writes a file of an older language again.
type converter struct {
	name string
	rep  *report
	out  bytes.Buffer
	open []place // the file and those included, up to the one that is being written
}

// place is how far a file was written.
type place struct {
	file  string
	lines []string
	next  int // index of the first line that was not
}

func (c *converter) push(file string) {
	text := strings.TrimSuffix(string(c.rep.texts[file]), "\n")
	c.open = append(c.open, place{file: file, lines: strings.Split(text, "\n")})
}

// verify makes sure that the text says what the file said.
func (c *converter) verify(cfg *Config, include func(string) ([]byte, error), env Environment) error {
	again, _, err := Parse(c.name, c.out.Bytes(), nil, include, env)
	if err != nil {
		return fmt.Errorf("%s %w: %v", c.name, ErrNotConvertible, err)
	}
	if again.Language != Today || !reflect.DeepEqual(plain(cfg), plain(again)) {
		return fmt.Errorf("%s %w", c.name, ErrNotConvertible)
	}
	return nil
}

// plain gives a copy of a configuration without what depends on how the file is laid out.
func plain(cfg *Config) Config {
	copied := copyPlain(reflect.ValueOf(*cfg)).Interface().(Config)
	copied.Language, copied.Unsupported = Today, nil
	return copied
}

// copyPlain copies plain data and leaves out places in files.
func copyPlain(v reflect.Value) reflect.Value {
	into := reflect.New(v.Type()).Elem()
	switch {
	case v.Type() == reflect.TypeFor[Pos]():
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			into.Field(i).Set(copyPlain(v.Field(i)))
		}
	case v.Kind() == reflect.Slice && v.Len() > 0:
		into.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			into.Index(i).Set(copyPlain(v.Index(i)))
		}
	default:
		into.Set(v)
	}
	return into
}

// cut replaces words of a file of May 2018.
func (c *converter) cut(text []byte, cuts []cut) error {
	lines := strings.SplitAfter(string(text), "\n")
	for i := len(cuts) - 1; i >= 0; i-- {
		at := cuts[i].pos
		if at.File != c.name {
			return fmt.Errorf("%s is in %s as well: convert it first", at.File, May2018)
		}
		line, start := lines[at.Line-1], at.Column-1
		if start+cuts[i].n > len(line) {
			return fmt.Errorf("%s:%d: %w", c.name, at.Line, ErrNotConvertible)
		}
		rest := line[start+cuts[i].n:]
		if cuts[i].by == "" {
			rest = strings.TrimLeft(rest, " \t")
		}
		lines[at.Line-1] = line[:start] + cuts[i].by + rest
	}
	c.out.WriteString(strings.Join(lines, ""))
	return nil
}

// units writes the directives of an old file with the comments around them.
func (c *converter) units(t *tree) {
	fmt.Fprintf(&c.out, "# Made of %s, which is in %s, by smtpctl config convert.\n\n", visible(c.name), t.lang)
	c.push(c.name)
	for _, u := range t.units {
		for c.top().file != u.pos.File && len(c.open) > 1 {
			c.pop()
		}
		c.comments(u.pos.Line - 1)
		c.unit(u)
		c.top().next = max(c.top().next, u.last)
		if u.include != "" {
			c.push(u.include)
		}
	}
	for len(c.open) > 0 {
		c.pop()
	}
}

func (c *converter) top() *place { return &c.open[len(c.open)-1] }

func (c *converter) pop() {
	c.comments(len(c.top().lines))
	if len(c.open) > 1 {
		fmt.Fprintf(&c.out, "# The end of %s.\n", visible(c.top().file))
	}
	c.open = c.open[:len(c.open)-1]
}

// comments writes the lines before a directive, which are comments or empty. A line that
// follows a backslash in a comment is part of it.
func (c *converter) comments(end int) {
	p := c.top()
	for ; p.next < min(end, len(p.lines)); p.next++ {
		line := visible(p.lines[p.next])
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "#") {
			line = "# " + line
		}
		c.out.WriteString(line + "\n")
	}
}

// unit writes what became of a directive, below the directive if it was something else.
func (c *converter) unit(u *unit) {
	p := c.top()
	first := min(u.pos.Line-1, len(p.lines)-1)
	old := p.lines[first:max(first+1, min(u.last, len(p.lines)))]
	if len(old) == 1 && len(u.today) == 1 && u.note == "" && sameWords(old[0], printed(u.today[0])) {
		c.out.WriteString(printed(u.today[0]) + "\n")
		return
	}
	fmt.Fprintf(&c.out, "# %s:%d: %s\n", visible(u.pos.File), u.pos.Line, strings.TrimSpace(visible(old[0])))
	for _, line := range old[1:] {
		fmt.Fprintf(&c.out, "#\t%s\n", strings.TrimSpace(visible(line)))
	}
	if u.include != "" {
		u.note = "what it includes follows"
	}
	if u.note != "" {
		fmt.Fprintf(&c.out, "# (%s)\n", u.note)
	}
	for _, d := range u.today {
		c.out.WriteString(printed(d) + "\n")
	}
}

// sameWords tells whether two lines differ in blanks and quotes only.
func sameWords(a, b string) bool {
	drop := strings.NewReplacer("\"", "", "'", "")
	return slices.Equal(strings.Fields(drop.Replace(a)), strings.Fields(drop.Replace(b)))
}

// visible makes text fit for a comment: no control characters, and no backslash at the end,
// which would make the next line part of it.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\r' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	return strings.TrimRight(s, "\\ \t\r")
}
