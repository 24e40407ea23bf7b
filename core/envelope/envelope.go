// Package envelope holds a recipient with its fate: who sent what to whom, how it is
// to be delivered, and what happened to it so far. It also holds the text form in
// which envelopes lie in the queue.
package envelope

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// MessageID names a message in the queue. It is never zero and is written as 8
// hexadecimal digits.
type MessageID uint32

// ID names an envelope: the message in the upper, a random number other than zero in the
// lower 32 bits. It is written as 16 hexadecimal digits.
type ID uint64

// NewID joins a message and a number inside it.
func NewID(msg MessageID, n uint32) ID { return ID(msg)<<32 | ID(n) }

// Message gives the message of an envelope.
func (id ID) Message() MessageID { return MessageID(id >> 32) }

func (id ID) String() string { return string(id.Append(make([]byte, 0, 16))) }

// Append appends the 16 digits.
func (id ID) Append(b []byte) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(id))
	return hex.AppendEncode(b, raw[:])
}

func (id MessageID) String() string {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(id))
	return hex.EncodeToString(b[:])
}

// ParseID reads exactly 16 hexadecimal digits.
func ParseID(s string) (ID, error) {
	n, err := parseHex(s, 16)
	if err != nil || n>>32 == 0 || uint32(n) == 0 {
		return 0, fmt.Errorf("invalid envelope id %q", s)
	}
	return ID(n), nil
}

// ParseMessageID reads exactly 8 hexadecimal digits.
func ParseMessageID(s string) (MessageID, error) {
	n, err := parseHex(s, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("invalid message id %q", s)
	}
	return MessageID(n), nil
}

func parseHex(s string, digits int) (uint64, error) {
	if len(s) != digits {
		return 0, strconv.ErrSyntax
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseUint(s, 16, 64)
}

// Type says what is done with an envelope.
type Type uint8

// The types, as smtpd.conf(5) and the queue files name them.
const (
	MDA    Type = iota + 1 // delivered on this host
	MTA                    // relayed
	Bounce                 // a notice to the sender is to be made from it
)

// Flags of an envelope.
type Flags uint8

// The flags, written in the queue files as "authenticated bounce internal tls suspend smtputf8
// requiretls tls-optional".
const (
	Authenticated Flags = 1 << iota // the session was authenticated or local
	BounceMessage                   // the message is itself a notice
	Internal                        // made by expansion: rules see it as from local
	TLS                             // the message came over TLS
	Suspended                       // not to be tried until somebody says otherwise
	SMTPUTF8                        // the message came with SMTPUTF8 (RFC 6531)
	RequireTLS                      // it must not travel without verified TLS (RFC 8689)
	TLSOptional                     // its header says TLS-Required: No
)

// Notify is the NOTIFY parameter of RFC 3461 section 4.1 as a bit mask.
type Notify uint8

// The bits of Notify, with the numbers that the queue files use.
const (
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	NotifyNever
)

// BounceType says which notice an envelope of type Bounce stands for.
type BounceType uint8

// The notices. The last three are of success and go together in one.
const (
	BounceFailed BounceType = iota + 1
	BounceDelayed
	BounceDelivered
	BounceRelayed  // to a server that tells nothing more
	BounceExpanded // it became several recipients, none of which tells more
)

// Envelope is one recipient of one message.
type Envelope struct {
	ID         ID
	Dispatcher string // name of the action in smtpd.conf
	Tag        string // of the listener
	Type       Type
	SMTPName   string // host name of the listener
	Helo       string
	Hostname   string // verified name of the client, or its address
	Username   string // of an authenticated session
	Sockaddr   string // address of the client as text, or "local"
	Sender     address.Address
	Rcpt       address.Address // as the client gave it
	Dest       address.Address // after expansion
	Created    time.Time       // whole seconds
	LastTry    time.Time       // zero: never
	LastBounce time.Time       // when the last delay notice was sent, of a Bounce when it was asked for; zero: never
	TTL        time.Duration   // whole seconds from Created
	Retry      int             // attempts so far
	Flags      Flags
	Notify     Notify
	Ret        string // "", "FULL" or "HDRS"
	EnvID      string // xtext, as received
	ORcpt      string // type;xtext, as received

	ErrorLine string // last failure, at most MaxErrorLine octets, printable
	Remote    string // name of the server that said it, "" when none did
	EscClass  uint8  // enhanced status of the last failure (RFC 3463): 4 or 5
	EscCode   uint16 // subject*100 + detail of the enhanced status

	MDAUser       string // system user who gets the delivery
	MDASubaddress string // "detail" of user+detail
	MDAExec       string // set for pipes ("|command") and files ("/path") of aliases

	BounceType  BounceType
	BounceTTL   time.Duration // delayed: how long it will still be tried
	BounceDelay time.Duration // delayed: how long it has been tried
	Notice      MessageID     // the message that the notice is about to become, or 0

	Other string // the lines "field: value" that this version does not know
}

// Expires gives the time after which no attempt is made any more.
func (e *Envelope) Expires() time.Time { return e.Created.Add(e.TTL) }

// Status is the outcome of one attempt for one recipient.
type Status uint8

// The outcomes.
const (
	Delivered Status = iota + 1
	TempFail
	PermFail
	Loop // permanent: the message came back to where it had been
)

// Result is what became of one envelope in one attempt.
type Result struct {
	ID       ID
	Status   Status
	Text     string // reply of the server or the last words of the agent; printable
	EscClass uint8  // of Text, or 0 when it has none: 2, 4 or 5
	EscCode  uint16 // subject*100 + detail
	MTA      string // name of the server that said it, for the notice; "" when local
	NoDSN    bool   // delivered to a server that does not know DSN (RFC 3461 section 6.2.2)

	// Unreached: the attempt ended before a server was asked, for all that go the same way.
	Unreached bool
	Final     bool // delivered to where mail ends, by LMTP
}
