package table

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// lines is a log that can be looked at.
type lines struct {
	mu  sync.Mutex
	all []string
	add chan struct{}
}

func (l *lines) Log(_ trace.Level, line string) {
	l.mu.Lock()
	l.all = append(l.all, line)
	l.mu.Unlock()
	select {
	case l.add <- struct{}{}:
	default:
	}
}

// wait waits until a line has the text.
func (l *lines) wait(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		there := slices.ContainsFunc(l.all, func(s string) bool { return strings.Contains(s, text) })
		all := strings.Join(l.all, "\n")
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-l.add:
		case <-timeout:
			t.Fatalf("no %q in the log:\n%s", text, all)
		}
	}
}

// asked is a request as the program sees it.
type asked struct {
	line, verb, service, id, key string
	say                          func(format string, args ...any)
}

func (a *asked) answer(result string) { a.say("%s-result|%s|%s\n", a.verb, a.id, result) }

// script is a program: what it registers, and what it does with each request. False ends
// it.
type script struct {
	register string
	take     func(life int, a *asked) bool
}

// perform plays one life of a program on its end of the connection.
func (s script) perform(life int, conn net.Conn, greeted func([]string)) {
	defer conn.Close()
	r := bufio.NewScanner(conn)
	var greeting []string
	for r.Scan() {
		greeting = append(greeting, r.Text())
		if r.Text() == "config|ready" {
			break
		}
	}
	greeted(greeting)
	if _, err := io.WriteString(conn, s.register); err != nil {
		return
	}
	for r.Scan() {
		a := parseAsked(r.Text())
		a.say = func(format string, args ...any) { fmt.Fprintf(conn, format, args...) }
		if !s.take(life, a) {
			return
		}
	}
}

func parseAsked(line string) *asked {
	f := strings.SplitN(line, "|", 8)
	a := &asked{line: line, verb: f[4]}
	switch rest := f[5:]; a.verb {
	case "update":
		a.id = rest[0]
	case "fetch":
		a.service, a.id = rest[0], rest[1]
	default:
		a.service, a.id, a.key = rest[0], rest[1], rest[2]
	}
	return a
}

const everything = "register|alias\nregister|domain\nregister|credentials\nregister|netaddr\nregister|userinfo\n" +
	"register|source\nregister|mailaddr\nregister|addrname\nregister|mailaddrmap\nregister|relayhost\n" +
	"register|string\nregister|regex\nregister|ready\n"

// play opens a Program that s serves.
func play(t testing.TB, s script, patience time.Duration) (*Program, *lines, error) {
	log := &lines{add: make(chan struct{}, 1)}
	life := 0
	p := &Program{patience: patience, firstWait: time.Millisecond, ProgramOptions: ProgramOptions{
		Table: "t", SubAddrDelim: "+", Log: trace.New(log),
		Start: func(context.Context) (io.ReadWriteCloser, error) {
			life++
			ours, theirs := net.Pipe()
			go s.perform(life, theirs, func([]string) {})
			return ours, nil
		}}}
	err := p.open(t.Context())
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, log, err
}

