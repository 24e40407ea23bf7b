package daemon

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/trace"
)

func TestGathering(t *testing.T) {
	var g gathering
	key := func(m int, group string) gatherKey { return gatherKey{envelope.MessageID(m), group} }
	now := time.Now()
	first := g.join(key(1, "failed"), now)
	if first != now.Add(noticeGather) {
		t.Errorf("the first waits %s", first.Sub(now))
	}
	if at := g.join(key(1, "failed"), now.Add(noticeGather-1)); at != first {
		t.Error("the second does not join the first")
	}
	if g.join(key(1, "delayed 4h0m0s"), now.Add(1)) == first || g.join(key(2, "failed"), now.Add(1)) == first {
		t.Error("another notice was joined")
	}
	if at := g.join(key(1, "failed"), first); at != first.Add(noticeGather) {
		t.Error("one that is late joins a notice that was made")
	}
	if g.join(key(3, "failed"), now.Add(time.Hour)); len(g.until) != 1 {
		t.Errorf("%d notices are remembered", len(g.until))
	}
}

// judged gives what becomes of an envelope: the notices that follow, and whether it stays.
func judged(t *testing.T, e *envelope.Envelope, r envelope.Result) (notices string, stays bool) {
	t.Helper()
	q := newQueue(&member{log: trace.New(&watch{more: make(chan struct{})})}, "")
	q.sched = scheduler.New(scheduler.Limits{}, time.Now)
	q.cfg.Store(&queueSettings{queueConfig: queueConfig{WarnIntervals: []time.Duration{time.Hour}}})
	var out outcome
	e.ID, r.ID = envelope.NewID(1, 1), envelope.NewID(1, 1)
	q.judge(&out, e, &r)
	for _, c := range out.changes {
		switch {
		case c.Op == queue.Remove:
		case c.Envelope.Type == envelope.Bounce:
			notices += c.Envelope.BounceType.String()
			if c.Envelope.LastBounce.IsZero() || c.Envelope.Retry != 0 || c.Op == queue.Update && c.Envelope.ID != e.ID {
				t.Errorf("%+v", c.Envelope)
			}
		default:
			stays = true
		}
	}
	return notices, stays
}

// What a sender is told, for each thing that can be asked for and each fate.
func TestNotifyAndOutcome(t *testing.T) {
	old := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	fates := []struct {
		name   string
		kind   envelope.Type
		result envelope.Result
	}{
		{"delivered", envelope.MDA, envelope.Result{Status: envelope.Delivered}},
		{"by LMTP", envelope.MTA, envelope.Result{Status: envelope.Delivered, NoDSN: true, Final: true}},
		{"relayed", envelope.MTA, envelope.Result{Status: envelope.Delivered, NoDSN: true}},
		{"handed on", envelope.MTA, envelope.Result{Status: envelope.Delivered}},
		{"failed", envelope.MTA, envelope.Result{Status: envelope.PermFail, EscClass: 5}},
		{"loop", envelope.MDA, envelope.Result{Status: envelope.Loop}},
		{"late", envelope.MTA, envelope.Result{Status: envelope.TempFail, EscClass: 4}},
	}
	const s, f, d, never = envelope.NotifySuccess, envelope.NotifyFailure, envelope.NotifyDelay, envelope.NotifyNever
	wants := []struct {
		notify envelope.Notify
		want   string // one word for each fate
	}{
		{0, "- - - - failed failed delayed"},
		{never, "- - - - - - -"},
		{s, "delivered delivered relayed - - - -"},
		{f, "- - - - failed failed -"},
		{d, "- - - - - - delayed"},
		{s | f | d, "delivered delivered relayed - failed failed delayed"},
	}
	for _, sender := range []address.Address{{Local: "a", Domain: "b.example"}, {}} {
		for _, w := range wants {
			for i, word := range strings.Fields(w.want) {
				e := &envelope.Envelope{Type: fates[i].kind, Sender: sender, Notify: w.notify, Created: old, TTL: 24 * time.Hour}
				if word == "-" || sender.Null() {
					word = ""
				}
				got, stays := judged(t, e, fates[i].result)
				if got != word || stays != (fates[i].name == "late") {
					t.Errorf("from=<%s> notify=%d %s: told %q, want %q; stays: %v", sender, w.notify, fates[i].name, got, word, stays)
				}
			}
		}
	}
}

