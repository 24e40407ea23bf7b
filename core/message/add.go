package message

import (
	"fmt"
	"time"
)

// DateFormat is the form of dates in headers, for time.Time.Format: RFC 5322 section 3.3
// with the name of the zone as a comment.
const DateFormat = "Mon, 2 Jan 2006 15:04:05 -0700 (MST)"

// maxWord bounds each word from outside that goes into a Received field, in octets.
const maxWord = 512

// Received is what a Received field tells (RFC 5321 section 4.4).
type Received struct {
	Helo       string // as the client named itself
	Host       string // its verified name, or "<unknown>"
	Addr       string // its address: "192.0.2.1", "[2001:db8::1]" or "local"
	MaskSource bool   // leaves these three out
	By         string // our name
	Ident      string // name of the software
	ESMTP      bool
	UTF8       bool   // with SMTPUTF8 (RFC 6531)
	TLS        string // "TLSv1.3:TLS_AES_256_GCM_SHA384:256"; "" without TLS
	Verified   bool   // the client showed a certificate that we trust
	Cert       string // whose certificate that is
	Auth       bool   // authenticated, or local
	ShowAuth   bool   // tells it in words (received-auth)
	User       string // for that
	ID         string // of the message
	For        string // the recipient when there is only one, else ""
	Date       time.Time
}

// Append appends the field with its line end. Words from outside cannot break out of it.
func (r *Received) Append(b []byte) []byte {
	b = append(b, "Received: "...)
	if !r.MaskSource {
		b = append(b, "from "...)
		b = appendWord(b, r.Helo)
		b = append(b, " ("...)
		b = appendWord(b, r.Host)
		b = append(b, ' ')
		if len(r.Addr) > 0 && r.Addr[0] == '[' {
			b = appendWord(b, r.Addr)
		} else {
			b = append(b, '[')
			b = appendWord(b, r.Addr)
			b = append(b, ']')
		}
		b = append(b, ")\n\t"...)
	}
	b = append(b, "by "...)
	b = appendWord(b, r.By)
	b = append(b, " ("...)
	b = appendWord(b, r.Ident)
	b = append(b, ") with "...)
	b = append(b, r.protocol()...)
	b = append(b, " id "...)
	b = appendWord(b, r.ID)
	b = r.appendAuth(r.appendTLS(b))
	if r.For != "" {
		b = append(b, "\n\tfor <"...)
		b = appendWord(b, r.For)
		b = append(b, '>')
	}
	b = append(b, ";\n\t"...)
	b = r.Date.AppendFormat(b, DateFormat)
	return append(b, '\n')
}

// protocol is a keyword of RFC 3848, or of RFC 6531 section 4.3.
func (r *Received) protocol() string {
	s := "SMTP"
	switch {
	case r.UTF8:
		s = "UTF8SMTP"
	case r.ESMTP:
		s = "ESMTP"
	}
	if r.TLS != "" {
		s += "S"
	}
	if r.Auth {
		s += "A"
	}
	return s
}

func (r *Received) appendTLS(b []byte) []byte {
	if r.TLS == "" {
		return b
	}
	b = append(b, " ("...)
	b = appendWord(b, r.TLS)
	if !r.Verified {
		return append(b, ":NO)"...)
	}
	b = append(b, ":YES)"...)
	if r.Cert != "" && !r.MaskSource {
		b = append(b, "\n\t(client certificate "...)
		b = appendComment(b, r.Cert)
		b = append(b, ')')
	}
	return b
}

func (r *Received) appendAuth(b []byte) []byte {
	switch {
	case !r.ShowAuth:
		return b
	case r.Auth:
		b = append(b, " auth=yes user="...)
		return appendWord(b, r.User)
	}
	return append(b, " auth=no"...)
}

// appendWord appends s without anything that could end the line.
func appendWord(b []byte, s string) []byte {
	if len(s) > maxWord {
		s = s[:maxWord]
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == 0x7f {
			b = append(b, '?')
		} else {
			b = append(b, c)
		}
	}
	return b
}

// maxComment bounds what appendComment takes, in octets.
const maxComment = 256

// appendComment appends s as a part of a comment (RFC 5322 section 3.2.2), without anything
// that could end it.
func appendComment(b []byte, s string) []byte {
	if len(s) > maxComment {
		s = s[:maxComment]
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c >= 0x7f || c == '(' || c == ')' || c == '\\':
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return b
}

// Complete is for mail that is submitted here, not for mail that passes through
// (RFC 6409 section 8): it appends to dst the header section that b begins with, without
// its Bcc fields, with host for the addresses in it that have no domain, and with the Date
// and Message-ID that it lacks. The rest of the message
// follows from b[h.Len:] on. h is what Scan gave for b; it must be complete. unique makes
// the Message-ID.
func Complete(dst, b []byte, h Header, host string, now time.Time, unique uint64) []byte {
	section, start := b[:h.Len], len(dst)
	dst = complete(dst, section, host)
	if n := len(dst); n > start && dst[n-1] != '\n' {
		dst = append(dst, '\n') // the message ended within its last field
	}
	if !h.HasDate {
		dst = append(dst, "Date: "...)
		dst = now.AppendFormat(dst, DateFormat)
		dst = append(dst, '\n')
	}
	if !h.HasMessageID {
		dst = fmt.Appendf(dst, "Message-ID: <%016x@", unique)
		dst = appendWord(dst, host)
		dst = append(dst, ">\n"...)
	}
	return dst
}
