package filterkit

import (
	"context"
	"fmt"
)

// Later is the outcome of a function that Begin has started.
type Later[T any] struct {
	look  func(context.Context) (T, error)
	ctx   context.Context // of the session
	done  chan struct{}   // nil: look is called by Wait
	value T
	err   error
}

// Begin starts a function that may take its time, with the session's Context. When as many as MaxActive run already,
// Wait calls it. It must not touch the session.
func Begin[T any](s *Session, look func(context.Context) (T, error)) *Later[T] {
	l := &Later[T]{look: look, ctx: s.ctx}
	select {
	case s.run.begun <- struct{}{}:
	default:
		return l
	}
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		defer func() { <-s.run.begun }()
		l.call()
	}()
	return l
}

func (l *Later[T]) call() {
	defer func() {
		if p := recover(); p != nil {
			l.err = fmt.Errorf("panic: %v", p)
		}
	}()
	l.value, l.err = l.look(l.ctx)
}

// Wait gives the outcome as soon as it is there, or the error of the session's Context. Only handlers of
// the session may call it, as often as they like.
func (l *Later[T]) Wait() (T, error) {
	if l.done == nil {
		if l.look != nil {
			l.call()
			l.look = nil
		}
		return l.value, l.err
	}
	select {
	case <-l.done:
		return l.value, l.err
	case <-l.ctx.Done():
		var none T
		return none, context.Cause(l.ctx)
	}
}
