package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/control"
)

func busySink(t *testing.T) int {
	_, port := startSink(t, func(string) error {
		return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 7, 1}, Message: "come back later"}
	})
	return port
}

// The sender of a message that waits for long is told once, and the message stays.
func TestDelayNotice(t *testing.T) {
	l := start(t, "bounce warn-interval 1s\n"+relayConf(busySink(t)))
	l.mustSend("joe@example.org", []string{"a@b.example"}, "Subject: slow\r\n\r\n")
	l.log.wait(t, 0, `mta delivery .* result="TempFail"`)
	for !l.log.has("info: notice ") { // every attempt after the first second may tell
		from := l.log.len()
		var n control.Count
		if err := l.ask(control.Request{Op: control.Schedule}, &n); err != nil {
			t.Fatal(err)
		}
		if n.N > 0 { // otherwise the last attempt is not settled yet
			l.log.wait(t, from, `mta delivery .* result="TempFail"|info: notice `)
		}
	}
	l.log.wait(t, 0, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	got := l.maildir("joe")
	if len(got) != 1 {
		t.Fatalf("%d notices", len(got))
	}
	for _, want := range []string{"Action: delayed", "Will-Retry-Until: ", "a@b.example", "451 4.7.1"} {
		if !strings.Contains(got[0], want) {
			t.Errorf("no %q in:\n%s", want, got[0])
		}
	}
	l.queue(1)
}

// What cannot be delivered in its time goes back to the sender.
func TestExpiry(t *testing.T) {
	l := start(t, localConf+fmt.Sprintf(`
action "out" relay host "smtp://127.0.0.1:%d" ttl 1s
match from any for any action "out"
`, busySink(t)))
	l.mustSend("joe@example.org", []string{"a@b.example"}, "Subject: late\r\n\r\n")
	l.log.wait(t, 0, `^relay: Expire for [0-9a-f]{16}: from=<joe@example.org>, to=<a@b.example>, rcpt=<a@b.example>, delay=\d+s, stat=451 4.7.1 come back later$`)
	l.log.wait(t, 0, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	got := l.maildir("joe")
	if len(got) != 1 || !strings.Contains(got[0], "Status: 5.4.7") || !strings.Contains(got[0], "Action: failed") ||
		!strings.Contains(got[0], "Remote-MTA: dns; ") || !strings.Contains(got[0], "Last-Attempt-Date: ") {
		t.Errorf("notices: %q", got)
	}
	l.queue(0)
}

// No part of an address ever becomes text of a shell, raw or not; what a command needs as
// it is stands in its environment.
func TestCommandsGetValuesNotText(t *testing.T) {
	l := start(t, `
listen on 127.0.0.1 port PORT
action "run" mda "cat >/dev/null; printf '%s %s' \"$SENDER\" %{sender:raw} >DIR/got" userbase <people>
match from any for domain "example.org" action "run"
`)
	sender := "`touch${IFS}owned`@example.net"
	l.mustSend(sender, []string{"joe@example.org"}, "x: y\r\n\r\n")
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	got, err := os.ReadFile(filepath.Join(l.dir, "got"))
	if err != nil {
		t.Fatal(err)
	}
	env, arg, _ := strings.Cut(string(got), " ")
	if env != sender || strings.ContainsAny(arg, "`${}") || !strings.HasSuffix(arg, "@example.net") {
		t.Errorf("the command got %q", got)
	}
	if _, err := os.Stat("owned"); err == nil {
		t.Error("an address was run by a shell")
	}
}

// Nobody is told about what the administrator removed, even when it was being tried.
func TestRemovedInFlight(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	_, port := startSink(t, func(string) error {
		close(asked)
		<-release
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	l := start(t, relayConf(port))
	l.mustSend("joe@example.org", []string{"a@b.example"}, "Subject: gone\r\n\r\n")
	<-asked
	var n control.Count
	if err := l.ask(control.Request{Op: control.Remove}, &n); err != nil || n.N != 1 {
		t.Fatalf("removed %d: %v", n.N, err)
	}
	close(release)
	l.log.wait(t, 0, `mta delivery .* result="PermFail"`)
	l.queue(0)
	l.log.mu.Lock()
	defer l.log.mu.Unlock()
	for _, line := range l.log.lines {
		if strings.Contains(line, "notice") {
			t.Error(line)
		}
	}
}
