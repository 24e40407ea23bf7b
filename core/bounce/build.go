package bounce

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/message"
)

// Errors of Build that do not come from its reader or writer.
var (
	ErrNoSender    = errors.New("a notice to the null sender")
	ErrNoRecipient = errors.New("a notice about no recipient")
)

// Build writes the notice with LF line ends. It reads from original, the message as it is
// stored, no more than it returns of it; nil means that the message is lost.
func Build(w io.Writer, n *Notice, original io.Reader) error {
	if n.To.Null() {
		return ErrNoSender
	}
	if len(n.Recipients) == 0 {
		return ErrNoRecipient
	}
	var ret returned
	if original != nil {
		var err error
		if ret, err = readOriginal(original, n.maxFull()); err != nil {
			return err
		}
	}
	out := &writer{Writer: bufio.NewWriter(w), boundary: "=_" + rand.Text()}
	text := n.text(&ret)
	out.header(n, has8bit(text) || ret.eightBit)
	out.part("Notification", "text/plain; charset=utf-8", has8bit(text))
	out.WriteString(text)
	out.part("Delivery report", "message/delivery-status", false)
	out.status(n)
	if ret.data != nil {
		out.part(ret.description(), ret.contentType(n.UTF8), ret.eightBit)
		out.Write(ret.data)
	}
	fmt.Fprintf(out, "\n--%s--\n", out.boundary)
	return out.Flush()
}

// maxFull gives the octets of the largest message that is returned whole, -1 when none is:
// RET speaks of failures only (RFC 3461 section 4.3).
func (n *Notice) maxFull() int64 {
	if !n.Full || n.Kind != envelope.BounceFailed {
		return -1
	}
	return n.MaxFull
}

// writer keeps the first error until Flush, as bufio does.
type writer struct {
	*bufio.Writer
	boundary string
}

func (w *writer) field(name, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s: %s\n", name, value)
	}
}

func (w *writer) date(name string, t time.Time) {
	if !t.IsZero() {
		w.field(name, t.Format(message.DateFormat))
	}
}

func (w *writer) encoding(eightBit bool) {
	if eightBit {
		w.field("Content-Transfer-Encoding", "8bit")
	}
}

func (w *writer) header(n *Notice, eightBit bool) {
	w.field("Subject", "Delivery status notification: "+n.subject())
	w.field("From", "Mailer Daemon <MAILER-DAEMON@"+n.Host+">")
	w.field("To", n.To.String())
	w.date("Date", n.Date)
	w.field("Message-ID", "<"+strings.ToLower(rand.Text())+"@"+n.Host+">")
	w.field("Auto-Submitted", "auto-replied") // RFC 3834 section 5
	w.field("MIME-Version", "1.0")
	w.field("Content-Type", "multipart/report; report-type=delivery-status;\n\tboundary=\""+w.boundary+`"`)
	w.encoding(eightBit)
	w.WriteString("\nThis is a delivery status notification in MIME format.\n")
}

func (w *writer) part(description, contentType string, eightBit bool) {
	fmt.Fprintf(w, "\n--%s\n", w.boundary)
	w.field("Content-Description", description)
	w.field("Content-Type", contentType)
	w.encoding(eightBit)
	w.WriteByte('\n')
}

// maxField bounds the value of a field, so that its line stays below the 998 octets of
// RFC 5322 section 2.1.1.
const maxField = 900

// status writes the fields of https://www.rfc-editor.org/rfc/rfc3464#section-2.2 and 2.3.
func (w *writer) status(n *Notice) {
	w.field("Reporting-MTA", "dns; "+n.Host)
	w.field("Original-Envelope-Id", printable(unxtext(n.EnvID), maxField))
	w.date("Arrival-Date", n.Arrival)
	for i := range n.Recipients {
		r := &n.Recipients[i]
		w.WriteByte('\n')
		w.field("Original-Recipient", r.original())
		w.field("Final-Recipient", typed(r.Final))
		w.field("Action", n.action(r))
		w.field("Status", n.statusCode(r))
		if r.MTA != "" {
			w.field("Remote-MTA", "dns; "+printable(r.MTA, 255))
		}
		last, _ := r.expired()
		if text := printable(last, maxField); text != "" {
			w.field("Diagnostic-Code", diagnosticType(text)+"; "+text)
		}
		w.date("Last-Attempt-Date", r.LastTry)
		if n.Kind == envelope.BounceDelayed {
			w.date("Will-Retry-Until", r.Expires)
		}
	}
}

// original is ORCPT, without which there must be no such field
// (https://www.rfc-editor.org/rfc/rfc3461#section-6.3).
func (r *Recipient) original() string {
	if kind, value, ok := strings.Cut(r.ORcpt, ";"); ok {
		return printable(kind, 64) + "; " + printable(unxtext(value), maxField)
	}
	return ""
}

// typed gives an address with its type, in ASCII as message/delivery-status wants it
// (https://www.rfc-editor.org/rfc/rfc6533#section-3).
func typed(a address.Address) string {
	if a.International() {
		return "utf-8; " + address.EmbedUnicode(a.String())
	}
	return "rfc822; " + a.String()
}

// statusCode is the enhanced status of the recipient, or the general one of the action when
// it has none that agrees with it.
func (n *Notice) statusCode(r *Recipient) string {
	class := uint8(2)
	switch n.Kind {
	case envelope.BounceFailed:
		class = 5
	case envelope.BounceDelayed:
		class = 4
	}
	if r.EscClass != class {
		return fmt.Sprintf("%d.0.0", class)
	}
	return fmt.Sprintf("%d.%d.%d", class, r.EscCode/100, r.EscCode%100)
}

// diagnosticType is smtp for an SMTP reply and a private type for the words of this
// server or of a program (RFC 3464 section 2.3.6).
func diagnosticType(text string) string {
	if len(text) > 3 && text[0] >= '2' && text[0] <= '5' && digit(text[1]) && digit(text[2]) &&
		(text[3] == ' ' || text[3] == '-') {
		return "smtp"
	}
	return "x-local"
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func has8bit[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return true
		}
	}
	return false
}
