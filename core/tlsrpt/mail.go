package tlsrpt

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// mail gives a report as a message with LF line ends,
// https://www.rfc-editor.org/rfc/rfc8460#section-5.3
//
// It is to arrive whatever TLS with its own destination is like, which is what TLS-Required
// says. It ought to have a DKIM signature; that is made by who signs other mail.
func (s *Sender) mail(r *sealed, to address.Address, now time.Time) []byte {
	var b bytes.Buffer
	boundary := "report-" + rand.Text()
	fmt.Fprintf(&b, "From: %s\nTo: %s\nDate: %s\nMessage-ID: <%s>\n", s.Mail, to, now.Format(time.RFC1123Z), r.id)
	fmt.Fprintf(&b, "Subject: Report Domain: %s\n Submitter: %s\n Report-ID: <%s>\n", r.domain, s.Host, r.id)
	fmt.Fprintf(&b, "TLS-Report-Domain: %s\nTLS-Report-Submitter: %s\nTLS-Required: No\nAuto-Submitted: auto-generated\n", r.domain, s.Host)
	fmt.Fprintf(&b, "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=\"tlsrpt\";\n boundary=\"%s\"\n\n", boundary)
	fmt.Fprintf(&b, "--%s\nContent-Type: text/plain; charset=us-ascii\n\n", boundary)
	fmt.Fprintf(&b, "This is a report about TLS with the mail servers of\n%s\non %s (UTC), as RFC 8460 has it.\n\n", r.domain, r.start.Format(dayFormat))
	fmt.Fprintf(&b, "--%s\nContent-Type: application/tlsrpt+gzip\nContent-Transfer-Encoding: base64\n", boundary)
	fmt.Fprintf(&b, "Content-Disposition: attachment;\n filename=\"%s\"\n\n", r.name)
	text := base64.StdEncoding.EncodeToString(r.gzip)
	for len(text) > 0 {
		n := min(len(text), 76)
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	fmt.Fprintf(&b, "\n--%s--\n", boundary)
	return b.Bytes()
}