func mustPlay(t testing.TB, s script) (*Program, *lines) {
	t.Helper()
	p, log, err := play(t, s, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return p, log
}

// The lines are those of OpenSMTPD, but for the number and the time.
func TestProgramRequests(t *testing.T) {
	var got []string
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool {
		got = append(got, strings.Replace(a.line, a.id, "ID", 1))
		if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(a.id) {
			t.Errorf("id %q", a.id)
		}
		a.answer(map[string]string{"update": "ok", "check": "not-found", "lookup": "found|a|b", "fetch": "found|192.0.2.1"}[a.verb])
		return true
	}})
	if v, found, err := p.Lookup(t.Context(), Alias, "Joe|x@Example.ORG"); v != "a|b" || !found || err != nil {
		t.Errorf("lookup: %q %t %v", v, found, err)
	}
	if found, err := p.Match(t.Context(), Auth, "Joe:PassWord"); found || err != nil {
		t.Errorf("check: %t %v", found, err)
	}
	if v, found, err := p.Fetch(t.Context(), Source); v != "192.0.2.1" || !found || err != nil {
		t.Errorf("fetch: %q %t %v", v, found, err)
	}
	if err := p.Reload(t.Context()); err != nil {
		t.Errorf("update: %v", err)
	}
	want := []string{
		`^table\|0\.1\|\d{10}\.\d{6}\|t\|lookup\|alias\|ID\|joe\|x@example\.org$`,
		`^table\|0\.1\|\d{10}\.\d{6}\|t\|check\|auth\|ID\|Joe:PassWord$`,
		`^table\|0\.1\|\d{10}\.\d{6}\|t\|fetch\|source\|ID$`,
		`^table\|0\.1\|\d{10}\.\d{6}\|t\|update\|ID$`,
	}
	for i, w := range want {
		if i >= len(got) || !regexp.MustCompile(w).MatchString(got[i]) {
			t.Fatalf("requests %q, want %q", got, want)
		}
	}
}

// The manual of OpenSMTPD shows another verb than its daemon wants.
func TestProgramFetchVerb(t *testing.T) {
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool { a.say("lookup-result|%s|found|x\n", a.id); return true }})
	if v, found, err := p.Fetch(t.Context(), Source); v != "x" || !found || err != nil {
		t.Errorf("%q %t %v", v, found, err)
	}
}

func TestProgramGreeting(t *testing.T) {
	ours, theirs := net.Pipe()
	got := make(chan []string, 1)
	go script{register: "register|alias\nregister|ready\n", take: func(int, *asked) bool { return true }}.
		perform(1, theirs, func(l []string) { got <- l })
	c, err := handshake(t.Context(), ours, "my table", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.fail(io.EOF)
	want := []string{"config|smtpd-version|7.8.0", "config|protocol|0.1", "config|tablename|my table", "config|ready"}
	if g := <-got; !slices.Equal(g, want) {
		t.Errorf("greeting %q", g)
	}
}

func TestProgramHandshakeErrors(t *testing.T) {
	for register, want := range map[string]string{
		"":                                      "the program closed its output during the handshake",
		"register|ali":                          "the program ended in the middle of a line during the handshake",
		"register|ready\n":                      "the program serves nothing",
		"register|nosuch\nregister|ready\n":     `the program serves "nosuch", which does not exist`,
		"hello\n":                               `the program said "hello" instead of what it serves`,
		strings.Repeat("register|alias\n", 100): "the program does not end the handshake",
		strings.Repeat("x", MaxLine) + "\n":     "the program wrote a line longer than 65536 octets during the handshake",
	} {
		s := script{register: register, take: func(int, *asked) bool { return true }}
		p := &Program{ProgramOptions: ProgramOptions{Table: "t", Start: func(context.Context) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go func() {
				r := bufio.NewScanner(theirs)
				for r.Scan() && r.Text() != "config|ready" {
				}
				_, _ = io.WriteString(theirs, s.register)
				theirs.Close()
			}()
			return ours, nil
		}}, patience: time.Hour}
		if err := p.open(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", register, err, want)
		}
	}
}

// A program that never says that it is ready is given up when the context ends.
func TestProgramNeverReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ours, theirs := net.Pipe()
	go script{register: "register|alias\n", take: func(int, *asked) bool { return true }}.
		perform(1, theirs, func([]string) { cancel() })
	if _, err := handshake(ctx, ours, "t", time.Hour); err == nil || err.Error() != "did not end the handshake in time" {
		t.Errorf("%v", err)
	}
}