// A delay is told once for each interval, at the attempt that is made at its end.
func TestWarnIntervals(t *testing.T) {
	q := &queueRole{}
	q.cfg.Store(&queueSettings{queueConfig: queueConfig{WarnIntervals: []time.Duration{4 * time.Hour, time.Hour}}})
	e := &envelope.Envelope{Sender: address.Address{Local: "a", Domain: "b.example"}, Created: time.Now().Truncate(time.Second)}
	for _, tt := range []struct{ age, told, want time.Duration }{
		{time.Hour - time.Second, 0, 0},
		{time.Hour, 0, time.Hour},
		{2 * time.Hour, time.Hour, 0},
		{5 * time.Hour, time.Hour, 4 * time.Hour},
		{5 * time.Hour, 0, 4 * time.Hour},
		{6 * time.Hour, 5 * time.Hour, 0},
	} {
		e.LastTry, e.LastBounce = e.Created.Add(tt.age), time.Time{}
		if tt.told > 0 {
			e.LastBounce = e.Created.Add(tt.told)
		}
		if got := q.delayDue(e); got != tt.want {
			t.Errorf("after %s, told after %s: %s, want %s", tt.age, tt.told, got, tt.want)
		}
	}
	next := e.Created.Add(90 * time.Minute)
	e.LastBounce = time.Time{}
	if at := q.beforeWarning(e, next); !at.Equal(e.Created.Add(time.Hour)) {
		t.Errorf("the next attempt is after %s", at.Sub(e.Created))
	}
	if near := e.Created.Add(time.Minute); !q.beforeWarning(e, near).Equal(near) {
		t.Error("an attempt before the warning was moved")
	}
	if e.Notify = envelope.NotifyFailure; !q.beforeWarning(e, next).Equal(next) {
		t.Error("an attempt was moved for nobody")
	}
}

