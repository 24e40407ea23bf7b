package smtp

import (
	"math"
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
)

// Largest values of DSN parameters, in octets (RFC 3461 sections 4.2 and 4.4).
const (
	maxEnvID = 100
	maxORcpt = 500
)

// splitPath reads "FROM:<path> parameters" after its verb; word is "FROM:" or "TO:".
// known is false when the word is not there. The path may be empty.
func splitPath(arg, word string) (path, params string, known, ok bool) {
	if len(arg) < len(word) || !strings.EqualFold(arg[:len(word)], word) {
		return "", "", false, false
	}
	s := strings.TrimLeft(arg[len(word):], " ")
	if s == "" || s[0] != '<' {
		return "", "", true, false
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '>' && !quoted:
			params = s[i+1:]
			return s[1:i], params, true, params == "" || params[0] == ' '
		}
	}
	return "", "", true, false
}

// eachParam calls set for each parameter, its keyword in upper case. A keyword that is
// given twice is an error: two readers could take different ones.
func eachParam(params string, set func(keyword, value string) *gosmtp.SMTPError) *gosmtp.SMTPError {
	var seen [8]string
	n := 0
	for word := range strings.FieldsSeq(params) {
		keyword, value, _ := strings.Cut(word, "=")
		keyword = strings.ToUpper(keyword)
		for _, k := range seen[:n] {
			if k == keyword {
				return badParam(keyword + " given twice")
			}
		}
		if n == len(seen) {
			return badParam("too many parameters")
		}
		seen[n] = keyword
		n++
		if r := set(keyword, value); r != nil {
			return r
		}
	}
	return nil
}

func badParam(text string) *gosmtp.SMTPError {
	return reply(501, 5, 4, "Invalid command arguments: "+text)
}

func unknownParam(keyword, value string) *gosmtp.SMTPError {
	if value != "" {
		keyword += "=" + value
	}
	return reply(555, 5, 4, "Invalid command arguments: Unsupported option "+keyword)
}

// mailOptions reads the parameters of MAIL.
func (c *Conn) mailOptions(params string) (*gosmtp.MailOptions, *gosmtp.SMTPError) {
	opts := new(gosmtp.MailOptions)
	r := eachParam(params, func(keyword, value string) *gosmtp.SMTPError {
		switch {
		case keyword == "SIZE":
			return c.setSize(opts, value)
		case keyword == "BODY":
			return setBody(opts, value)
		case keyword == "AUTH":
			// Nobody here may vouch for another sender (RFC 4954 section 5): it is checked
			// and counts as AUTH=<>.
			if _, ok := decodeXtext(value); !ok || value == "" {
				return badParam("AUTH syntax error")
			}
		case keyword == "SMTPUTF8":
			opts.UTF8 = true
			return noValue(keyword, value)
		case keyword == "REQUIRETLS" && c.secured():
			opts.RequireTLS = true
			return noValue(keyword, value)
		case keyword == "RET" && c.cfg.DSN:
			opts.Return = gosmtp.DSNReturn(strings.ToUpper(value))
			if opts.Return != gosmtp.DSNReturnFull && opts.Return != gosmtp.DSNReturnHeaders {
				return badParam("RET must be FULL or HDRS")
			}
		case keyword == "ENVID" && c.cfg.DSN:
			id, ok := decodeXtext(value)
			if !ok || id == "" || len(value) > maxEnvID {
				return badParam("ENVID syntax error")
			}
			opts.EnvelopeID = id
		default:
			return unknownParam(keyword, value)
		}
		return nil
	})
	return opts, r
}

func noValue(keyword, value string) *gosmtp.SMTPError {
	if value != "" {
		return badParam(keyword + " takes no value")
	}
	return nil
}

// setSize is RFC 1870 section 6: up to 20 digits.
func (c *Conn) setSize(opts *gosmtp.MailOptions, value string) *gosmtp.SMTPError {
	if value == "" || len(value) > 20 || strings.Trim(value, "0123456789") != "" {
		return badParam("SIZE is not a number")
	}
	size, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		size = math.MaxInt64 // a number that is too large for us
	}
	if most := c.cfg.MaxMessageSize; most > 0 && size > most || err != nil {
		return reply(552, 3, 4, textTooBig)
	}
	opts.Size = size
	return nil
}

