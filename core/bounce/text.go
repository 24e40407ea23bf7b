package bounce

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/message"
)

// maxLine is the longest line of a message without its end, RFC 5322 section 2.1.1.
const maxLine = 998

// text is the part for people. Its lines "address: reply" are what programs have been
// reading that know nothing of the second part.
func (n *Notice) text(ret *returned) string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at host %s.\n", n.Host)
	b.WriteString("This notice was made by a program: please do not reply to it.\n\n")
	switch n.Kind {
	case envelope.BounceFailed:
		b.WriteString("Your message could not be delivered to the recipients below, and it\n" +
			"will not be tried again for them. What the receiving side said stands\n" +
			"after each address.\n\n")
	case envelope.BounceDelayed:
		b.WriteString("Your message has not been delivered yet to the recipients below")
		if n.Delay > 0 {
			b.WriteString(",\nalthough it has been tried for " + duration(n.Delay))
		}
		b.WriteString(".\n\nThis is only a warning: YOU DO NOT NEED TO SEND THE MESSAGE AGAIN.\n")
		if until := n.lastExpiry(); !until.IsZero() {
			fmt.Fprintf(&b, "It stays in the queue and is tried until %s.\n", until.Format(message.DateFormat))
		}
		b.WriteByte('\n')
	default:
		b.WriteString("As you asked to be told: your message was passed on for the recipients\n" +
			"below. \"Relayed\" means that it went to a server which does not confirm\n" +
			"the final delivery.\n\n")
	}
	for i := range n.Recipients {
		b.WriteString(n.line(&n.Recipients[i]))
	}
	if note := ret.note(); note != "" {
		b.WriteString("\n" + note + "\n")
	}
	return b.String()
}

// line is the line of one recipient.
func (n *Notice) line(r *Recipient) string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError || c >= 0x80 && c < 0xa0 {
			return '?'
		}
		return c
	}, r.Text[:min(len(r.Text), envelope.MaxErrorLine)])
	if text == "" {
		text = n.action(r)
	}
	if r.MTA != "" && n.Kind != envelope.BounceDelivered {
		text += " (said by " + printable(r.MTA, 255) + ")"
	}
	line := r.Final.String() + ": " + text
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "")
	}
	return line + "\n"
}

// lastExpiry is when the last of the recipients is given up.
func (n *Notice) lastExpiry() (last time.Time) {
	for i := range n.Recipients {
		if t := n.Recipients[i].Expires; t.After(last) {
			last = t
		}
	}
	return last
}

// duration says a length of time in the largest unit of which it is a multiple.
func duration(d time.Duration) string {
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	d = max(d.Truncate(time.Second), time.Second)
	for _, u := range units {
		if d%u.length == 0 {
			if count := d / u.length; count > 1 {
				return fmt.Sprintf("%d %ss", count, u.name)
			}
			return "1 " + u.name
		}
	}
	return d.String()
}
