// Package srs rewrites the senders of forwarded mail, so that the next server finds a
// sender of this domain, and reads the addresses back when a notice comes to one: the
// Sender Rewriting Scheme, as OpenSMTPD writes it.
//
//	SRS0=HHHH=TT=example.com=alice@forwarder.example
//	SRS1=HHHH=first.example==HHHH=TT=example.com=alice@forwarder.example
//
// HHHH are the first four characters of the base64 form, with - and _, of the SHA-1 sum of
// the key and of all that follows the next equals sign; TT is the day, modulo 1024, in
// base32. An address that was rewritten elsewhere before becomes SRS1, which leads back
// to the first forwarder.
package srs

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

const (
	prefix  = len("SRS0=")
	hashLen = 4
	days    = 1024 // a day in an address counts modulo this
	digits  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)

// Errors of Decode.
var (
	ErrSyntax  = errors.New("not an SRS address")
	ErrHash    = errors.New("made by somebody else or changed")
	ErrExpired = errors.New("expired")
)

// Codec rewrites and reads with the keys of a site. It may be used by several goroutines.
type Codec struct {
	keys []string // the first signs, all are accepted
	ttl  int      // days
}

// New gives a codec that signs with key and accepts key and, unless it is empty, backup.
// Addresses are good for the whole days in ttl.
func New(key, backup string, ttl time.Duration) *Codec {
	c := &Codec{keys: []string{key}, ttl: int(min(ttl/(24*time.Hour), days-1))}
	if backup != "" {
		c.keys = append(c.keys, backup)
	}
	return c
}

// Encode rewrites a sender into an address at domain, which should be the one that the
// mail came to. A sender that cannot be rewritten, because it is the null sender or the
// result would be too long, is given back as it is.
func (c *Codec) Encode(sender address.Address, domain string, now time.Time) address.Address {
	if sender.Local == "" || sender.Domain == "" || domain == "" {
		return sender
	}
	version, local := "SRS0=", ""
	switch {
	case has(sender.Local, "SRS0="):
		version, local = "SRS1=", sender.Domain+"=="+sender.Local[prefix:]
	case has(sender.Local, "SRS1="):
		// Only the signature is ours: the way back begins at the first forwarder.
		rest := sender.Local[prefix:]
		if len(rest) <= hashLen || strings.IndexByte("=+-", rest[hashLen]) < 0 {
			return sender
		}
		version, local = "SRS1=", rest[hashLen+1:]
	default:
		local = stamp(now) + "=" + sender.Domain + "=" + sender.Local
	}
	out := address.Address{Local: version + hash(c.keys[0], local+"@"+domain) + "=" + local, Domain: domain}
	if len(out.Local) > address.MaxLocal {
		return sender
	}
	return out
}

// Encoded reports whether a local part looks like a rewritten sender.
func Encoded(local string) bool { return has(local, "SRS0=") || has(local, "SRS1=") }

// has compares a prefix without regard to case.
func has(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// Decode gives the address to which a notice to a rewritten sender goes.
func (c *Codec) Decode(rcpt address.Address, now time.Time) (address.Address, error) {
	if !Encoded(rcpt.Local) {
		return address.Address{}, ErrSyntax
	}
	signed := rcpt.Local[prefix:]
	if len(signed) <= hashLen {
		return address.Address{}, ErrSyntax
	}
	sum, rest := signed[:hashLen], signed[hashLen+1:]
	if !c.signed(sum, rest+"@"+rcpt.Domain) {
		return address.Address{}, ErrHash
	}
	if has(rcpt.Local, "SRS1=") {
		return c.decode1(rest, now)
	}
	return c.decode0(rest, now)
}

// decode0 reads TT=domain=user.
func (c *Codec) decode0(s string, now time.Time) (address.Address, error) {
	if err := c.fresh(s, now); err != nil {
		return address.Address{}, err
	}
	domain, local, ok := strings.Cut(s[3:], "=")
	if !ok {
		return address.Address{}, ErrSyntax
	}
	return checked(local, domain)
}

// decode1 reads first.example==HHHH=TT=... Only the day can be checked of what the first
// forwarder signed.
func (c *Codec) decode1(s string, now time.Time) (address.Address, error) {
	domain, first, ok := strings.Cut(s, "=")
	if !ok || len(first) < 1+hashLen+1 {
		return address.Address{}, ErrSyntax
	}
	if err := c.fresh(first[1+hashLen+1:], now); err != nil {
		return address.Address{}, err
	}
	return checked("SRS0"+first, domain)
}

// checked gives an address that may be sent to.
func checked(local, domain string) (address.Address, error) {
	a, err := address.Parse(address.Address{Local: local, Domain: domain}.String())
	if err != nil || a.Local != local || a.Domain == "" {
		return address.Address{}, ErrSyntax
	}
	return a, nil
}

func (c *Codec) signed(sum, text string) bool {
	ok := 0
	for _, key := range c.keys {
		ok |= subtle.ConstantTimeCompare([]byte(sum), []byte(hash(key, text)))
	}
	return ok == 1
}

func hash(key, text string) string {
	sum := sha1.Sum([]byte(key + text))
	return base64.URLEncoding.EncodeToString(sum[:])[:hashLen]
}

func day(t time.Time) int { return int(t.Unix() / (24 * 60 * 60) % days) }

func stamp(t time.Time) string {
	d := day(t)
	return string([]byte{digits[d>>5], digits[d&31]})
}

// fresh checks the day with which s begins. A clock elsewhere may be a day ahead.
func (c *Codec) fresh(s string, now time.Time) error {
	if len(s) < 3 || strings.IndexByte("=+-", s[2]) < 0 {
		return ErrSyntax
	}
	high, low := strings.IndexByte(digits, s[0]), strings.IndexByte(digits, s[1])
	if high < 0 || low < 0 {
		return ErrSyntax
	}
	age := (day(now) - (high<<5 | low) + days) % days
	if age > c.ttl && age != days-1 {
		return ErrExpired
	}
	return nil
}
