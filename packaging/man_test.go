package packaging

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/trace"
)

// options gives the letters of a getopt(3) string.
func options(letters string) []string {
	return strings.Split(strings.ReplaceAll(letters, ":", ""), "")
}

// TestOptions: each option that a program takes is in its manual page.
func TestOptions(t *testing.T) {
	for _, c := range []struct{ page, source, expr string }{
		{"man/smtpd.8", "../cmd/smtpd/main.go", `getopt\.Parse\(args, "(.*)"\)`},
		{"man/smtpctl.8", "../cmd/smtpctl/main.go", `getopt\.Parse\(args, "(.*)"\)`},
		{"man/makemap.8", "../core/makemap/options.go", `^const letters = "(.*)"`},
		{"man/newaliases.8", "../cmd/smtpctl/makemap.go", `getopt\.Parse\(args, "(.*)"\)`},
		{"man/sendmail.8", "../core/sendmail/options.go", `^const letters = "(.*)"`},
	} {
		page := read(t, c.page)
		for _, letter := range options(all(t, read(t, c.source), c.expr)[0]) {
			if !regexp.MustCompile(`(?m)^\.(It |Op )?Fl ` + letter + `|, Fl ` + letter).MatchString(page) {
				t.Errorf("%s: no -%s", c.page, letter)
			}
		}
	}
}

// forms gives the complete commands that begin with words, by asking for what may follow.
func forms(words []string) (list []string) {
	_, err := control.ParseCommand(append(words, "?"))
	var usage *control.UsageError
	if !errors.As(err, &usage) {
		return []string{strings.Join(words, " ")} // "?" is taken for an argument
	}
	for _, p := range usage.Possibilities {
		next := strings.Fields(p)
		if len(next) <= len(words) || strings.HasPrefix(next[len(words)], "<") {
			list = append(list, strings.Join(words, " "))
			continue
		}
		list = append(list, forms(next)...)
	}
	return list
}

// described gives the commands that smtpctl.8 describes, without their arguments.
func described(t *testing.T) map[string]bool {
	t.Helper()
	set := make(map[string]bool)
	for _, line := range all(t, read(t, "man/smtpctl.8"), `^\.It Ic (.*)$`) {
		for item := range strings.SplitSeq(line, " , Ic ") {
			item, _, _ = strings.Cut(item, " Ar ")
			item, _, _ = strings.Cut(item, " Op")
			item, _, _ = strings.Cut(item, " Oo")
			first, rest, _ := strings.Cut(item, " ")
			for last := range strings.SplitSeq(rest, " | ") { // pause mda | mta | smtp
				set[strings.TrimSpace(first+" "+last)] = true
			}
		}
	}
	return set
}

// TestCommands: each command of smtpctl is in its manual page.
func TestCommands(t *testing.T) {
	found, known := forms(nil), described(t)
	if len(found) < 30 {
		t.Fatalf("only %q", found)
	}
	for _, form := range found {
		if !known[strings.TrimSuffix(strings.TrimSuffix(form, " all"), " held")] { // both are arguments
			t.Errorf("smtpctl.8 does not describe %q", form)
		}
	}
}

// TestSubsystems: the names of -T are in the manual page, and are what the program takes.
func TestSubsystems(t *testing.T) {
	_, rest, ok := strings.Cut(read(t, "man/smtpd.8"), ".It Fl T Ar trace\n")
	list, _, ok2 := strings.Cut(rest, ".It Fl v\n")
	if !ok || !ok2 {
		t.Fatal("smtpd.8 does not describe -T")
	}
	var seen trace.Subsystem
	for _, name := range all(t, list, `^\.Cm ([a-z]+)`) {
		sub, ok := trace.ParseSubsystem(name)
		if !ok {
			t.Errorf("smtpd -T does not take %q", name)
		}
		if name != "all" {
			seen |= sub
		}
	}
	if seen != trace.All {
		t.Errorf("smtpd.8 lacks a subsystem: %b of %b", seen, trace.All)
	}
}
