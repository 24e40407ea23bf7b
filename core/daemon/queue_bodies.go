package daemon

import (
	"context"
	"sync"
)

// bodies bounds how much of messages under way is in memory. Half is for messages that go
// along with tasks of the dispatcher and wait there; when it is used up, tasks go without
// and ask when their turn comes. The other half is for messages that are being transferred,
// which takes a bounded time: who wants more waits. A message that is larger than its half
// is let through alone.
type bodies struct {
	waiting, moving budget
}

func (b *bodies) limit(octets int64) {
	b.waiting.limit(octets / 2)
	b.moving.limit(octets / 2)
}

// budget hands out octets of memory.
type budget struct {
	mu     sync.Mutex
	most   int64
	used   int64
	change chan struct{} // closed at the next change; nil when nobody waits
}

func (b *budget) limit(octets int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.most = octets
	b.changed()
}

func (b *budget) changed() {
	if b.change != nil {
		close(b.change)
		b.change = nil
	}
}

// try takes octets if they are there.
func (b *budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.take(n)
}

func (b *budget) take(n int64) bool {
	if b.used > 0 && b.used+n > b.most {
		return false
	}
	b.used += n
	return true
}

// wait takes octets as soon as they are there. Who takes some gives them back.
func (b *budget) wait(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.take(n) {
			b.mu.Unlock()
			return nil
		}
		if b.change == nil {
			b.change = make(chan struct{})
		}
		change := b.change
		b.mu.Unlock()
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) give(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.changed()
}

// charge is memory that belongs to envelopes in flight until the last of them is back.
type charge struct {
	from *budget
	n    int64
	left int // envelopes
}
