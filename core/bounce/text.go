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
		n.delayed(&b)
	default:
		b.WriteString("As you asked to be told: your message was passed on for the recipients\n" +
			"below.\n\n")
	}
	for i := range n.Recipients {
		b.WriteString(n.line(&n.Recipients[i]))
	}
	for _, paragraph := range append(n.remarks(), ret.note()) {
		b.WriteString("\n" + paragraph + "\n")
	}
	return b.String()
}

func (n *Notice) delayed(b *strings.Builder) {
	b.WriteString("Your message has not been delivered yet to the recipients below")
	if n.Delay > 0 {
		b.WriteString(",\nalthough it has been tried for " + duration(n.Delay))
	}
	b.WriteString(".\n\nThis is only a warning: YOU DO NOT NEED TO SEND THE MESSAGE AGAIN.\n")
	if until := n.lastExpiry(); !until.IsZero() {
		fmt.Fprintf(b, "It stays in the queue and is tried until %s.\n", until.Format(message.DateFormat))
	}
	b.WriteByte('\n')
}

// line is the line of one recipient, and one more when it was reached through another
// address.
func (n *Notice) line(r *Recipient) string {
	text := strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == utf8.RuneError || c >= 0x80 && c < 0xa0 || c == 0x2028 || c == 0x2029 {
			return '?'
		}
		return c
	}, r.Text[:min(len(r.Text), envelope.MaxErrorLine)])
	success := n.Kind != envelope.BounceFailed && n.Kind != envelope.BounceDelayed
	if text == "" || success {
		text = n.action(r)
	}
	if r.MTA != "" && !success {
		text += " (said by " + printable(r.MTA, 255) + ")"
	}
	line := r.Final.String() + ": " + text
	if len(line) > maxLine {
		line = strings.ToValidUTF8(line[:maxLine], "")
	}
	if !r.Rcpt.Null() && r.Rcpt != r.Final {
		line += "\n    (reached through " + r.Rcpt.String() + ")"
	}
	return line + "\n"
}

// remarks are paragraphs about what the lines mean and what the sender can do, each once.
func (n *Notice) remarks() (list []string) {
	said := make(map[string]bool)
	for i := range n.Recipients {
		if text := n.remark(&n.Recipients[i]); text != "" && !said[text] {
			said[text] = true
			list = append(list, text)
		}
	}
	return list
}

// remark is the paragraph for one recipient, or "".
func (n *Notice) remark(r *Recipient) string {
	switch n.action(r) {
	case "failed":
		return n.advice(r)
	case "relayed":
		return "\"Relayed\" means that the message went to a server which does not confirm\n" +
			"the final delivery."
	case "expanded":
		return "\"Expanded\" means that the message went on to several addresses, whose\n" +
			"delivery is not confirmed."
	}
	return ""
}

// advice says what can be done about a failure.
func (n *Notice) advice(r *Recipient) string {
	if _, yes := r.expired(); yes {
		waited := "for long enough"
		if r.TTL > 0 {
			waited = "for " + duration(r.TTL)
		}
		return "\"Envelope expired\" means that delivery was tried " + waited + " without\n" +
			"success. The error after it is the last one. Send the message again later."
	}
	if r.EscClass != 5 {
		return ""
	}
	switch r.EscCode {
	case 101, 102, 103, 106, 110:
		return "An address is not known or does not take mail: check how it is written."
	case 202:
		return "A mailbox is full: send the message again later, or tell the recipient in\n" +
			"another way."
	case 203, 304:
		return "The message is too large for the recipient: send a smaller one."
	case 406:
		return "Mail for a recipient goes round in circles. The postmaster of the receiving\n" +
			"side has to mend that."
	}
	if r.EscCode/100 == 7 {
		return "The receiving side refuses the message by its rules. If you think that is\n" +
			"wrong, ask its postmaster."
	}
	return ""
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

// duration says a length of time in its largest unit and the next smaller one.
func duration(d time.Duration) string {
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
	d = max(d, time.Second)
	text := ""
	for _, u := range units {
		count := d / u.length
		d %= u.length
		switch second := text != ""; {
		case count == 0 && second:
			return text
		case count == 0:
			continue
		case second:
			return text + " " + counted(count, u.name)
		}
		text = counted(count, u.name)
	}
	return text
}

func counted(n time.Duration, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
