package mta

import (
	"bufio"
	"errors"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Bounds on one reply. RFC 5321 section 4.5.3.1.5 allows 512 octets a line.
const (
	maxReplyLine  = 2048 // octets, with the line end
	maxReplyLines = 100
)

// Errors of a server that does not speak the protocol.
var (
	errReplySyntax = errors.New("malformed reply")
	errReplyLength = errors.New("reply too long")
	errSequence    = errors.New("reply out of sequence")
)

// reply is a reply of a server: its code and the text of each line.
type reply struct {
	code  int
	lines []string
}

// readReply reads one reply, of several lines if need be (RFC 5321 section 4.2.1).
func readReply(br *bufio.Reader) (reply, error) {
	var r reply
	for {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) || len(line) > maxReplyLine || len(r.lines) == maxReplyLines {
			return reply{}, errReplyLength
		}
		if err != nil {
			return reply{}, err
		}
		code, more, text, ok := parseReplyLine(line)
		if !ok || len(r.lines) > 0 && code != r.code {
			return reply{}, errReplySyntax
		}
		r.code = code
		r.lines = append(r.lines, text)
		if !more {
			return r, nil
		}
	}
}

// parseReplyLine takes a line apart and makes its text printable.
func parseReplyLine(line []byte) (code int, more bool, text string, ok bool) {
	for len(line) > 0 && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	if len(line) < 3 || line[0] < '2' || line[0] > '5' {
		return 0, false, "", false
	}
	for _, c := range line[:3] {
		if c < '0' || c > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(c-'0')
	}
	if line = line[3:]; len(line) > 0 {
		if line[0] != ' ' && line[0] != '-' {
			return 0, false, "", false
		}
		more, line = line[0] == '-', line[1:]
	}
	return code, more, clean(string(line)), true
}

// clean replaces what is not printable ASCII or well-formed UTF-8 by question marks.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s))
}

// unquoted makes the words of a server fit for a quoted field of a log line: they must not
// look like other fields.
func unquoted(s string) string { return strings.ReplaceAll(s, `"`, "'") }

// class gives the first digit of the code.
func (r reply) class() int { return r.code / 100 }

// text gives code and text on one line, at most envelope.MaxErrorLine octets. The enhanced
// code, which servers repeat on each line, is given once.
func (r reply) text() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.code))
	code := ""
	for i, line := range r.lines {
		word, rest, _ := strings.Cut(line, " ")
		if _, _, ok := parseEnhanced(word); ok {
			if i > 0 && word == code {
				line = rest
			} else if i == 0 {
				code = word
			}
		}
		if line != "" && b.Len() < envelope.MaxErrorLine {
			b.WriteByte(' ')
			b.WriteString(line)
		}
	}
	return limitText(b.String())
}

// limitText cuts s at a rune.
func limitText(s string) string {
	if len(s) <= envelope.MaxErrorLine {
		return s
	}
	return strings.ToValidUTF8(s[:envelope.MaxErrorLine], "")
}

// enhanced gives the enhanced status code of a reply (RFC 2034), zeros when it has none
// or one that contradicts the reply's code. Some servers have it on the last line only.
func (r reply) enhanced() (class uint8, code uint16) {
	for _, line := range r.lines {
		word, _, _ := strings.Cut(line, " ")
		if class, code, ok := parseEnhanced(word); ok {
			if int(class) != r.class() {
				break
			}
			return class, code
		}
	}
	return 0, 0
}

// parseEnhanced reads class.subject.detail (RFC 3463 section 2).
func parseEnhanced(s string) (class uint8, code uint16, ok bool) {
	if len(s) < 5 || len(s) > 9 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return 0, 0, false
	}
	subject, detail, found := strings.Cut(s[2:], ".")
	a, ok1 := digits(subject)
	b, ok2 := digits(detail)
	// envelope.Result has room for two digits of each; no registered code has more.
	if !found || !ok1 || !ok2 || a > 99 || b > 99 {
		return 0, 0, false
	}
	return s[0] - '0', a*100 + b, true
}

func digits(s string) (n uint16, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint16(s[i]-'0')
	}
	return n, len(s) > 0 && len(s) <= 3
}

// tooManyRecipients reports whether a refused RCPT may follow in another transaction
// (RFC 5321 section 4.5.3.1.10).
func (r reply) tooManyRecipients() bool {
	class, code := r.enhanced()
	return code == 503 || class == 0 && (r.code == 452 || r.code == 552)
}

// without gives the reply with secrets blotted out, should the server have said them back.
// Texts shorter than any password that deserves the name stay.
func (r reply) without(secrets ...string) reply {
	out := reply{code: r.code}
	for _, line := range r.lines {
		for _, s := range secrets {
			if len(s) >= 4 {
				line = strings.ReplaceAll(line, s, "****")
			}
		}
		out.lines = append(out.lines, line)
	}
	return out
}
