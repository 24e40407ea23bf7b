package daemon

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/envelope"
)

// messageIDs holds ids that the queue reserved for us, so that a transaction does not have
// to ask for its own.
type messageIDs struct {
	m    *member
	mu   sync.Mutex
	ids  []envelope.MessageID
	fill chan struct{} // closed when the request that is under way is answered; nil without one
	err  error
	full atomic.Bool // the queue had no room the last time
}

// askRoom is the announced size from which the queue is asked whether it has room, in octets.
const askRoom = 1 << 20

// room fails when the queue has no room for a message of the announced size. It is asked for large
// ones and, as long as it has none, for all: who has an id would hear of it at the end of the message only.
func (m *messageIDs) room(ctx context.Context, size int64) error {
	full := m.full.Load()
	if size < askRoom && !full {
		return nil
	}
	err := m.m.peers[Queue].Call(ctx, kindReserve, &reserveRequest{Size: size}, &reserveReply{})
	if err == nil && full {
		m.full.Store(false)
	}
	return err
}

const (
	idBlock = 128 // asked for at a time
	idLow   = 32  // asked for when so few are left
)

// take gives an id, and asks for more before the last one is gone.
func (m *messageIDs) take(ctx context.Context) (envelope.MessageID, error) {
	for tries := 0; ; tries++ {
		m.mu.Lock()
		if len(m.ids) <= idLow && m.fill == nil {
			m.fill = make(chan struct{})
			go m.ask()
		}
		if n := len(m.ids); n > 0 {
			id := m.ids[n-1]
			m.ids = m.ids[:n-1]
			m.mu.Unlock()
			return id, nil
		}
		fill, err := m.fill, m.err
		m.mu.Unlock()
		if err != nil && tries > 0 {
			return 0, err
		}
		select {
		case <-fill:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (m *messageIDs) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), lookupWait)
	defer cancel()
	var reply reserveReply
	err := m.m.peers[Queue].Call(ctx, kindReserve, &reserveRequest{N: idBlock}, &reply)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids, m.err = append(m.ids, reply.IDs...), err
	close(m.fill)
	m.fill = nil
}