// What concerns one request is an error for that one only.
func TestProgramAnswers(t *testing.T) {
	tests := []struct {
		verb, result, value string
		found               bool
		err                 string
	}{
		{"lookup", "found|x", "x", true, ""},
		{"lookup", "found|a|b|", "a|b|", true, ""},
		{"lookup", "not-found", "", false, ""},
		{"lookup", "error", "", false, "its program answered an error"},
		{"lookup", "error|no database", "", false, `its program answered the error "no database"`},
		{"lookup", "found", "", false, "found without a value"},
		{"lookup", "found|", "", false, "found without a value"},
		{"lookup", "found|a\x00b", "", false, "control characters"},
		{"lookup", "found|a\r", "", false, "control characters"},
		{"check", "found", "", true, ""},
		{"check", "found|besides", "", true, ""},
		{"check", "not-found", "", false, ""},
		{"check", "error|x", "", false, `the error "x"`},
		{"fetch", "found|y", "y", true, ""},
		{"fetch", "not-found", "", false, ""},
		{"update", "ok", "", false, ""},
		{"update", "error", "", false, "answered an error"},
		{"update", "error|cannot open", "", false, `"cannot open"`},
	}
	var result string
	p, log := mustPlay(t, script{everything, func(_ int, a *asked) bool { a.answer(result); return true }})
	for _, tt := range tests {
		result = tt.result
		var value string
		var found bool
		var err error
		switch tt.verb {
		case "lookup":
			value, found, err = p.Lookup(t.Context(), Alias, "k")
		case "check":
			found, err = p.Match(t.Context(), Domain, "k")
		case "fetch":
			value, found, err = p.Fetch(t.Context(), Source)
		case "update":
			err = p.Reload(t.Context())
		}
		if value != tt.value || found != tt.found || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s %q: %q %t %v", tt.verb, tt.result, value, found, err)
		}
	}
	if len(log.all) > 0 {
		t.Errorf("the program was ended: %q", log.all)
	}
}

// What a program does wrong ends it; it is started again and answers rightly then.
func TestProgramMisbehaves(t *testing.T) {
	long := strings.Repeat("x", MaxLine+1)
	tests := map[string]struct {
		wrong func(a *asked) bool
		want  string
	}{
		"die":         {func(*asked) bool { return false }, "closed its output"},
		"garbage":     {func(a *asked) bool { a.say("hello\n"); return true }, `answered "hello"`},
		"empty line":  {func(a *asked) bool { a.say("\n"); return true }, `answered ""`},
		"wrong id":    {func(a *asked) bool { a.id = "0" + a.id; a.answer("not-found"); return true }, "waits for no answer"},
		"no id":       {func(a *asked) bool { a.say("lookup-result\n"); return true }, "answered"},
		"wrong verb":  {func(a *asked) bool { a.verb = "check"; a.answer("found"); return true }, `answered "check-result" to a lookup`},
		"no verb":     {func(a *asked) bool { a.say("|%s|found|x\n", a.id); return true }, "answered"},
		"nonsense":    {func(a *asked) bool { a.answer("perhaps"); return true }, `answered "perhaps" to a lookup`},
		"ok":          {func(a *asked) bool { a.answer("ok"); return true }, `answered "ok" to a lookup`},
		"prefix":      {func(a *asked) bool { a.answer("not-foundling"); return true }, "to a lookup"},
		"long line":   {func(a *asked) bool { a.say("%s\n", long); return true }, "longer than 65536 octets"},
		"half a line": {func(a *asked) bool { a.say("lookup-result|"); return false }, "in the middle of a line"},
		"register":    {func(a *asked) bool { a.say("register|alias\n"); return true }, "answered"},
		"unasked":     {func(a *asked) bool { a.say("lookup-result|00000000|found|x\n"); return true }, "waits for no answer"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, log := mustPlay(t, script{everything, func(life int, a *asked) bool {
				if life == 1 {
					return tt.wrong(a)
				}
				a.answer("found|right")
				return true
			}})
			if _, _, err := p.Lookup(t.Context(), Alias, "k"); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			log.wait(t, "starting it again in 1ms")
			log.wait(t, "was started again")
			if v, _, err := p.Lookup(t.Context(), Alias, "k"); v != "right" || err != nil {
				t.Errorf("after the restart: %q %v", v, err)
			}
		})
	}
}

