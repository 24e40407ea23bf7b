package ipc

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"

	"github.com/godwit-mta/godwit/compat/fdpass"
)

// chunk is a run of frames; the descriptors belong to its first frames.
type chunk struct {
	data  []byte
	files []*os.File
}

// send appends a frame to what the writer has to write.
func (c *Conn) send(kind Kind, flags uint8, id uint32, v any, files []*os.File, wait bool) error {
	if len(files) > MaxFiles {
		closeAll(files)
		return fmt.Errorf("ipc: %d descriptors in one message", len(files))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for wait && c.queued > highWater && !c.closed && !c.closing {
		c.room.Wait()
	}
	if c.closed || c.closing {
		closeAll(files)
		return ErrClosed
	}
	if len(c.queue) == 0 || len(files) > 0 {
		c.queue = append(c.queue, chunk{})
	}
	last := &c.queue[len(c.queue)-1]
	start := len(last.data)
	b := binary.BigEndian.AppendUint32(last.data, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(kind))
	b = append(b, flags, byte(len(files)))
	b = binary.BigEndian.AppendUint32(b, id)
	b, err := c.codec.marshal(b, v)
	payload := len(b) - start - headerSize
	if err == nil && payload > MaxPayload {
		err = fmt.Errorf("ipc: message of %d octets", payload)
	}
	if err != nil {
		last.data = last.data[:start]
		closeAll(files)
		return err
	}
	binary.BigEndian.PutUint32(b[start:], uint32(payload))
	last.data, last.files = b, append(last.files, files...)
	c.queued += len(b) - start
	if flags&flagReply == 0 || c.queued > readSize {
		c.held = false
	}
	if !c.writing && !c.held {
		c.writing = true
		c.gather()
		c.direct()
	}
	return nil
}

// gather lets goroutines that are about to send do so first: what they send goes with what
// waits, in one write that wakes the other process once. It does not wait for anything that
// is not ready to run.
func (c *Conn) gather() {
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
}

// Together calls f and sends the answers that it gives in one go.
func (c *Conn) Together(f func()) {
	c.hold()
	defer c.release()
	f()
}

// hold keeps answers until release, so that all answers to what was read in one go are
// written in one go. Anything else that is sent takes them along at once, and so does who
// waits for them to be sent.
func (c *Conn) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release writes the answers since hold.
func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo()
}

// letGo ends a hold.
func (c *Conn) letGo() {
	c.held = false
	if !c.writing && c.queued > 0 && !c.closed {
		c.writing = true
		c.direct()
	}
}

// direct writes what waits without waiting for the other end; what the socket does not
// take, and descriptors, are left to the writer. Whoever sets writing calls it, holding
// the lock, so that under load one goroutine writes for many.
func (c *Conn) direct() {
	for c.queued > 0 && !c.closed {
		batch := c.take()
		c.mu.Unlock()
		rest, err := c.try(batch)
		c.mu.Lock()
		if err != nil {
			closeFiles(rest)
			c.shutLocked()
			return
		}
		if len(rest) > 0 {
			c.rest = rest
			c.wake.Broadcast()
			return
		}
		c.recycle(batch)
	}
	c.writing = false
	c.wake.Broadcast()
}

// take gives what waits.
func (c *Conn) take() []chunk {
	batch := c.queue
	c.queue, c.queued = c.spare, 0
	c.spare = nil
	c.room.Broadcast()
	return batch
}

// recycle keeps the buffer of a batch for the next one.
func (c *Conn) recycle(batch []chunk) {
	if len(batch) == 1 && cap(batch[0].data) <= readSize && c.spare == nil {
		batch[0] = chunk{data: batch[0].data[:0]}
		c.spare = batch
	}
}

// try writes as much of a batch as goes at once and gives the rest.
func (c *Conn) try(batch []chunk) ([]chunk, error) {
	for i := range batch {
		k := &batch[i]
		if len(k.files) > 0 {
			return batch[i:], nil
		}
		for len(k.data) > 0 {
			n, err := fdpass.TryWrite(c.sock, k.data)
			if err != nil {
				return batch[i:], err
			}
			if n == 0 {
				return batch[i:], nil
			}
			if n == len(k.data) {
				break
			}
			k.data = k.data[n:]
		}
	}
	return nil, nil
}

// write sends what could not be sent at once, until the connection is closed.
func (c *Conn) write() {
	defer close(c.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for c.rest == nil && !c.closed && (!c.closing || c.writing) {
			c.wake.Wait()
		}
		if c.rest == nil {
			return
		}
		rest := c.rest
		c.rest = nil
		c.mu.Unlock()
		err := c.writeAll(rest)
		c.mu.Lock()
		if err != nil {
			c.shutLocked()
			return
		}
		c.direct()
	}
}

func (c *Conn) writeAll(batch []chunk) error {
	for i := range batch {
		if err := c.writeChunk(&batch[i]); err != nil {
			closeFiles(batch[i+1:])
			return err
		}
	}
	return nil
}

func (c *Conn) writeChunk(k *chunk) error {
	defer closeAll(k.files)
	if len(k.data) == 0 {
		return nil
	}
	if len(k.files) > 0 {
		_, err := fdpass.Write(c.sock, k.data, k.files)
		return err
	}
	_, err := c.sock.Write(k.data)
	return err
}
