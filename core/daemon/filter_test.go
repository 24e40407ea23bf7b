package daemon

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/filter"
)

// TestActAsFilter is the filter process of other tests: this program with arguments PHASE=ANSWER.
// It does nothing without them.
func TestActAsFilter(t *testing.T) {
	if flag.NArg() == 0 {
		return
	}
	answers := make(map[string]string)
	for _, arg := range flag.Args() {
		phase, answer, _ := strings.Cut(arg, "=")
		answers[phase] = answer
	}
	actAsFilter(os.Stdin, os.Stdout, answers)
	os.Exit(0)
}

func actAsFilter(r io.Reader, out io.Writer, answers map[string]string) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<17)
	for in.Scan() {
		f := strings.SplitN(in.Text(), "|", 8)
		switch {
		case in.Text() == "config|ready":
			for phase := range answers {
				fmt.Fprintf(out, "register|filter|smtp-in|%s\n", phase)
			}
			fmt.Fprintln(out, "register|ready")
		case f[0] != "filter":
		case answers[f[4]] == "die":
			os.Exit(3)
		case f[4] == filter.DataLine.String():
			line := f[7]
			if line == "." {
				line = answers[f[4]] + "\n" + "filter-dataline|" + f[5] + "|" + f[6] + "|."
			}
			fmt.Fprintf(out, "filter-dataline|%s|%s|%s\n", f[5], f[6], line)
		default:
			fmt.Fprintf(out, "filter-result|%s|%s|%s\n", f[5], f[6], answers[f[4]])
		}
	}
}

// filterConf is localConf with a filter that answers so.
func filterConf(t *testing.T, answers ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("filter f proc-exec \"%s -test.run=^TestActAsFilter$ -- '%s'\"\n", exe, strings.Join(answers, "' '")) +
		strings.Replace(localConf, "PORT", "PORT filter f", 1)
}

// TestFilters: what a filter process decides is carried out, and its end costs only the session.
func TestFilters(t *testing.T) {
	for answer, want := range map[string]string{
		"mail-from=reject|550 5.7.1 no":       "550",
		"rcpt-to=disconnect|451 later":        "451",
		"data=reject|554 no":                  "554",
		"commit=reject|552 5.7.1 no":          "552",
		"commit=die":                          "421",
		"data-line=die":                       "421",
		"data-line=footer":                    "hello\nfooter\n",
		"mail-from=rewrite|<bob@example.com>": "Return-Path: <bob@example.com>\n",
		"rcpt-to=rewrite|joe@example.org":     "Delivered-To: joe@example.org\n",
		"data=junk":                           "X-Spam: Yes\nReceived: ",
		"ehlo=junk":                           "X-Spam: Yes\nReceived: ",
		"ehlo=rewrite|other.example":          "Received: from other.example (",
		"rcpt-to=report|seen":                 "Subject: x",
		"connect=proceed":                     "Subject: x",
	} {
		l := start(t, filterConf(t, answer))
		rcpt := "joe@example.org"
		if strings.Contains(answer, "rewrite|joe") {
			rcpt = "nobody@example.org"
		}
		err := l.send("ann@example.net", []string{rcpt}, "Subject: x\r\n\r\nhello\r\n")
		var reply *gosmtp.SMTPError
		if want[0] < '6' {
			if !errors.As(err, &reply) || fmt.Sprint(reply.Code) != want {
				t.Errorf("%s: %v", answer, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", answer, err)
			continue
		}
		l.log.wait(t, 0, `mda delivery .* result=Ok`)
		if got := l.maildir("joe"); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", answer, got)
		}
	}
}

// TestFilterConnect: a client that is refused before the banner gets nothing else.
func TestFilterConnect(t *testing.T) {
	l := start(t, filterConf(t, "connect=reject|554 5.7.1 go away"))
	conn, err := net.Dial("tcp", l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if said, err := io.ReadAll(conn); string(said) != "554 5.7.1 go away\r\n" {
		t.Errorf("%q, %v", said, err)
	}
}

// TestFilterSet: processes live as long as the sessions that have them.
func TestFilterSet(t *testing.T) {
	s := new(filterSet)
	for range 2 {
		if !s.hold() {
			t.Fatal("cannot be used")
		}
	}
	s.release()
	s.retire()
	if !s.hold() { // a session of the old configuration that was just accepted
		t.Error("cannot be used by one more while it is in use")
	}
	s.release()
	s.release()
	if s.hold() {
		t.Error("can be used after its end")
	}
	var none *filterSet
	none.retire()
	none.close()
	if !none.hold() || none.chain("f") != nil {
		t.Error("no filters are a hindrance")
	}
	none.release()
}