// crashed makes the spool of a daemon that ended while it made a notice: the message whose
// sender is to be told, and with noticed also the notice.
func (l *lab) crashed(noticed bool) {
	l.t.Helper()
	spool := filepath.Join(l.dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		l.t.Fatal(err)
	}
	store, err := queue.OpenFS(spool, queue.Options{}, trace.New(l.log))
	if err != nil {
		l.t.Fatal(err)
	}
	ids, err := store.Reserve(2)
	if err != nil {
		l.t.Fatal(err)
	}
	joe := address.Address{Local: "joe", Domain: "example.org"}
	now := time.Unix(time.Now().Unix(), 0)
	asks := &envelope.Envelope{ID: envelope.NewID(ids[0], 1), Type: envelope.Bounce, BounceType: envelope.BounceFailed, Dispatcher: "local",
		Sender: joe, Rcpt: address.Address{Local: "no", Domain: "b.example"}, Dest: address.Address{Local: "no", Domain: "b.example"},
		Created: now.Add(-72 * time.Hour), LastTry: now, LastBounce: now, TTL: 96 * time.Hour, Notice: ids[1], ErrorLine: "550 no"}
	notice := &envelope.Envelope{ID: envelope.NewID(ids[1], 1), Type: envelope.MDA, Dispatcher: "local", MDAUser: "joe", Flags: envelope.BounceMessage,
		Rcpt: joe, Dest: joe, Created: now, TTL: 96 * time.Hour}
	messages := []*queue.Message{{ID: ids[0], Body: []byte("Subject: lost\n\n"), Envelopes: []*envelope.Envelope{asks}}}
	if noticed {
		messages = append(messages, &queue.Message{ID: ids[1], Body: []byte("Subject: notice\n\nlost\n"), Envelopes: []*envelope.Envelope{notice}})
	}
	for _, m := range messages {
		if err := store.Commit(m); err != nil {
			l.t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// A crash at any moment while a notice is made leads to one notice: no second one, and no
// lost one.
func TestNoticeAfterCrash(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		l := newLab(t, nil, localConf)
		l.crashed(noticed)
		l.begin()
		l.log.wait(t, 0, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
		l.queue(0)
		got := l.maildir("joe")
		if len(got) != 1 || !strings.Contains(got[0], "lost") {
			t.Errorf("notice was there: %v; now %d: %q", noticed, len(got), got)
		}
		if made := l.log.has("info: notice "); made == noticed {
			t.Errorf("notice was there: %v, made: %v", noticed, made)
		}
	}
}

// dsnSink is a next hop that knows DSN and keeps what it is asked for.
type dsnSink struct{ said chan string }

func (s *dsnSink) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return s, nil }
func (s *dsnSink) Reset()                                          {}
func (s *dsnSink) Logout() error                                   { return nil }
func (s *dsnSink) Mail(_ string, o *gosmtp.MailOptions) error {
	s.said <- fmt.Sprintf("RET=%s ENVID=%s", o.Return, o.EnvelopeID)
	return nil
}
func (s *dsnSink) Rcpt(_ string, o *gosmtp.RcptOptions) error {
	s.said <- fmt.Sprintf("NOTIFY=%v ORCPT=%s;%s", o.Notify, o.OriginalRecipientType, o.OriginalRecipient)
	return nil
}
func (s *dsnSink) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func startDSNSink(t *testing.T) (*dsnSink, int) {
	s := &dsnSink{said: make(chan string, 16)}
	server := gosmtp.NewServer(s)
	server.EnableDSN = true
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(nl) }()
	t.Cleanup(func() { server.Close() })
	return s, nl.Addr().(*net.TCPAddr).Port
}

// submit sends a short message with DSN parameters.
func (l *lab) submit(from string, mail *gosmtp.MailOptions, rcpt *gosmtp.RcptOptions, to ...string) {
	l.t.Helper()
	l.submitText("Subject: asked\n\nthe text\n", from, mail, rcpt, to...)
}

func (l *lab) submitText(text, from string, mail *gosmtp.MailOptions, rcpt *gosmtp.RcptOptions, to ...string) {
	l.t.Helper()
	c, err := gosmtp.Dial(l.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	err = c.Mail(from, mail)
	for _, a := range to {
		err = errors.Join(err, c.Rcpt(a, rcpt))
	}
	if err != nil {
		l.t.Fatal(err)
	}
	w, err := c.Data()
	if err == nil {
		_, err = io.WriteString(w, strings.ReplaceAll(text, "\n", "\r\n"))
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// notices waits until the notices that a user got name n recipients, and the queue is empty.
func (l *lab) notices(user string, n int) []string {
	l.t.Helper()
	for from := 0; ; {
		l.log.wait(l.t, from, `mda delivery .* from=<> to=<`+user+`@example.org> .* result=Ok`)
		from = l.log.len()
		got := l.maildir(user)
		if strings.Count(strings.Join(got, ""), "\nFinal-Recipient: ") >= n {
			l.queue(0)
			return got
		}
	}
}

// A server that knows DSN gets the wish and tells by itself; for another one we tell.
func TestHandOn(t *testing.T) {
	s, port := startDSNSink(t)
	l := start(t, relayConf(port))
	rcpt := &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure},
		OriginalRecipientType: "RFC822", OriginalRecipient: "first+x@example.com"}
	l.submit("joe@example.org", &gosmtp.MailOptions{Return: gosmtp.DSNReturnHeaders, EnvelopeID: "id+1"}, rcpt, "a@b.example")
	l.log.wait(t, 0, `mta delivery .* result="Ok"`)
	l.queue(0)
	for _, want := range []string{"RET=HDRS ENVID=id+1", "NOTIFY=[SUCCESS FAILURE] ORCPT=RFC822;first+x@example.com"} {
		if got := <-s.said; got != want {
			t.Errorf("the next hop heard %s, want %s", got, want)
		}
	}
	if l.log.has("info: notice ") {
		t.Error("there was a notice")
	}
}

func TestSuccessNotices(t *testing.T) {
	_, port := startSink(t, nil)
	l := start(t, `
listen on 127.0.0.1 port PORT
table aliases { "both" = "ann, away@far.example" }
action "local" maildir userbase <people> alias <aliases>
`+fmt.Sprintf("action \"out\" relay host \"smtp://127.0.0.1:%d\"\n", port)+`
match from any for domain "example.org" action "local"
match from any for any action "out"
`)
	rcpt := &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess}}
	l.submit("joe@example.org", &gosmtp.MailOptions{EnvelopeID: "all"}, rcpt, "ann@example.org", "a@b.example", "both@example.org")
	all := strings.Join(l.notices("joe", 3), "\n") // one, if this machine is not very slow
	for _, want := range []string{"rfc822; ann@example.org\nAction: delivered\n", "rfc822; a@b.example\nAction: relayed\n",
		"rfc822; both@example.org\nAction: expanded\n", "Original-Envelope-Id: all\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "away@far.example") || strings.Count(all, "\nAction: ") != 3 {
		t.Errorf("more is told than was asked:\n%s", all)
	}
}

