package queue

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/program"
)

const (
	dataPiece = 64 << 10 // octets of a text that are handed on at a time
	shortWait = 2 * time.Second
)

var errStreamEnded = errors.New("the program ended while it was given the message")

// incomingBody is a message that another process streams into a pipe. It goes to one life of the program:
// a later one does not know what came before.
type incomingBody struct {
	id envelope.MessageID
	c  *program.Conn
	r  *os.File

	mu     sync.Mutex
	given  int64
	over   bool          // nothing more is handed on
	err    error         // why
	moved  chan struct{} // given has grown, or it is over
	closer sync.Once
}

// forward hands on what comes, until the writer closes its end or the message is
// given up: then who writes gets an error.
func (in *incomingBody) forward() {
	buf := make([]byte, dataPiece)
	for {
		n, err := in.r.Read(buf)
		if n > 0 && !in.hand(buf[:n]) {
			break
		}
		if err != nil {
			break
		}
	}
	in.stop()
}

// hand hands a piece on. The lock is held, so that a commit comes before or after it.
func (in *incomingBody) hand(b []byte) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.over {
		return false
	}
	if err := in.c.Tell("data", dataText(in.id, in.given, b)); err != nil {
		in.over, in.err = true, errStreamEnded
		return false
	}
	in.given += int64(len(b))
	select {
	case in.moved <- struct{}{}:
	default:
	}
	return true
}

// stop ends the stream.
func (in *incomingBody) stop() {
	in.closer.Do(func() {
		in.r.Close()
		in.mu.Lock()
		in.over = true
		in.mu.Unlock()
		close(in.moved)
	})
}

// wait waits until the program was given size octets. Everything was written before who
// writes asked for the commit, so it is only on its way through the pipe.
func (in *incomingBody) wait(size int64) error {
	timer := time.NewTimer(shortWait)
	defer timer.Stop()
	for {
		in.mu.Lock()
		given, err, over := in.given, in.err, in.over
		in.mu.Unlock()
		switch {
		case err != nil:
			return err
		case given == size:
			return nil
		case given > size, over:
			return ErrSize
		}
		timer.Reset(shortWait)
		select {
		case <-in.moved:
		case <-in.c.Done():
			return errStreamEnded
		case <-timer.C:
			return ErrSize
		}
	}
}
