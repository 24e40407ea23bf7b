package daemon

import (
	"regexp"
	"strings"
	"testing"
)

const bareHeader = "bcc: eve\r\nSubject: gr\xfc\xdfe, größe\r\nFrom: ann\r\nTo: \"Joe\" <joe>,\r\n\tstaff: x;\r\n" +
	"Received: by old.example; Mon, 1 Jan 96 00:00:00\r\nReturn-Path: <x@y>\r\nX-Odd :\t \r\n\r\nbcc: body\r\n"

func headersOf(t *testing.T, options, sender string, to ...string) string {
	t.Helper()
	l := start(t, "listen on 127.0.0.1 port PORT hostname mx.example.org "+options+`
table joes { joe = joe, jo = joe }
action "local" maildir userbase <people> alias <joes>
match from any for domain "example.org" action "local"
`)
	l.mustSend(sender, to, bareHeader)
	for i := range to {
		l.log.wait(t, i, `mda delivery .* result=Ok`)
	}
	return l.maildir("joe")[0]
}

// Mail that others made gets Received in front of it and is otherwise what it was.
func TestHeadersOfOthers(t *testing.T) {
	got := headersOf(t, "tag FILTERED", "ann@example.net", "joe@example.org")
	_, rest, ok := strings.Cut(got, "\nReceived: ")
	at := strings.Index(rest, "\nbcc: eve\n")
	if !ok || at < 0 || rest[at+1:] != strings.ReplaceAll(bareHeader, "\r\n", "\n") {
		t.Fatalf("delivered:\n%q", got)
	}
	if !strings.Contains(rest[:at], "\tfor <joe@example.org>;") {
		t.Errorf("Received: %s", rest[:at])
	}
	if got := headersOf(t, "tag FILTERED", "ann@example.net", "joe@example.org", "jo@example.org"); strings.Contains(got, "\tfor <") {
		t.Errorf("one of two recipients is named:\n%s", got)
	}
}

var made = regexp.MustCompile(`(Date: )[^\n]+( \(UTC\)\n)|(Message-ID: <)[0-9a-f]{16}(@)`)

// What a program on this host left out is added, and Bcc is nobody's business. A field that
// has more than addresses in it stays.
func TestHeadersOfOurs(t *testing.T) {
	got := headersOf(t, "", "ann@example.net", "joe@example.org")
	_, rest, _ := strings.Cut(got, " (UTC)\n")
	want := "Subject: gr\xfc\xdfe, größe\nFrom: ann@mx.example.org\nTo: \"Joe\" <joe>,\n\tstaff: x;\n" +
		"Received: by old.example; Mon, 1 Jan 96 00:00:00\nReturn-Path: <x@y>\nX-Odd :\t \n" +
		"Date:  (UTC)\nMessage-ID: <@mx.example.org>\n\nbcc: body\n"
	if rest = made.ReplaceAllString(rest, "$1$2$3$4"); rest != want {
		t.Errorf("delivered:\n%q\nwant\n%q", rest, want)
	}
}
