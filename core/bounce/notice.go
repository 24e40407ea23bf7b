package bounce

import (
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// Notice is what one notice says: all recipients of one message that had the same fate
// in the same moment.
type Notice struct {
	Kind       envelope.BounceType // all of success are one
	Host       string              // name of this server
	To         address.Address     // the sender of the message
	Date       time.Time           // of the notice
	Arrival    time.Time           // of the message; zero: unknown
	EnvID      string              // ENVID of the message, xtext
	UTF8       bool                // the message came with SMTPUTF8
	Full       bool                // the sender asked for the whole message (RET=FULL) and may have it
	MaxFull    int64               // octets of the largest message that is returned whole
	Delay      time.Duration       // BounceDelayed: how long it has been tried
	Recipients []Recipient         // at least one
}

// Recipient is one recipient and its fate.
type Recipient struct {
	Final    address.Address // where it was to be delivered
	ORcpt    string          // ORCPT of the recipient: type;xtext
	Rcpt     address.Address // as the client gave it; null: unknown
	Kind     envelope.BounceType
	EscClass uint8         // enhanced status, RFC 3463; 0: that of the kind
	EscCode  uint16        // subject*100 + detail
	Text     string        // reply of the server or the program
	MTA      string        // name of the server that gave Text; "" when it is this one
	LastTry  time.Time     // zero: unknown
	TTL      time.Duration // how long it is tried, from Arrival on; 0: unknown
	Expires  time.Time     // BounceDelayed: when it is given up; zero: unknown
}

const expiredText = "Envelope expired"

// ExpiredText is the text of a recipient whose time is over, with the last error.
func ExpiredText(last string) string {
	if last == "" {
		return expiredText
	}
	return expiredText + ": " + last
}

// RecipientOf tells the fate that stands in an envelope.
func RecipientOf(e *envelope.Envelope) Recipient {
	r := Recipient{
		Final: e.Dest, Rcpt: e.Rcpt, Kind: e.BounceType, ORcpt: e.ORcpt, EscClass: e.EscClass, EscCode: e.EscCode,
		Text: e.ErrorLine, MTA: e.Remote, LastTry: e.LastTry, TTL: e.TTL,
	}
	if e.TTL > 0 {
		r.Expires = e.Expires()
	}
	return r
}

// Wanted reports whether the sender of an envelope is to be told. Nobody is told about a
// message with the null sender or about a notice (RFC 5321 section 6.1); otherwise NOTIFY
// decides, and without it failures and delays are told (RFC 3461 section 5.2).
func Wanted(e *envelope.Envelope, kind envelope.BounceType) bool {
	if e.Sender.Null() || e.Flags&envelope.BounceMessage != 0 || e.Notify&envelope.NotifyNever != 0 {
		return false
	}
	notify := e.Notify
	if notify == 0 {
		notify = envelope.NotifyFailure | envelope.NotifyDelay
	}
	switch kind {
	case envelope.BounceFailed:
		return notify&envelope.NotifyFailure != 0
	case envelope.BounceDelayed:
		return notify&envelope.NotifyDelay != 0
	case envelope.BounceDelivered, envelope.BounceRelayed, envelope.BounceExpanded:
		return notify&envelope.NotifySuccess != 0
	}
	return false
}

// action is the Action field of a recipient (RFC 3464 section 2.3.3).
func (n *Notice) action(r *Recipient) string {
	switch {
	case n.Kind == envelope.BounceFailed:
		return "failed"
	case n.Kind == envelope.BounceDelayed:
		return "delayed"
	case r.Kind == envelope.BounceRelayed:
		return "relayed"
	case r.Kind == envelope.BounceExpanded:
		return "expanded"
	}
	return "delivered"
}

// subject is the word of the Subject: what all recipients have in common, or "delivered".
func (n *Notice) subject() string {
	word := n.action(&n.Recipients[0])
	for i := range n.Recipients {
		if n.action(&n.Recipients[i]) != word {
			return "delivered"
		}
	}
	return word
}

// expired reports whether the time of the recipient was over, and gives the last error.
func (r *Recipient) expired() (last string, yes bool) {
	if r.Text == expiredText {
		return "", true
	}
	return strings.CutPrefix(r.Text, expiredText+": ")
}

// printable makes text fit for a field of at most most octets: what is not printable
// ASCII becomes a question mark.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 4*most)])
	return strings.TrimSpace(s[:min(len(s), most)])
}

// unxtext undoes the encoding of RFC 3461 section 4. What is not xtext stays as it is.
func unxtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return s
		}
		high, low := hexDigit(s[i+1]), hexDigit(s[i+2])
		if high < 0 || low < 0 {
			return s
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	return b.String()
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
