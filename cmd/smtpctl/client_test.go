package main

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/compat/reexec"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
)

// answered gives a client of a daemon that has these answers, one for each request. When no
// more is asked, asked gives the ids with which the requests began.
func answered(t *testing.T, answers ...any) (c *client, asked func() []envelope.ID) {
	t.Helper()
	ours, theirs, err := reexec.Socketpair()
	if err != nil {
		t.Fatal(err)
	}
	var first []envelope.ID
	daemon, served := conn(t, theirs), make(chan struct{})
	go func() {
		defer close(served)
		_ = daemon.Serve(func(r *ipc.Request) {
			var req control.Request
			if err := r.Decode(&req); err != nil {
				t.Error(err)
			}
			first = append(first, req.First)
			r.Reply(answers[0])
			answers = answers[1:]
		})
	}()
	c = &client{conn: conn(t, ours)}
	go func() { _ = c.conn.Serve(func(*ipc.Request) {}) }()
	return c, func() []envelope.ID {
		c.close()
		<-served
		return first
	}
}

func conn(t *testing.T, f *os.File) *ipc.Conn {
	t.Helper()
	nc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	return ipc.New(nc.(*net.UnixConn))
}

func TestParts(t *testing.T) {
	for _, tt := range []struct {
		op      control.Op
		answers []any
		want    string
		err     string
	}{
		{control.Remove, []any{&control.Count{N: 1}}, "1 envelope removed\n", ""},
		{control.Remove, []any{&control.Count{N: 3, Next: 7}, &control.Count{N: 0, Next: 9}, &control.Count{N: 2}}, "5 envelopes removed\n", ""},
		{control.QueueAction, []any{&control.Count{Next: 7, Error: "first"}, &control.Count{Error: "second"}}, "", "first"},
		{control.QueueAction, []any{&control.Count{Next: 7, Error: "first"}, &control.Count{N: 1}}, "1 envelope changed\n", ""},
		{control.ShowQueue, []any{&control.QueuePage{Lines: []byte("a\n"), Next: 7}, &control.QueuePage{Next: 9}, &control.QueuePage{Lines: []byte("b\n")}}, "a\nb\n", ""},
		{control.ShowQueue, []any{&control.QueuePage{}}, "", ""},
	} {
		c, asked := answered(t, tt.answers...)
		var out strings.Builder
		err := c.carryOut(&control.Request{Op: tt.op, First: 5}, &out)
		if out.String() != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%d: %q, %v", tt.op, out.String(), err)
		}
		if first, want := asked(), []envelope.ID{5, 7, 9}; !slices.Equal(first, want[:len(tt.answers)]) {
			t.Errorf("%d: the requests began with %v", tt.op, first)
		}
	}
}
