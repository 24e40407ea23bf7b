package expand

import (
	"fmt"
	"strings"
)

// Wrap puts a command into the wrapper of an mda action, before any value is expanded,
// so that the values are expanded once.
func Wrap(wrapper, command string) string {
	return strings.ReplaceAll(wrapper, "%{mda}", command)
}

// Command expands the specifiers of a command and gives what is to be executed.
//
// A command that begins with an absolute path and has nothing in it that a shell would
// treat is split into words first and expanded then: argv is the program and its
// arguments, shell is false, and a value is a part of one argument whatever is in it.
// Everything else is for one shell: shell is true and argv is the text alone. No value
// becomes text of the shell then: :raw has no effect, and all but letters, digits and
// ^+-=_.@,: become colons. A command that needs an address as it is takes it from its
// environment: "$SENDER". No argument begins with a hyphen that came from an envelope.
func Command(command string, v Vars) (argv []string, shell bool, err error) {
	if words, ok := plainWords(command); ok {
		for i, w := range words {
			if words[i], err = expandCommand(w, v, false); err != nil {
				return nil, false, err
			}
		}
		return words, false, nil
	}
	text, err := expandCommand(command, v, true)
	if err != nil {
		return nil, false, err
	}
	return []string{text}, true, nil
}

// expandCommand expands a word, or all of a shell's text.
func expandCommand(pattern string, v Vars, shell bool) (string, error) {
	var b strings.Builder
	err := scan(pattern, func(text string, s *specifier) error {
		b.WriteString(text)
		if s != nil {
			value, err := s.argument(v, shell)
			if err != nil {
				return err
			}
			// A hyphen could begin an option where an argument begins. The wire chose it.
			if strings.HasPrefix(value, "-") && s.fromWire() && startsWord(b.String()) {
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

func startsWord(before string) bool {
	return before == "" || strings.IndexByte(" \t\n\"'", before[len(before)-1]) >= 0
}

// argument gives the value for a command.
func (s *specifier) argument(v Vars, shell bool) (string, error) {
	value, wire := s.eval(v)
	switch {
	case s.name == "mda":
		return value, nil
	case !wire:
		if shell && strings.IndexFunc(value, shellSpecial) >= 0 {
			return "", fmt.Errorf("home directory %q cannot be named to a shell", value)
		}
		return value, nil
	case shell:
		return clean(value, func(c byte) bool { return safe(c) && c != '[' && c != ']' }, ""), nil
	case s.raw:
		return clean(value, printable, ""), nil
	}
	return clean(value, safe, ""), nil
}

func shellSpecial(r rune) bool {
	return r < ' ' || r == 0x7f || strings.ContainsRune("!\"#$&'()*;<>?[\\]`{|}", r)
}

// plainWords splits a command that needs no shell. Quotes may group words as long as
// nothing in them is special.
func plainWords(command string) (words []string, ok bool) {
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
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
