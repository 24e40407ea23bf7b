package filter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/trace"
)

// message sends a message through the filters of a session.
func message(l *Link, text string) (string, error) {
	s, err := l.Stream(8 << 20)
	if err != nil {
		return "", err
	}
	defer s.End()
	wrote := make(chan error, 1)
	go func() {
		_, err := io.Copy(s, strings.NewReader(text))
		if err == nil {
			err = s.Close()
		}
		if err != nil {
			s.Abort(err)
		}
		wrote <- err
	}()
	back, err := io.ReadAll(s)
	if err != nil {
		s.Abort(err)
		err = s.Failure(err)
	}
	<-wrote
	return string(back), err
}

func codeOf(err error) int {
	var said *gosmtp.SMTPError
	if errors.As(err, &said) {
		return said.Code
	}
	return 0
}

func TestStreamEcho(t *testing.T) {
	b := run(t, &fake{register: everything, answer: says("proceed")}, time.Minute)
	long := strings.Repeat("y", MaxDataLine)
	for _, text := range []string{"", "a\n", "\n", ".\n", "..\n.x\n", "a|b\n\tc\n", long + "\n", strings.Repeat(strings.Repeat("z", 70)+"\n", 100000)} {
		got, err := message(b.session(), text)
		if err != nil || got != text {
			t.Errorf("%.20q came back as %.20q, %v", text, got, err)
		}
	}
	if got, err := message(b.session(), "no end"); err != nil || got != "no end\n" {
		t.Errorf("a line without end: %q, %v", got, err)
	}
	if _, err := message(b.session(), "x\n"+long+"y\n"); codeOf(err) != 554 {
		t.Errorf("a line that is too long: %v", err)
	}
}

// collects keeps all lines until the end of the message before it gives back what change makes of
// them, as filters that sign do.
func collects(change func([]string) []string) func([]string, *bufio.Writer) bool {
	kept := make(map[string][]string)
	return func(f []string, out *bufio.Writer) bool {
		if f[4] != DataLine.String() {
			return says("proceed")(f, out)
		}
		if kept[f[6]] = append(kept[f[6]], f[7]); f[7] == "." {
			for _, l := range change(kept[f[6]]) {
				fmt.Fprintf(out, "filter-dataline|%s|%s|%s\n", f[5], f[6], l)
			}
		}
		return true
	}
}

func TestStreamChanges(t *testing.T) {
	big := strings.Repeat(strings.Repeat("z", 70)+"\n", 50000)
	for name, c := range map[string]struct {
		change     func([]string) []string
		text, want string
		code       int
	}{
		"adds":       {func(l []string) []string { return append([]string{"X: y"}, l...) }, big, "X: y\n" + big, 0},
		"drops":      {func(l []string) []string { return l[1:] }, "a\nb\n", "b\n", 0},
		"drops all":  {func([]string) []string { return []string{"."} }, "a\n", "", 0},
		"early dot":  {func(l []string) []string { return append([]string{"a", "."}, l...) }, "x\ny\n", "a\n", 0},
		"undotted":   {func([]string) []string { return []string{".x", "."} }, "..x\n", "x\n", 0},
		"CR":         {func([]string) []string { return []string{"x\r", "."} }, "a\n", "x\n", 0},
		"CR inside":  {func([]string) []string { return []string{"x\ry", "."} }, "a\n", "", 451},
		"NUL":        {func([]string) []string { return []string{"x\x00y", "."} }, "a\n", "", 451},
		"never ends": {func([]string) []string { return []string{"x"} }, "a\n", "", 421},
		"nothing":    {func([]string) []string { return nil }, "a\n", "", 421},
		"too much":   {func([]string) []string { return append(slices.Repeat([]string{strings.Repeat("x", 60000)}, 200), ".") }, "a\n", "", 451},
	} {
		patience := time.Minute
		if c.code == 421 { // it waits for what does not come
			patience = 50 * time.Millisecond
		}
		b := run(t, &fake{register: everything, answer: collects(c.change)}, patience)
		got, err := message(b.session(), c.text)
		if codeOf(err) != c.code && (c.code != 421 || codeOf(err) != 451) || err == nil && got != c.want {
			t.Errorf("%s: %.30q (%d octets), %v", name, got, len(got), err)
		}
		if err == nil {
			continue
		}
		until(t, "another session", func() bool { out := b.session().Ask(context.Background(), MailFrom, "x"); return out.Reply == nil })
	}
}

