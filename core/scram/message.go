package scram

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"
)

// Bounds of messages, in octets.
const (
	MaxMessage = 1024 // of the client
	maxName    = 255
	maxNonce   = 256
)

// Errors of what a client says.
var (
	ErrSyntax  = errors.New("malformed SCRAM message")
	ErrBinding = errors.New("channel binding is not supported")
	ErrOther   = errors.New("the identity to act as is another one")
)

// First is the client's first message (RFC 5802 section 7).
type First struct {
	Header string // gs2-header, which the second message repeats
	Bare   string // what follows it
	User   string
	Nonce  string
}

// ParseFirst reads the client's first message. A client that could bind the channel but
// thinks that the server cannot ("y") is right.
func ParseFirst(message string) (*First, error) {
	if len(message) > MaxMessage || !text(message) {
		return nil, ErrSyntax
	}
	flag, rest, ok := strings.Cut(message, ",")
	authz, bare, found := strings.Cut(rest, ",")
	switch {
	case !ok || !found:
		return nil, ErrSyntax
	case strings.HasPrefix(flag, "p="):
		return nil, ErrBinding
	case flag != "n" && flag != "y":
		return nil, ErrSyntax
	}
	f := &First{Header: message[:len(message)-len(bare)], Bare: bare}
	fields := strings.Split(bare, ",")
	if len(fields) < 2 || !extensions(fields[2:]) {
		return nil, ErrSyntax
	}
	if f.User, ok = name(fields[0], "n="); !ok {
		return nil, ErrSyntax // "m=", which nobody knows, as well
	}
	if f.Nonce, ok = strings.CutPrefix(fields[1], "r="); !ok || !validNonce(f.Nonce) {
		return nil, ErrSyntax
	}
	if authz == "" {
		return f, nil
	}
	if other, ok := name(authz, "a="); !ok {
		return nil, ErrSyntax
	} else if other != f.User {
		return nil, ErrOther
	}
	return f, nil
}

// text reports whether a message is UTF-8 without control characters.
func text(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

// name reads a saslname, where =2C is a comma and =3D an equals sign.
func name(field, prefix string) (string, bool) {
	s, ok := strings.CutPrefix(field, prefix)
	var b strings.Builder
	for ok {
		before, after, escaped := strings.Cut(s, "=")
		b.WriteString(before)
		if !escaped {
			break
		}
		switch {
		case strings.HasPrefix(after, "2C"):
			b.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			b.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
	return b.String(), ok && b.Len() > 0 && b.Len() <= maxName
}

func validNonce(s string) bool {
	return s != "" && len(s) <= maxNonce && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' }) < 0
}

// extensions are not known, and those after the nonce may be passed over.
func extensions(fields []string) bool {
	for _, f := range fields {
		if len(f) < 3 || f[1] != '=' || f[0]|0x20 < 'a' || f[0]|0x20 > 'z' {
			return false
		}
	}
	return true
}

// final is the client's second message.
type final struct {
	bare  string // without the proof
	proof [sha256.Size]byte
}

// parseFinal reads the second message, which has to repeat the header and both nonces.
func parseFinal(message, header, nonce string) (*final, error) {
	if len(message) > MaxMessage || !text(message) {
		return nil, ErrSyntax
	}
	at := strings.LastIndex(message, ",p=")
	if at < 0 {
		return nil, ErrSyntax
	}
	f := &final{bare: message[:at]}
	if !decodeSum(&f.proof, message[at+len(",p="):]) {
		return nil, ErrSyntax
	}
	fields := strings.Split(f.bare, ",")
	if len(fields) < 2 || !extensions(fields[2:]) {
		return nil, ErrSyntax
	}
	if fields[0] != "c="+base64.StdEncoding.EncodeToString([]byte(header)) || fields[1] != "r="+nonce {
		return nil, ErrSyntax
	}
	return f, nil
}