// A second answer to the same request is an answer to nothing. The first one counts.
func TestProgramAnswersTwice(t *testing.T) {
	p, log := mustPlay(t, script{everything, func(life int, a *asked) bool {
		a.answer("found|x")
		if life == 1 {
			a.answer("found|x")
		}
		return true
	}})
	if v, _, err := p.Lookup(t.Context(), Alias, "k"); v != "x" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	log.wait(t, "waits for no answer")
	log.wait(t, "was started again")
}

// A program that does not answer is ended, and everybody who waits for it is told.
func TestProgramHangs(t *testing.T) {
	p, log, err := play(t, script{everything, func(life int, a *asked) bool {
		if life > 1 {
			a.answer("found|x")
		}
		return true
	}}, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := p.Lookup(t.Context(), Alias, "k"); err == nil {
				t.Error("an answer from a program that hangs")
			}
		})
	}
	wg.Wait()
	log.wait(t, "did not answer within 20ms")
	log.wait(t, "was started again")
	if v, _, err := p.Lookup(t.Context(), Alias, "k"); v != "x" || err != nil {
		t.Errorf("%q %v", v, err)
	}
}

// Only who answers nothing at all hangs, or who never answers one request.
func TestProgramPatience(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		sent, last time.Duration // before now
		want       bool
	}{
		{1 * time.Second, 1 * time.Second, false},
		{30 * time.Second, 1 * time.Second, false}, // one after the other, slowly
		{30 * time.Second, 11 * time.Second, true},
		{99 * time.Second, 1 * time.Second, false},
		{101 * time.Second, 1 * time.Second, true},
	} {
		c := &programConn{patience: 10 * time.Second, last: now.Add(-tt.last), waiting: map[string]*question{"1": {sent: now.Add(-tt.sent)}}}
		if got := c.hangs(now); got != tt.want {
			t.Errorf("asked %s ago, last answer %s ago: %t", tt.sent, tt.last, got)
		}
	}
	idle := &programConn{patience: 10 * time.Second, last: now.Add(-time.Hour)}
	if idle.hangs(now) {
		t.Error("a program that was asked nothing hangs")
	}
}

// An asker who gives up leaves nothing behind that a late answer could upset.
func TestProgramLateAnswer(t *testing.T) {
	gaveUp := make(chan struct{})
	p, log := mustPlay(t, script{everything, func(_ int, a *asked) bool {
		if a.key == "slow" {
			<-gaveUp
		}
		a.answer("found|" + a.key)
		return true
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, _, err := p.Lookup(ctx, Alias, "slow"); err == nil {
		t.Error("an answer for who gave up")
	}
	close(gaveUp)
	if v, _, err := p.Lookup(t.Context(), Alias, "next"); v != "next" || err != nil {
		t.Errorf("%q %v", v, err)
	}
	if len(log.all) > 0 {
		t.Errorf("log %q", log.all)
	}
}

// Many requests are under way together, and the answers come in another order. A program
// that holds one back does not keep it from answering the others.
func TestProgramOutOfOrder(t *testing.T) {
	const n = 200
	var held []*asked
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool {
		if held = append(held, a); len(held) == n {
			for _, a := range slices.Backward(held) {
				a.answer("found|" + a.key)
			}
		}
		return true
	}})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			key := fmt.Sprint("key", i)
			if v, _, err := p.Lookup(t.Context(), Alias, key); v != key || err != nil {
				t.Errorf("%s: %q %v", key, v, err)
			}
		})
	}
	wg.Wait()
}

