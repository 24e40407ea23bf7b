package message

import (
	"bytes"

	"github.com/godwit-mta/godwit/core/address"
)

// addressField reports whether names without a domain in a field are completed.
func addressField(name []byte) bool {
	for _, n := range [...]string{"From", "To", "Cc", "Sender", "Reply-To"} {
		if is(name, n) {
			return true
		}
	}
	return false
}

// complete appends the fields in section to dst as their sender may have meant them: without
// Bcc (RFC 5322 section 3.6.3), with a domain for the addresses that lack one
// (RFC 6409 section 8.1). Everything else stays octet for octet.
func complete(dst, section []byte, host string) []byte {
	for len(section) > 0 {
		n := fieldLen(section)
		field := section[:n]
		switch name := fieldName(field); {
		case is(name, "Bcc"):
		case addressField(name):
			dst = appendQualified(dst, field, host)
		default:
			dst = append(dst, field...)
		}
		section = section[n:]
	}
	return dst
}

// appendQualified appends a field with @host after each address that is a local part and
// nothing else. A field that is not a list of mailboxes stays as it is.
func appendQualified(dst, field []byte, host string) []byte {
	colon := bytes.IndexByte(field, ':') + 1
	value := field[colon:]
	dst = append(dst, field[:colon]...)
	last := 0
	for _, s := range mailboxes(value) {
		text := value[s.start:s.end]
		if bytes.IndexByte(text, '@') >= 0 {
			continue
		}
		if a, err := address.Parse(string(text)); err != nil || a.Domain != "" {
			continue
		}
		dst = append(dst, value[last:s.end]...)
		dst = append(dst, '@')
		dst = appendWord(dst, host)
		last = s.end
	}
	return append(dst, value[last:]...)
}
