package queue

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// stream is a text that is encoded while another process writes it into a pipe.
type stream struct {
	r    *os.File // the read end
	done chan struct{}
	size int64 // of the plain text
	err  error
}

// streamEnd is how long a commit waits for the rest of a text that was announced to be complete.
const streamEnd = time.Minute

var errStreamOpen = errors.New("the message is still being written")

// createEncoded gives the write end of a pipe. What fails behind it is told by the commit, so the
// pipe is read to its end all the same.
func (s *FS) createEncoded(id envelope.MessageID, c *codec) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[id] != nil {
		return nil, ErrExists
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	st := &stream{r: r, done: make(chan struct{})}
	if s.streams == nil {
		s.streams = make(map[envelope.MessageID]*stream)
	}
	s.streams[id] = st
	go func() {
		defer close(st.done)
		defer r.Close()
		st.size, st.err = s.encodeStream(id, c, r)
		if st.err != nil {
			_, _ = io.Copy(io.Discard, r)
		}
	}()
	return w, nil
}

func (s *FS) encodeStream(id envelope.MessageID, c *codec, r io.Reader) (int64, error) {
	f, err := s.disk.Create(incomingFile(id))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return c.encodeTo(f, ownerOfMessage(id), r)
}

// streamed gives the stream of a message, if it has one.
func (s *FS) streamed(id envelope.MessageID) *stream {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.streams[id]
}

// wait gives the size of the plain text when all of it is in the file.
func (st *stream) wait() (int64, error) {
	timer := time.NewTimer(streamEnd)
	defer timer.Stop()
	select {
	case <-st.done:
		return st.size, st.err
	case <-timer.C:
		return 0, errStreamOpen
	}
}

// endStream forgets a stream and makes sure that nothing is written any more.
func (s *FS) endStream(id envelope.MessageID) {
	s.mu.Lock()
	st := s.streams[id]
	delete(s.streams, id)
	s.mu.Unlock()
	if st != nil {
		st.r.Close()
		<-st.done
	}
}

func (s *FS) endStreams() {
	s.mu.RLock()
	var ids []envelope.MessageID
	for id := range s.streams {
		ids = append(ids, id)
	}
	s.mu.RUnlock()
	for _, id := range ids {
		s.endStream(id)
	}
}