// TestStreamDecision: who decides where lines are asked for fails this message at once.
func TestStreamDecision(t *testing.T) {
	b := run(t, &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		fmt.Fprintf(out, "filter-result|%s|%s|proceed\n", f[5], f[6])
		return true
	}}, time.Minute)
	if _, err := message(b.session(), "x\n"); codeOf(err) != 451 {
		t.Errorf("a decision for a line: %v", err)
	}
	b = run(t, &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		fmt.Fprintf(out, "filter-dataline|%s|%s|x\n", f[5], f[6])
		return says("proceed")(f, out)
	}}, time.Minute)
	if out := b.session().Ask(context.Background(), MailFrom, "x"); out.Reply != nil {
		t.Errorf("a line for a decision: %+v", out.Reply)
	}
}

// TestStreamChain: what one filter makes of a message the next one gets, and any of them can
// fail it.
func TestStreamChain(t *testing.T) {
	first := run(t, &fake{register: everything, answer: collects(func(l []string) []string { return append([]string{"one"}, l...) })}, time.Minute)
	second := run(t, &fake{register: everything, answer: collects(func(l []string) []string { return append([]string{"two"}, l...) })}, time.Minute)
	broken := run(t, &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		return f[4] != DataLine.String() && says("proceed")(f, out)
	}}, time.Minute)
	listens := run(t, &fake{register: "report|smtp-in|*", answer: says("proceed")}, time.Minute)
	open := func(list ...*bench) *Link {
		var members []Member
		for _, b := range list {
			members = append(members, Member{Name: "f", Process: b.proc})
		}
		return NewChain(members...).Open(&Session{ID: 1}, trace.New(first.log).NewTrace())
	}
	big := strings.Repeat("0123456789\n", 100000)
	if got, err := message(open(first, listens, second), big); err != nil || got != "two\none\n"+big {
		t.Errorf("%.30q, %v", got, err)
	}
	if s, err := open(listens).Stream(0); s != nil || err != nil {
		t.Errorf("a filter that only listens: %v, %v", s, err)
	}
	for _, l := range []*Link{open(first, broken), open(broken, first)} {
		if _, err := message(l, big); codeOf(err) != 421 {
			t.Errorf("a broken filter: %v", err)
		}
		until(t, "another start", func() bool { life, _ := broken.proc.now(); return life != nil && !life.over() })
	}
}

// TestStreamAbort: a client that goes away in the middle of its message is no fault of the filter, and
// what the filter still says about it is none either.
func TestStreamAbort(t *testing.T) {
	hold := make(chan struct{})
	b := run(t, &fake{register: everything, answer: func(f []string, out *bufio.Writer) bool {
		if f[4] == DataLine.String() {
			<-hold
		}
		return says("proceed")(f, out)
	}}, time.Minute)
	l := b.session()
	s, err := l.Stream(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(s, "x\n"); err != nil {
		t.Fatal(err)
	}
	cut := errors.New("the client is gone")
	s.Abort(cut)
	if _, err := s.Read(make([]byte, 1)); !errors.Is(s.Failure(err), cut) {
		t.Error(err)
	}
	s.End()
	close(hold)
	if out := b.session().Ask(context.Background(), MailFrom, "x"); out.Reply != nil {
		t.Errorf("%+v", out.Reply)
	}
	if text := b.log.String(); text != "" {
		t.Errorf("logged %s", text)
	}
}
