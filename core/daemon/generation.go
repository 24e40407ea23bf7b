package daemon

import "sync"

// keptGenerations is how many configurations lookup and crypto keep: the one in use and
// those before it, with which sessions may still be running.
const keptGenerations = 3

// generations are the last configurations of a role.
type generations[T any] struct {
	mu   sync.RWMutex
	list []generation[T] // the newest is the last
}

type generation[T any] struct {
	number   uint64
	settings T
}

// add makes a configuration the one in use.
func (g *generations[T]) add(number uint64, settings T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, generation[T]{number, settings})
	if len(g.list) > keptGenerations {
		g.list = append([]generation[T](nil), g.list[1:]...)
	}
}

// get gives the configuration with a number, and the one in use when there is none with
// it, as for the number 0. Before the first add that is the zero value.
func (g *generations[T]) get(number uint64) (settings T) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, c := range g.list {
		settings = c.settings
		if c.number == number {
			break
		}
	}
	return settings
}

// all gives the configurations that are kept.
func (g *generations[T]) all() []T {
	g.mu.RLock()
	defer g.mu.RUnlock()
	list := make([]T, len(g.list))
	for i, c := range g.list {
		list[i] = c.settings
	}
	return list
}
