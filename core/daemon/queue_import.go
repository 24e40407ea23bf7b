package daemon

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/queue"
)

// imports takes messages over, one after the other.
type imports struct {
	mu   sync.Mutex
	done *queue.Imported // nil: not opened yet
}

// importTime bounds how long a message may take to come.
const importTime = 25 * time.Second

// importMessage takes over a message of another queue. It comes through a pipe, in the form that
// core/control describes, and is kept before the answer is given.
func (q *queueRole) importMessage(r *ipc.Request) {
	files := r.Files()
	defer closeFiles(files)
	if len(files) != 1 {
		r.Fail(errors.New("there is no message"))
		return
	}
	_ = files[0].SetReadDeadline(time.Now().Add(importTime))
	q.imports.mu.Lock()
	defer q.imports.mu.Unlock()
	if q.imports.done == nil {
		done, err := queue.OpenImported(q.dir)
		if err != nil {
			r.Fail(err)
			return
		}
		q.imports.done = done
	}
	reply, err := q.takeOver(files[0])
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(reply)
}

func (q *queueRole) takeOver(f io.Reader) (*control.Import, error) {
	in := bufio.NewReaderSize(f, 64<<10)
	id, size, envs, err := control.ReadImport(in)
	if err != nil {
		return nil, err
	}
	var fresh []*envelope.Envelope
	var lines []string
	for _, e := range envs {
		line, err := importLine(e)
		if err != nil {
			return nil, err
		}
		if !q.imports.done.Has(line) && !q.holds(e) {
			fresh, lines = append(fresh, e), append(lines, line)
		}
	}
	reply := &control.Import{Message: id.String(), Taken: uint64(len(fresh)), Known: uint64(len(envs) - len(fresh))}
	if len(fresh) == 0 {
		return reply, nil
	}
	m, err := q.importBody(id, size, in)
	if err != nil {
		return nil, err
	}
	for _, e := range fresh {
		if e.ID = envelope.NewID(m.ID, uint32(e.ID)); e.LastTry.IsZero() && e.Retry > 0 {
			e.LastTry = e.Created // OpenSMTPD does not keep it
		}
	}
	if m.Envelopes = fresh; len(fresh) > 0 {
		err = q.store.Commit(m)
	}
	if err != nil {
		q.store.Release(m.ID)
		return nil, err
	}
	reply.Message = m.ID.String()
	err = q.imports.done.Add(lines...)
	for _, e := range fresh {
		q.enqueue(e, e.Retry == 0)
	}
	q.nudge()
	q.log.Infof("info: queue: message %s was imported as %s with %d envelopes", id, m.ID, len(fresh))
	return reply, err
}

// importLine tells an envelope of another queue from all others.
func importLine(e *envelope.Envelope) (string, error) {
	id := *e
	id.LastTry, id.LastBounce, id.Retry, id.ErrorLine, id.EscClass, id.EscCode = time.Time{}, time.Time{}, 0, "", 0, 0
	text, err := id.AppendText(nil)
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s %x", e.ID, sum[:16]), err
}

// holds reports whether an envelope is in the queue already: the server went down before it could be
// noted.
func (q *queueRole) holds(e *envelope.Envelope) bool {
	old, err := q.store.Envelope(e.ID)
	return err == nil && old.Created.Equal(e.Created) && old.Rcpt == e.Rcpt && old.Dest == e.Dest && old.Sender == e.Sender
}

// importBody reserves the id of a message, or another when it is taken, and stores the text.
func (q *queueRole) importBody(id envelope.MessageID, size int64, in io.Reader) (m *queue.Message, err error) {
	store, ok := q.store.(interface {
		Take(envelope.MessageID) error
	})
	if !ok || store.Take(id) != nil {
		ids, err := q.store.Reserve(1)
		if err != nil {
			return nil, err
		}
		id = ids[0]
	}
	m = &queue.Message{ID: id, Size: size}
	if size <= smallMessage {
		m.Body = make([]byte, size)
		_, err = io.ReadFull(in, m.Body)
	} else {
		var f *os.File
		if f, err = q.store.Create(id); err == nil {
			_, err = io.CopyN(f, in, size)
			err = errors.Join(err, f.Close())
		}
	}
	if err == nil {
		err = control.EndImport(in)
	}
	if err != nil {
		q.store.Release(id)
		return nil, err
	}
	return m, nil
}
