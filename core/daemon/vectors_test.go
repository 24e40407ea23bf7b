package daemon

import (
	"fmt"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// B13: who is named a thousand times gets the message once; who is named with wishes of his own
// is not mixed up with anybody.
func TestSameRecipient(t *testing.T) {
	l := start(t, localConf)
	to := make([]string, 1000)
	for i := range to {
		to[i] = "joe@example.org"
	}
	l.mustSend("s@example.net", to, "Subject: once\r\n\r\n")
	l.log.wait(t, 0, `smtp message msgid=[0-9a-f]{8} size=\d+ nrcpt=1 `)
	l.queue(0)
	if got := l.maildir("joe"); len(got) != 1 {
		t.Errorf("%d messages", len(got))
	}
	c, err := gosmtp.Dial(l.addr)
	if err == nil {
		defer c.Close()
		err = c.Mail("s@example.net", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	never := &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyNever}}
	for _, opts := range []*gosmtp.RcptOptions{never, nil, nil} {
		if err := c.Rcpt("joe@example.org", opts); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Rcpt("nobody@example.org", nil); code(err) != 550 {
		t.Errorf("%v", err)
	}
	w, err := c.Data()
	if err == nil {
		_, _ = w.Write([]byte("Subject: thrice\r\n\r\n"))
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	l.log.wait(t, 0, `smtp message msgid=[0-9a-f]{8} size=\d+ nrcpt=3 `)
	l.queue(0)
}

// B10, B14: mail with the null sender, or with NOTIFY=NEVER, to an alias with members elsewhere
// who are refused there makes no mail to anybody; that of others makes one notice for all.
func TestNoBackscatter(t *testing.T) {
	s, port := startSink(t, func(string) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	var members strings.Builder
	for i := range 200 {
		fmt.Fprintf(&members, "m%d@far.example, ", i)
	}
	l := start(t, fmt.Sprintf(`
table aliases { list = "%s joe" }
listen on 127.0.0.1 port PORT
action "local" maildir userbase <people> alias <aliases>
action "out" relay host "smtp://127.0.0.1:%d"
match from any for domain "example.org" action "local"
match for any action "out"
`, members.String(), port))
	l.submit("", nil, nil, "list@example.org")
	l.log.wait(t, 0, `warn: queue: no return path! .*200 recipients|warn: queue: no return path! .* to=<m\d+@far.example>`)
	l.queue(0)
	l.submit("s@example.net", nil, &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifyNever}}, "list@example.org")
	l.queue(0)
	if l.log.has("info: notice ") || len(s.messages()) > 0 {
		t.Error("there was a notice")
	}
	from := l.log.len()
	l.submit("joe@example.org", nil, nil, "list@example.org")
	l.log.wait(t, from, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	l.queue(0)
	if got := l.maildir("joe"); len(got) != 4 {
		t.Errorf("%d messages, want three of the list and a notice", len(got))
	}
}