// More than may be under way wait for their turn, and all are answered.
func TestProgramManyAskers(t *testing.T) {
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool { a.answer("found|" + a.key); return true }})
	var wg sync.WaitGroup
	for i := range mostAsking - 1 {
		wg.Go(func() {
			key := fmt.Sprint("key", i)
			if v, _, err := p.Lookup(t.Context(), Alias, key); v != key || err != nil {
				t.Errorf("%s: %q %v", key, v, err)
			}
		})
	}
	wg.Wait()
	p.asking.Store(mostAsking)
	if _, _, err := p.Lookup(t.Context(), Alias, "k"); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("one too many: %v", err)
	}
}

func TestProgramBackOff(t *testing.T) {
	starts := 0
	log := &lines{add: make(chan struct{}, 1)}
	s := script{everything, func(life int, a *asked) bool { a.answer("not-found"); return life > 1 }}
	p := &Program{patience: time.Hour, firstWait: time.Millisecond, ProgramOptions: ProgramOptions{
		Table: "t", Log: trace.New(log), Start: func(context.Context) (io.ReadWriteCloser, error) {
			if starts++; starts > 1 && starts < 5 {
				return nil, errors.New("no such program")
			}
			ours, theirs := net.Pipe()
			go s.perform(starts, theirs, func([]string) {})
			return ours, nil
		}}}
	if err := p.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, _, _ = p.Lookup(t.Context(), Alias, "k")
	log.wait(t, "was started again")
	want := []string{
		`warn: table "t": the program closed its output; starting it again in 1ms`,
		`warn: table "t": no such program; starting it again in 2ms`,
		`warn: table "t": no such program; starting it again in 4ms`,
		`warn: table "t": no such program; starting it again in 8ms`,
		`info: table "t": the program was started again`,
	}
	if !slices.Equal(log.all, want) {
		t.Errorf("log %q", log.all)
	}
}

// Who asks while the program is down is told so at once.
func TestProgramDown(t *testing.T) {
	p, _ := mustPlay(t, script{everything, func(int, *asked) bool { return false }})
	p.firstWait = time.Hour
	_, _, _ = p.Lookup(t.Context(), Alias, "k")
	for {
		_, _, err := p.Lookup(t.Context(), Alias, "k")
		if err == nil {
			t.Fatal("an answer from nobody")
		}
		if strings.Contains(err.Error(), "its program does not run: the program closed its output") {
			break
		}
	}
	p.Close()
	if _, _, err := p.Lookup(t.Context(), Alias, "k"); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("after Close: %v", err)
	}
}

func TestProgramServices(t *testing.T) {
	register := "register|alias\nregister|userinfo\nregister|ready\n"
	p, log := mustPlay(t, script{register, func(life int, a *asked) bool { a.answer("not-found"); return false }})
	want := `table "t": its program does not serve credentials, only alias, userinfo`
	if err := p.Prepare(Credentials); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	if err := p.Prepare(Alias); err != nil {
		t.Error(err)
	}
	if !p.Serves(UserInfo) || p.Serves(Auth) {
		t.Error("serves the wrong services")
	}
	p.mu.Lock()
	p.needed[Regex] = true // as if it had been served before
	p.mu.Unlock()
	_, _, _ = p.Lookup(t.Context(), Alias, "k")
	log.wait(t, "the program does not serve regex any more; starting it again in 2ms")
}

