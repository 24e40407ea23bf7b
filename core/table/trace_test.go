package table

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
)

// The lines are those of OpenSMTPD, without passwords.
func TestTrace(t *testing.T) {
	log := &lines{add: make(chan struct{}, 1)}
	logger := trace.New(log)
	src := Sources{Log: logger, Open: func(tab config.Table) (Table, error) {
		return OpenProgram(t.Context(), ProgramOptions{Table: tab.Name, Log: logger, Start: func(context.Context) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go script{everything, func(_ int, a *asked) bool { a.answer("error|no"); return true }}.perform(1, theirs, func([]string) {})
			return ours, nil
		}})
	}}
	s, err := NewSet([]config.Table{
		{Name: "m", Backend: "static", Kind: config.MapKind, Entries: []config.Entry{{Key: "joe", Value: "ann, jim"}}},
		{Name: "p", Backend: "ldap"},
	}, src)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ask := func() {
		_, _, _ = s.Lookup(t.Context(), "m", Alias, "joe")
		_, _, _ = s.Lookup(t.Context(), "m", Alias, "Jim")
		_, _, _ = s.Lookup(t.Context(), "m", Credentials, "joe")
		_, _ = s.Match(t.Context(), "m", String, "joe")
		_, _ = s.Match(t.Context(), "p", Auth, "joe:secret")
		_, _, _ = s.Fetch(t.Context(), "m", Source)
	}
	ask()
	if len(log.all) != 0 {
		t.Fatalf("not asked for: %q", log.all)
	}
	logger.SetTraced(trace.Lookup)
	ask()
	want := []string{
		`lookup: lookup "joe" as alias in table static:m -> "ann, jim"`,
		`lookup: lookup "Jim" as alias in table static:m -> none`,
		`lookup: lookup "joe" as credentials in table static:m -> ...`,
		`lookup: match "joe" as string in table static:m -> true`,
		`lookup: match "..." as auth in table proc:p -> error: its program answered the error "no"`,
		`lookup: fetch source from table static:m -> "joe"`,
	}
	if !slices.Equal(log.all, want) {
		t.Errorf("%q", log.all)
	}
}
