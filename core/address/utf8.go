package address

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ASCII reports whether s has octets of ASCII only. What has others may only be said where
// SMTPUTF8 is (RFC 6531).
func ASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// International reports whether a has a local part that only SMTPUTF8 can carry. The domain
// never is one: it is kept as DNS has it.
func (a Address) International() bool { return !ASCII(a.Local) }

// EmbedUnicode writes what is not ASCII as \x{HEX}: the form that addresses of type utf-8
// have where only ASCII may be said (RFC 6533 section 3). What is not UTF-8 stays.
func EmbedUnicode(s string) string {
	if ASCII(s) || !utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
		} else {
			fmt.Fprintf(&b, `\x{%X}`, r)
		}
	}
	return b.String()
}

// utf8Text reports whether s is well-formed and has, beyond ASCII, nothing that is invisible
// and changes how a line is read: no control, separator, non-character or mark of direction.
func utf8Text(s string) bool {
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf:
		case r == utf8.RuneError, r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff,
			r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f,
			r >= 0xfdd0 && r <= 0xfdef, r&0xfffe == 0xfffe:
			return false
		}
	}
	return true
}

// asciiDomain gives a host name in the form that DNS has: a label with other letters than
// those of ASCII becomes an A-label (RFC 5890). Letters are folded to lower case, nothing
// else is: a client has to give names in the form of IDNA2008, which is normal already.
func asciiDomain(s string) (string, bool) {
	if len(s) > MaxDomain {
		return "", false
	}
	labels := strings.Split(s, ".")
	for i, label := range labels {
		if ASCII(label) {
			continue
		}
		label = strings.ToLower(label)
		if !uLabel(label) {
			return "", false
		}
		labels[i] = "xn--" + punycode(label)
	}
	s = strings.Join(labels, ".")
	return s, ValidHost(s)
}

// uLabel is a rough form of RFC 5892: letters, marks, digits and hyphens, and no mark first.
func uLabel(label string) bool {
	if label[0] == '-' || label[len(label)-1] == '-' || len(label) > 3 && label[2:4] == "--" {
		return false
	}
	for i, r := range label {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-':
		case unicode.IsMark(r) && i > 0, r == 0xb7 || r == 0x30fb, r == 0x200c || r == 0x200d:
		default:
			return false
		}
	}
	return utf8.ValidString(label)
}

// Parameters of RFC 3492 section 5.
const (
	punyBase    = 36
	punyTMin    = 1
	punyTMax    = 26
	punySkew    = 38
	punyDamp    = 700
	punyBias    = 72
	punyInitial = 0x80
)

// punycode is RFC 3492 section 6.3. A label has at most MaxDomain octets, so that nothing
// can overflow.
func punycode(label string) string {
	runes := []rune(label)
	var out []byte
	for _, r := range runes {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
		}
	}
	basic := len(out)
	if basic > 0 {
		out = append(out, '-')
	}
	n, delta, bias := rune(punyInitial), 0, punyBias
	for done := basic; done < len(runes); n++ {
		next := rune(unicode.MaxRune)
		for _, r := range runes {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range runes {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			out = punyNumber(out, delta, bias)
			bias = punyAdapt(delta, done+1, done == basic)
			delta = 0
			done++
		}
		delta++
	}
	return string(out)
}

// punyNumber appends a variable-length integer.
func punyNumber(out []byte, q, bias int) []byte {
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"
	for k := punyBase; ; k += punyBase {
		t := min(max(k-bias, punyTMin), punyTMax)
		if q < t {
			return append(out, digits[q])
		}
		out = append(out, digits[t+(q-t)%(punyBase-t)])
		q = (q - t) / (punyBase - t)
	}
}

func punyAdapt(delta, points int, first bool) int {
	if first {
		delta /= punyDamp
	} else {
		delta /= 2
	}
	delta += delta / points
	k := 0
	for ; delta > (punyBase-punyTMin)*punyTMax/2; k += punyBase {
		delta /= punyBase - punyTMin
	}
	return k + (punyBase-punyTMin+1)*delta/(delta+punySkew)
}
