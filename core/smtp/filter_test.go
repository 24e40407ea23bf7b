package smtp

import (
	"bufio"
	"context"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// rewriting is a session that changes what commands are about, as a map from the verb and
// the argument says.
type rewriting struct {
	*sampleSession
	c  *Conn
	to map[string]string
}

func (s rewriting) Filter(verb, arg string) (string, error) {
	to, ok := s.to[verb+" "+arg]
	switch {
	case !ok:
		return arg, nil
	case to == "hang":
		s.c.Hang("filter")
		return "", reply(550, 7, 1, "Go away")
	case strings.HasPrefix(to, "550 "):
		return "", reply(550, 7, 1, to[4:])
	}
	return to, nil
}

func (s rewriting) Mail(from string, _ *gosmtp.MailOptions) error {
	return plainReply(250, strings.TrimSpace("from "+from))
}

func (s rewriting) Rcpt(to string, _ *gosmtp.RcptOptions) error { return plainReply(250, "to "+to) }

// TestFilter: what a filter makes of a command is carried out, and checked like what a client says.
func TestFilter(t *testing.T) {
	to := map[string]string{"EHLO a.example": "b.example", "EHLO bad.example": "b@d", "HELO no.example": "550 no",
		"MAIL a@x.example": "b@y.example", "MAIL c@x.example": "<d@y.example> BODY=8BITMIME", "MAIL null@x.example": "<>", "MAIL bad@x.example": "b@@d",
		"MAIL worse@x.example": "<bad", "MAIL no@x.example": "550 no", "MAIL utf@x.example": "\xc3\xa9@x.example",
		"RCPT a@x.example": "b@y.example", "RCPT null@x.example": "", "RCPT no@x.example": "550 no", "RCPT bye@x.example": "hang"}
	for dialog, want := range map[string]string{
		"EHLO a.example":                                   "250-",
		"EHLO bad.example":                                 "501 ",
		"HELO no.example":                                  "550 5.7.1 no",
		"MAIL FROM:<a@x.example> SIZE=5":                   "250 from b@y.example",
		"MAIL FROM:<c@x.example> SIZE=5":                   "250 from d@y.example",
		"MAIL FROM:<null@x.example>":                       "250 from",
		"MAIL FROM:<bad@x.example>":                        "553 ",
		"MAIL FROM:<worse@x.example>":                      "553 ",
		"MAIL FROM:<no@x.example>":                         "550 5.7.1 no",
		"MAIL FROM:<utf@x.example>":                        "550 5.6.7",
		"MAIL FROM:<o@x.example>|RCPT TO:<a@x.example>":    "250 to b@y.example",
		"MAIL FROM:<o@x.example>|RCPT TO:<null@x.example>": "501 5.1.3",
		"MAIL FROM:<o@x.example>|RCPT TO:<no@x.example>":   "550 5.7.1 no",
		"MAIL FROM:<o@x.example>|RCPT TO:<bye@x.example>":  "550 5.7.1 Go away closed",
	} {
		b := new(sample)
		s := start(t, context.Background(), testConfig(), backendFunc(func(c *Conn) (gosmtp.Session, error) {
			made, err := b.NewSession(c)
			return rewriting{made.(*sampleSession), c, to}, err
		}), testPeer())
		r := bufio.NewReader(s)
		readLine(t, r, "220")
		if !strings.HasPrefix(dialog, "EHLO") {
			dialog = "HELO o.example|" + dialog
		}
		last := ""
		for line := range strings.SplitSeq(dialog, "|") {
			send(t, s, line+"\r\n")
			var err error
			if last, err = r.ReadString('\n'); err != nil {
				t.Fatal(dialog, err)
			}
		}
		got := strings.TrimSpace(last)
		if strings.HasSuffix(want, " closed") {
			if _, err := r.ReadString('\n'); err != nil {
				got += " closed"
			}
		}
		if !strings.HasPrefix(got, want) || strings.HasPrefix(want, "250 ") && got != want {
			t.Errorf("%s: %q, want %q", dialog, got, want)
		}
	}
}