func setBody(opts *gosmtp.MailOptions, value string) *gosmtp.SMTPError {
	switch body := gosmtp.BodyType(strings.ToUpper(value)); body {
	case gosmtp.Body7Bit, gosmtp.Body8BitMIME:
		opts.Body = body
		return nil
	case gosmtp.BodyBinaryMIME:
		return unknownParam("BODY", value)
	}
	return badParam("BODY must be 7BIT or 8BITMIME")
}

// rcptOptions reads the parameters of RCPT. They belong to this recipient alone.
func (c *Conn) rcptOptions(params string) (*gosmtp.RcptOptions, *gosmtp.SMTPError) {
	opts := new(gosmtp.RcptOptions)
	r := eachParam(params, func(keyword, value string) *gosmtp.SMTPError {
		switch {
		case keyword == "NOTIFY" && c.cfg.DSN:
			return setNotify(opts, value)
		case keyword == "ORCPT" && c.cfg.DSN:
			return c.setORcpt(opts, value)
		}
		return unknownParam(keyword, value)
	})
	return opts, r
}

func setNotify(opts *gosmtp.RcptOptions, value string) *gosmtp.SMTPError {
	for word := range strings.SplitSeq(strings.ToUpper(value), ",") {
		n := gosmtp.DSNNotify(word)
		switch n {
		case gosmtp.DSNNotifyNever, gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure, gosmtp.DSNNotifyDelayed:
		default:
			return badParam("NOTIFY syntax error")
		}
		for _, other := range opts.Notify {
			if other == n {
				return badParam("NOTIFY syntax error")
			}
			if other == gosmtp.DSNNotifyNever || n == gosmtp.DSNNotifyNever {
				return badParam("NOTIFY option NEVER cannot be combined with other options")
			}
		}
		opts.Notify = append(opts.Notify, n)
	}
	return nil
}

// setORcpt is RFC 3461 section 4.2: type;xtext. The type is given in upper case, as
// go-smtp names them. An address of type utf-8 is kept in the form of RFC 6533 section 3 that
// can be said everywhere: \x{HEX} for what is not ASCII.
func (c *Conn) setORcpt(opts *gosmtp.RcptOptions, value string) *gosmtp.SMTPError {
	kind, text, ok := strings.Cut(value, ";")
	if len(value) > maxORcpt {
		ok = false
	} else if c.utf8 && strings.EqualFold(kind, string(gosmtp.DSNAddressTypeUTF8)) {
		text = address.EmbedUnicode(text)
	}
	addr, decoded := decodeXtext(text)
	if !ok || !decoded || addr == "" || !atom(kind) {
		return badParam("ORCPT address syntax error")
	}
	opts.OriginalRecipientType = gosmtp.DSNAddressType(strings.ToUpper(kind))
	opts.OriginalRecipient = addr
	return nil
}

// atom checks the name of an address type: letters, digits and hyphens are all that
// exist.
func atom(s string) bool {
	for i := 0; i < len(s); i++ {
		if !alnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// decodeXtext reads RFC 3461 section 4. Only printable ASCII may come out: anything
// else could become structure in a notice or in the queue.
func decodeXtext(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		ch := s[i]
		if ch == '+' {
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			ch = byte(n)
			i += 2
		} else if ch <= ' ' || ch == '=' {
			return "", false
		}
		if ch < ' ' || ch > '~' {
			return "", false
		}
		b = append(b, ch)
	}
	return string(b), true
}

// EncodeXtext writes s as xtext (RFC 3461 section 4), the form in which DSN parameters
// are kept and passed on.
func EncodeXtext(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if ch := s[i]; ch <= ' ' || ch > '~' || ch == '+' || ch == '=' {
			b = append(b, '+', hex[ch>>4], hex[ch&15])
		} else {
			b = append(b, ch)
		}
	}
	return string(b)
}

// parsePath checks an address and gives it in the form that backends get. One with octets
// beyond ASCII is refused unless SMTPUTF8 was said (RFC 6531 section 3.5).
func parsePath(path string, utf8 bool, bad *gosmtp.SMTPError) (string, *gosmtp.SMTPError) {
	a, err := address.ParsePath(path)
	switch {
	case err != nil:
		return "", bad
	case !utf8 && !address.ASCII(path):
		return "", reply(553, 6, 7, textNeedsUTF8)
	}
	return a.String(), nil
}