func TestProgramKeys(t *testing.T) {
	p := &Program{ProgramOptions: ProgramOptions{SubAddrDelim: "+"}}
	for _, tt := range []struct {
		service Service
		key     string
		want    []string
	}{
		{Alias, "Joe@Example.Org", []string{"joe@example.org"}},
		{Auth, "Joe:SecreT", []string{"Joe:SecreT"}},
		{NetAddr, "192.0.2.1", []string{"192.0.2.1"}},
		{NetAddr, "2001:DB8::1", []string{"[2001:db8::1]"}},
		{NetAddr, "local", []string{"local"}},
		{AddrName, "[::1]", []string{"[::1]"}},
		{MailAddr, "", []string{"@"}},
		{MailAddr, "Joe@Example.org", []string{"joe@example.org", "joe", "@example.org", "@"}},
		{MailAddr, "joe+x+y@example.org", []string{"joe+x+y@example.org", "joe@example.org", "joe+x+y", "joe", "@example.org", "@"}},
		{MailAddr, "+x@example.org", []string{"+x@example.org", "+x", "@example.org", "@"}},
		{Domain, "\xc3\x89.Example", []string{"\xc3\x89.example"}},
		{String, "", []string{""}},
	} {
		if got := p.keys(tt.service, tt.key); !slices.Equal(got, tt.want) {
			t.Errorf("%s %q: %q, want %q", tt.service, tt.key, got, tt.want)
		}
	}
}

// What cannot be asked is not asked.
func TestProgramRefusesKeys(t *testing.T) {
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool {
		t.Errorf("asked %q", a.line)
		a.answer("found")
		return true
	}})
	for _, key := range []string{"a\nb", "a\rb", "a\x00b"} {
		if found, err := p.Match(t.Context(), String, key); found || err == nil {
			t.Errorf("%q: %t %v", key, found, err)
		}
	}
	for _, key := range []string{"", strings.Repeat("x", MaxKey+1)} {
		if found, err := p.Match(t.Context(), String, key); found || err != nil {
			t.Errorf("%.10q: %t %v", key, found, err)
		}
	}
}

func TestProgramMailKeysStopAtTheFirst(t *testing.T) {
	var keys []string
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool {
		keys = append(keys, a.key)
		if a.key == "@example.org" {
			a.answer("found")
		} else {
			a.answer("not-found")
		}
		return true
	}})
	if found, err := p.Match(t.Context(), MailAddr, "joe@example.org"); !found || err != nil {
		t.Errorf("%t %v", found, err)
	}
	if want := []string{"joe@example.org", "joe", "@example.org"}; !slices.Equal(keys, want) {
		t.Errorf("asked %q", keys)
	}
}

// A retired program answers as long as somebody asks.
func TestProgramRetire(t *testing.T) {
	p, _ := mustPlay(t, script{everything, func(_ int, a *asked) bool { a.answer("not-found"); return true }})
	p.Retire(time.Hour)
	if _, _, err := p.Lookup(t.Context(), Alias, "k"); err != nil {
		t.Error(err)
	}
	p.Retire(0)
	<-p.ended
}

func FuzzProgram(f *testing.F) {
	for _, s := range []string{"lookup-result|00000001|found|x", "check-result|00000001|not-found", "fetch-result|00000001|error|m",
		"update-result|00000001|ok", "lookup-result|00000002|found|x", "lookup-result||", "|", "register|alias", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if s, ready, err := parseRegister(line); err == nil && !ready && "register|"+s.String() != line {
			t.Errorf("%q registers %s", line, s)
		}
		for _, verb := range []string{verbCheck, verbLookup, verbFetch, verbUpdate} {
			c := &programConn{room: make(chan struct{}, 1), waiting: make(map[string]*question)}
			q := &question{verb: verb, result: make(chan result, 1)}
			c.room <- struct{}{}
			c.waiting["00000001"] = q
			if c.take(line) != nil {
				if len(c.waiting) != 1 {
					t.Fatalf("%q: refused, but taken", line)
				}
				continue
			}
			r := <-q.result
			if !strings.HasPrefix(line, verb+"-result|00000001|") && !(verb == verbFetch && strings.HasPrefix(line, "lookup-result|00000001|")) || len(c.waiting) != 0 {
				t.Fatalf("%q answers a %s", line, verb)
			}
			if wordy := verb == verbLookup || verb == verbFetch; r.found && wordy && !strings.HasSuffix(line, "|found|"+r.value) {
				t.Fatalf("%q: value %q", line, r.value)
			}
		}
	})
}
