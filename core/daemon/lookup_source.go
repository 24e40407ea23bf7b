package daemon

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/table"
)

// sourceLife is how long the source addresses of a program are used. It has to be asked for
// one after the other, and whoever asked at the same time would take some of them away.
const sourceLife = 5 * time.Second

// sourceList are the source addresses of a relay action.
type sourceList struct {
	turn chan struct{} // holds one thing while nobody asks
	last *atomic.Pointer[sourceAnswer]
}

type sourceAnswer struct {
	list []string
	at   time.Time
}

func newSourceList() sourceList {
	s := sourceList{turn: make(chan struct{}, 1), last: new(atomic.Pointer[sourceAnswer])}
	s.turn <- struct{}{}
	return s
}

// get gives the addresses, those of tables in memory as they are now.
func (s *sourceList) get(ctx context.Context, tables *table.Set, name string) ([]string, error) {
	if tables.InMemory(name) {
		return tables.List(ctx, name, table.Source, mostSources)
	}
	if list := s.fresh(); list != nil {
		return list, nil
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	if list := s.fresh(); list != nil {
		return list, nil
	}
	list, err := tables.List(ctx, name, table.Source, mostSources)
	if err == nil && len(list) > 0 {
		s.last.Store(&sourceAnswer{list, time.Now()})
	}
	return list, err
}

// fresh gives what was answered a moment ago, nil when nothing was.
func (s *sourceList) fresh() []string {
	if a := s.last.Load(); a != nil && time.Since(a.at) < sourceLife {
		return a.list
	}
	return nil
}

// forgetSources has the source addresses asked for again, after a table was updated.
func (s *lookupSettings) forgetSources() {
	for _, r := range s.relays {
		r.sources.last.Store(nil)
	}
}