// Notices to strangers are limited, and do not carry what they sent.
func TestBackscatter(t *testing.T) {
	s, port := startSink(t, func(rcpt string) error {
		if strings.HasPrefix(rcpt, "no@") {
			return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
		}
		return nil
	})
	l := start(t, "bounce limit max-per-sender 1\n"+relayConf(port))
	full := &gosmtp.MailOptions{Return: gosmtp.DSNReturnFull}
	l.submit("victim@far.example", full, nil, "no@b.example")
	l.log.wait(t, 0, `mta delivery .* from=<> to=<victim@far.example> .* result="Ok"`)
	l.submit("victim@far.example", full, nil, "no@b.example")
	l.log.wait(t, 0, `warn: queue: notice about message [0-9a-f]{8} to <victim@far.example> dropped: more than 1 an hour to this address$`)
	for range 2 { // local senders are told all the same
		from := l.log.len()
		l.submit("joe@example.org", full, nil, "no@b.example")
		l.log.wait(t, from, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	}
	l.queue(0)
	got := s.messages()
	if len(got) != 1 || !strings.Contains(got[0].body, "Subject: asked") || strings.Contains(got[0].body, "the text") {
		t.Errorf("the stranger got %q", got)
	}
	var st control.Stats
	if err := l.ask(control.Request{Op: control.ShowStats}, &st); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"{bounce.dropped 1}", "{bounce.notice 3}", "{queue.bounce 4}", "{bounce.session 0}"} {
		if !strings.Contains(fmt.Sprint(st), want) {
			t.Errorf("no %s in %v", want, st)
		}
	}
}

func TestReturnsAll(t *testing.T) {
	for _, tt := range []struct {
		setting    string
		auth, want bool
	}{
		{config.ReturnAny, false, true}, {config.ReturnAny, true, true},
		{config.ReturnAuthenticated, false, false}, {config.ReturnAuthenticated, true, true},
		{config.ReturnNone, false, false}, {config.ReturnNone, true, false},
	} {
		e := &envelope.Envelope{}
		if tt.auth {
			e.Flags = envelope.Authenticated
		}
		if got := returnsAll(&config.Bounce{ReturnFull: tt.setting}, e); got != tt.want {
			t.Errorf("%s, authenticated %v: %v", tt.setting, tt.auth, got)
		}
	}
}

