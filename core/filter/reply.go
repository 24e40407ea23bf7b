package filter

import (
	"strconv"
	"strings"

	gosmtp "github.com/emersion/go-smtp"
)

// maxReply is the longest text of a refusal that is taken, in octets.
const maxReply = 500

// ParseReply reads the text of Reject and Disconnect: a code 4yz or 5yz, perhaps an enhanced
// one of the same class, and a text. ok is false for anything else.
func ParseReply(text string) (r *gosmtp.SMTPError, ok bool) {
	if len(text) > maxReply {
		text = text[:maxReply]
	}
	word, rest, _ := strings.Cut(text, " ")
	code, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 || code < 400 || code > 599 || code/10%10 > 5 {
		return nil, false
	}
	r = &gosmtp.SMTPError{Code: code, EnhancedCode: gosmtp.NoEnhancedCode, Message: rest}
	if word, more, _ := strings.Cut(rest, " "); parseEnhanced(word, code/100, &r.EnhancedCode) {
		r.Message = more
	}
	return r, true
}

// parseEnhanced reads a code of RFC 3463.
func parseEnhanced(word string, class int, to *gosmtp.EnhancedCode) bool {
	parts := strings.Split(word, ".")
	if len(parts) != 3 || parts[0] != strconv.Itoa(class) {
		return false
	}
	var code gosmtp.EnhancedCode
	for i, s := range parts {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 999 || strconv.Itoa(n) != s {
			return false
		}
		code[i] = n
	}
	*to = code
	return true
}

// failure is the reply when a filter does not answer, or says what cannot be done.
func failure() *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary failure"}
}

// gone is the reply in a session of which a filter has lost what it knew.
func gone() *gosmtp.SMTPError {
	return &gosmtp.SMTPError{Code: 421, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0}, Message: "Temporary failure"}
}
