package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// authProgram is a program that serves auth for one user and says what it was asked.
func authProgram(conn net.Conn, asked chan<- string) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() && lines.Text() != "config|ready" {
	}
	fmt.Fprint(conn, "register|auth\nregister|ready\n")
	for lines.Scan() {
		// table|0.1|TIME|NAME|check|auth|ID|KEY
		f := strings.SplitN(lines.Text(), "|", 8)
		if len(f) != 8 {
			return
		}
		asked <- f[7]
		result := "not-found"
		if f[7] == "Ann:a|b:c" {
			result = "found"
		}
		fmt.Fprintf(conn, "%s-result|%s|%s\n", f[4], f[6], result)
	}
}

// lookupWith makes a lookup whose sessions use a table of each kind.
func lookupWith(t *testing.T, entries []config.Entry, asked chan string) *lookupRole {
	t.Helper()
	l := newLookup(&member{})
	l.hashing = newFairGate(1)
	tables := []config.Table{{Name: "static", Backend: "static", Kind: config.MapKind, Entries: entries},
		{Name: "program", Backend: "test"}}
	set, err := table.NewSet(tables, table.Sources{Open: func(config.Table) (table.Table, error) {
		return table.OpenProgram(t.Context(), table.ProgramOptions{Table: "program", Start: func(context.Context) (io.ReadWriteCloser, error) {
			ours, theirs := net.Pipe()
			go authProgram(theirs, asked)
			return ours, nil
		}})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { set.Close() })
	s := &lookupSettings{tables: set}
	s.SubAddrDelim = "+"
	s.Sessions = listenerTables([]config.Listener{{AuthTable: "static", Senders: "static", Hostnames: "static"}, {AuthTable: "program"}})
	if err := s.prepareListeners(); err != nil {
		t.Fatal(err)
	}
	l.cfg.add(1, s)
	return l
}

func TestAuthenticate(t *testing.T) {
	asked := make(chan string, 10)
	l := lookupWith(t, []config.Entry{{Key: "ann", Value: annHash}, {Key: "bea", Value: "bea:" + beaHash}, {Key: "bad", Value: "$2b$31$x"}}, asked)
	for _, v := range []struct {
		table, user, password string
		want, fails           bool
	}{
		{"static", "nobody", "annpw", false, false},
		{"static", "Ann", "annpw", true, false},
		{"static", "ann", "beapw", false, false},
		{"static", "bea", "beapw", true, false},
		{"static", "bea", "", false, false},
		{"static", "nobody", "beapw", false, false}, // right for the decoy, which is nobody's
		{"static", "bad", "x", false, true},
		{"static", strings.Repeat("x", 5000), "x", false, false},
		{"nosuch", "ann", "annpw", false, true},
		{"program", "Ann", "a|b:c", true, false},
		{"program", "ann", "x", false, false},
		{"program", "Ann:a|b", "c", false, false}, // the name would end elsewhere
		{"program", "ann", strings.Repeat("x", table.MaxKey), false, false},
	} {
		req := authRequest{Generation: 1, Table: v.table, User: v.user, Password: v.password}
		if got, err := l.authenticate(t.Context(), &req); got != v.want || (err != nil) != v.fails {
			t.Errorf("%s, %.20q and %.20q: %v, %v", v.table, v.user, v.password, got, err)
		}
	}
	if got := *l.cfg.get(1).decoys["static"].Load(); got != beaHash {
		t.Errorf("decoy %q", got)
	}
	if len(asked) != 2 || <-asked != "Ann:a|b:c" || <-asked != "ann:x" {
		t.Error("the program was asked otherwise")
	}
	if l.hashing.free != 1 {
		t.Error("a place was not given back")
	}
}

func TestAddrName(t *testing.T) {
	l := lookupWith(t, []config.Entry{{Key: "192.0.2.1", Value: "four"}, {Key: "[2001:db8::1]", Value: "in.brackets"}, {Key: "2001:db8::2", Value: "bare"}}, nil)
	for addr, want := range map[string]string{"192.0.2.1": "four", "::ffff:192.0.2.1": "four", "2001:db8::1": "in.brackets", "2001:db8::2": "bare", "::1": ""} {
		name, found, err := l.addrName(t.Context(), &addrNameRequest{Generation: 1, Table: "static", Addr: netip.MustParseAddr(addr)})
		if name != want || found != (want != "") || err != nil {
			t.Errorf("%s: %q, %v, %v", addr, name, found, err)
		}
	}
}

func TestListenerTablesThatCannotServe(t *testing.T) {
	set, err := table.NewSet([]config.Table{{Name: "list", Backend: "static", Kind: config.ListKind, Entries: []config.Entry{{Key: "ann"}}}}, table.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	pos := config.Pos{File: "smtpd.conf", Line: 7}
	for _, l := range []config.Listener{{Pos: pos, AuthTable: "list"}, {Pos: pos, Senders: "list"}, {Pos: pos, Hostnames: "list"}, {Pos: pos, AuthTable: "nosuch"}} {
		s := &lookupSettings{tables: set}
		s.Sessions = listenerTables([]config.Listener{{}, l})
		if err := s.prepareListeners(); err == nil || !strings.HasPrefix(err.Error(), "smtpd.conf:7: ") {
			t.Errorf("%+v: %v", l, err)
		}
	}
}