// A message with very many recipients who fail has few notices, and they name everybody once.
func TestManyFailures(t *testing.T) {
	const many = 1500
	_, port := startSink(t, func(string) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	l := start(t, fmt.Sprintf("smtp limit max-rcpt %d\n", many)+relayConf(port))
	to := make([]string, many)
	for i := range to {
		to[i] = fmt.Sprintf("u%d@b.example", i)
	}
	l.mustSend("joe@example.org", to, "Subject: many\r\n\r\n")
	named := make(map[string]int)
	for _, notice := range l.notices("joe", many) {
		if n := strings.Count(notice, "Final-Recipient: "); n > 1000 {
			t.Errorf("%d recipients in a notice", n)
		}
		for line := range strings.Lines(notice) {
			if rcpt, ok := strings.CutPrefix(line, "Final-Recipient: rfc822; "); ok {
				named[strings.TrimSpace(rcpt)]++
			}
		}
	}
	for _, a := range to {
		if named[a] != 1 {
			t.Errorf("%s is named %d times", a, named[a])
		}
	}
}

// A notice that finds nobody ends with its own time.
func TestNoticeExpires(t *testing.T) {
	l := start(t, fmt.Sprintf(`
listen on 127.0.0.1 port PORT
action "fail" relay host "smtp://127.0.0.1:%d" ttl 1s
match from any for any action "fail"
`, busySink(t)))
	l.mustSend("gone@far.example", []string{"a@b.example"}, "Subject: x\r\n\r\n")
	l.log.wait(t, 0, `^relay: Expire for [0-9a-f]{16}: from=<gone@far.example>`)
	l.log.wait(t, 0, `^relay: Expire for [0-9a-f]{16}: from=<>, to=<gone@far.example>`)
	l.log.wait(t, 0, `warn: queue: double bounce! .* to=<gone@far.example> stat="Envelope expired: 451 4.7.1`)
	l.queue(0)
}

// What a stranger sends with the null sender makes no notice, whatever it asks for.
func TestNoReturnPath(t *testing.T) {
	_, port := startSink(t, func(string) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	l := start(t, relayConf(port))
	all := &gosmtp.RcptOptions{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyFailure, gosmtp.DSNNotifyDelayed}}
	l.submit("", nil, all, "a@b.example", "joe@example.org")
	l.log.wait(t, 0, `warn: queue: no return path! .* to=<a@b.example>`)
	l.log.wait(t, 0, `mda delivery .* result=Ok`)
	l.queue(0)
	if l.log.has("info: notice ") {
		t.Error("there was a notice")
	}
}

// A message that is larger than what stays in memory comes back whole where that is allowed.
func TestLargeReturn(t *testing.T) {
	_, port := startSink(t, func(string) error {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	})
	l := start(t, "bounce return-full any\nbounce max-return-size 400K\n"+relayConf(port))
	line := strings.Repeat("0123456789abcdef", 60) + "\n"
	for _, lines := range []int{380, 450} {
		text := "Subject: large\n\n" + strings.Repeat(line, lines)
		from := l.log.len()
		l.submitText(text, "joe@example.org", &gosmtp.MailOptions{Return: gosmtp.DSNReturnFull}, nil, "a@b.example")
		l.log.wait(t, from, `mda delivery .* from=<> to=<joe@example.org> .* result=Ok`)
	}
	l.queue(0)
	whole, header := 0, 0
	for _, notice := range l.maildir("joe") {
		switch {
		case strings.Count(notice, line) == 380 && strings.Contains(notice, "Content-Type: message/rfc822\n"):
			whole++
		case !strings.Contains(notice, line) && strings.Contains(notice, "Content-Type: text/rfc822-headers\n"):
			header++
		}
	}
	if whole != 1 || header != 1 {
		t.Errorf("%d came back whole, %d by their header", whole, header)
	}
}
