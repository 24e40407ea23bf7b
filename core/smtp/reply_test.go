package smtp

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/message"
	"github.com/godwit-mta/godwit/core/trace"
)

// Whatever a backend puts into a reply, it is one reply of lines of limited length.
func TestReplyText(t *testing.T) {
	c := &Conn{cfg: testConfig(), t: trace.New(&lines{}).NewTrace()}
	c.appendReply(&gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{4, -1, 70000},
		Message: "one\r\n250 two\x00\x1b\xff\r" + strings.Repeat("x", 1000)})
	want := "550-5.0.999 one\r\n550 5.0.999 250 two???"
	if got := string(c.out); !strings.HasPrefix(got, want) || len(got) != len("550-5.0.999 one\r\n")+maxReplyLine {
		t.Errorf("%d octets: %q", len(got), got)
	}
	for i, line := range strings.SplitAfter(string(c.out), "\r\n") {
		if i < 2 && !strings.HasSuffix(line, "\r\n") || i == 2 && line != "" {
			t.Errorf("line %d is %q", i, line)
		}
	}
}

// What a backend may not say becomes a temporary failure.
func TestAnswer(t *testing.T) {
	c := &Conn{cfg: testConfig(), t: trace.New(&lines{}).NewTrace()}
	fine := reply(250, 0, 0, "Ok")
	for _, v := range []struct {
		err  error
		code int
	}{
		{nil, 250}, {errors.New("x"), 451}, {fmt.Errorf("wrapped: %w", &gosmtp.SMTPError{Code: 553}), 553},
		{&gosmtp.SMTPError{Code: 354}, 451}, {&gosmtp.SMTPError{Code: 99}, 451}, {&gosmtp.SMTPError{Code: 600}, 451},
		{&gosmtp.SMTPError{Code: 251}, 251},
	} {
		if r := c.answer(v.err, fine); r.Code != v.code {
			t.Errorf("%v: %d", v.err, r.Code)
		}
	}
}

func TestHeaderRefusal(t *testing.T) {
	for err, want := range map[error]string{
		message.ErrFormat:   "550 5.7.1",
		message.ErrLoop:     "554 5.4.6",
		message.ErrTooLarge: "552 5.3.4",
	} {
		r := HeaderRefusal(err)
		if got := string(appendReplyLine(nil, r, r.Message, false)); !strings.HasPrefix(got, want) {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"AUTH PLAIN AAAA": "AUTH PLAIN (...)", "auth login": "AUTH login", " AUTH  PLAIN  AAAA": "AUTH PLAIN (...)",
		"AUTH\tPLAIN\tAAAA": "AUTH PLAIN (...)", "AUTH =AAAA": "AUTH (...)", "AUTH c2VjcmV0": "AUTH (...)", "AUTH PLAIN\tAAAA": "AUTH PLAIN (...)", "AUTH scram-sha-256": "AUTH scram-sha-256", "AUTHOR x": "AUTHOR x", "AUTH": "AUTH",
		"MAIL FROM:<a@b> AUTH=<>": "MAIL FROM:<a@b> AUTH=<>",
	} {
		if got := mask(in); got != want {
			t.Errorf("%q is shown as %q", in, got)
		}
	}
}
