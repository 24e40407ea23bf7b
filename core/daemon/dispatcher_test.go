package daemon

import (
	"errors"
	"runtime/debug"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// Large messages have descriptors of their own: one too many is put off, and counts no longer.
func TestLargeMessagesAtATime(t *testing.T) {
	d := &dispatcherRole{mostBodies: 2}
	d.bodies.Store(2)
	s := &mailSession{backend: &backend{d: d}}
	_, err := s.stream(nil, nil)
	var reply *gosmtp.SMTPError
	if !errors.As(err, &reply) || reply.Code != 452 {
		t.Errorf("got %v, want 452", err)
	}
	if n := d.bodies.Load(); n != 2 {
		t.Errorf("%d are counted", n)
	}
}

func TestThrift(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	d := &dispatcherRole{}
	for _, step := range []struct {
		sessions int64
		want     int
	}{{manySessions - 1, 100}, {manySessions, thriftyPercent}, {manySessions / 2, thriftyPercent}, {manySessions/2 - 1, 100}, {manySessions - 1, 100}} {
		d.thrift(step.sessions)
		got := debug.SetGCPercent(step.want)
		if got != step.want {
			t.Errorf("with %d sessions: %d, want %d", step.sessions, got, step.want)
		}
	}
}
