package format

import (
	"fmt"
	"path"
	"strings"
)

// Wrap puts a command into the command of a wrapper, where %{mda} stands, before any value
// is expanded, so that the values are expanded once.
func Wrap(wrapper, command string) (string, error) {
	var b strings.Builder
	last := 0
	err := scan(wrapper, func(_ string, s *specifier) error {
		if !s.mda() {
			return s.outside()
		}
		b.WriteString(wrapper[last:s.at])
		b.WriteString(command)
		last = s.at + len(s.text)
		if b.Len() > maxCommand {
			return fmt.Errorf("longer than %d octets in its wrapper", maxCommand)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return b.String() + wrapper[last:], nil
}

// Command expands the specifiers of a command and gives what is to be executed.
//
// A command that begins with an absolute path and has nothing in it that a shell would
// treat is split into words first and expanded then: argv is the program and its
// arguments, shell is false, and a value is a part of one argument whatever is in it.
// Everything else is for one shell: shell is true and argv is the text alone.
//
// Without :raw, all but letters, digits and ^+-=_.@,:[] become colons in a value. With it
// an argument has the value as it is, but only where nothing can read it as program text:
// not in a shell's text, not in a word with a blank in it, and not when a word of the
// command is a program such as sh, su or ssh or an option such as -c or -e. There, :raw
// has no effect. A command that needs an address as it is takes it from its environment:
// "$SENDER". No argument begins with a hyphen that came from an envelope.
func Command(command string, v Vars) (argv []string, shell bool, err error) {
	words, plain := plainWords(command)
	if !plain {
		text, err := expandCommand(command, v, shellText)
		if err != nil {
			return nil, false, err
		}
		return []string{text}, true, nil
	}
	use := argument
	if interpreted(words) {
		use = shellText
	}
	for i, w := range words {
		if words[i], err = expandCommand(w, v, use); err != nil {
			return nil, false, err
		}
	}
	return words, false, nil
}

// use says who reads what is expanded.
type use uint8

const (
	argument  use = iota // one program, as one of its arguments
	shellText            // a shell or another interpreter
)

// expandCommand expands a word, or all of a shell's text.
func expandCommand(pattern string, v Vars, u use) (string, error) {
	if strings.ContainsAny(pattern, " \t") {
		u = shellText
	}
	var b strings.Builder
	err := scan(pattern, func(text string, s *specifier) error {
		if err := s.outside(); err != nil {
			return err
		}
		b.WriteString(text)
		if s != nil {
			value, err := s.argument(v, u)
			if err != nil {
				return err
			}
			// A hyphen could begin an option where an argument begins. The wire chose it.
			if strings.HasPrefix(value, "-") && s.fromWire() && startsWord(b.String(), u) {
				value = ":" + value[1:]
			}
			b.WriteString(value)
		}
		if b.Len() > maxCommand {
			return fmt.Errorf("longer than %d octets after expansion", maxCommand)
		}
		return nil
	})
	return b.String(), err
}

func (s *specifier) fromWire() bool {
	_, wire, _ := s.value(Vars{})
	return wire
}

// startsWord says whether a word may begin after what was written so far. A shell has more
// ways to begin one than blanks: ${x:-word}.
func startsWord(before string, u use) bool {
	if before == "" {
		return true
	}
	last := before[len(before)-1]
	return u == shellText && (last == '-' || !safe(last) && last != '/')
}

// argument gives the value for a command.
func (s *specifier) argument(v Vars, u use) (string, error) {
	value, wire := s.eval(v)
	switch {
	case !wire:
		if u == shellText && strings.IndexFunc(value, shellSpecial) >= 0 {
			return "", fmt.Errorf("home directory %q cannot be named to a shell", value)
		}
		return value, nil
	case u == shellText:
		return clean(value, func(c byte) bool { return safe(c) && c != '[' && c != ']' }, ""), nil
	case s.raw:
		return clean(value, printable, ""), nil
	}
	return clean(value, safe, ""), nil
}

func shellSpecial(r rune) bool {
	return r < ' ' || r == 0x7f || strings.ContainsRune("!\"#$&'()*;<>?[\\]`{|}", r)
}

// interpreters make program text of arguments, here or elsewhere.
const interpreters = " sh ash bash dash fish hush ksh ksh93 mksh oksh pdksh posh rc yash zsh csh tcsh busybox toybox eval su sudo doas runuser ssh rsh env xargs find awk gawk mawk nawk sed script expect setpriv parallel "

// interpreted says whether a word of the command may make others into program text.
func interpreted(words []string) bool {
	for i, w := range words {
		if strings.Contains(interpreters, " "+path.Base(w)+" ") {
			return true
		}
		// -c, -lc, -e, --command, -ne; the first word is the program.
		if i > 0 && strings.HasPrefix(w, "-") && !strings.Contains(w, "%{") {
			if last := w[len(w)-1]; w[1:] == "-command" || !strings.HasPrefix(w, "--") && len(w) > 1 && (last == 'c' || last == 'e') {
				return true
			}
		}
	}
	return false
}

// plainWords splits a command that needs no shell. Quotes may group words as long as
// nothing in them is special.
func plainWords(command string) (words []string, ok bool) {
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == '%' && strings.HasPrefix(command[i:], "%%"):
			word.WriteString("%%")
			i, inWord = i+1, true
		case c == '%' && strings.HasPrefix(command[i:], "%{"):
			end := strings.IndexByte(command[i:], '}')
			if end < 0 {
				return nil, false
			}
			word.WriteString(command[i : i+end+1])
			i, inWord = i+end, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case c == '~' || c == '=' && len(words) == 0 || shellSpecial(rune(c)):
			return nil, false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, quote == 0 && len(words) > 0 && strings.HasPrefix(words[0], "/")
}
