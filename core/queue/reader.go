package queue

import (
	"sync"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Reader gives many envelopes, from the cache where that is true. It is for who reads most of the queue in the order of
// the ids and is done soon: what it has read of the cache stays in memory with it. Several goroutines may use it.
type Reader struct {
	s       *FS
	mu      sync.Mutex
	buckets [256]*readBucket // by their numbers
}

type readBucket struct {
	once   sync.Once
	cached *cached
	files  openDir // nil: nothing is there
}

// Reader makes one.
func (s *FS) Reader() *Reader { return &Reader{s: s} }

// Read is Envelope of Store for who reads one after the other into the same.
func (r *Reader) Read(id envelope.ID, e *envelope.Envelope) error {
	if r.recall(id, e) {
		return nil
	}
	text, err := r.s.text(id)
	if err != nil {
		return err
	}
	return r.s.read(e, id, text)
}

// recall reads an envelope from the cache, if that has it.
func (r *Reader) recall(id envelope.ID, e *envelope.Envelope) bool {
	msg := id.Message()
	if r.s.cache == nil || !r.s.stillFiled(msg) {
		return false
	}
	b := r.bucket(msg)
	if b.files == nil {
		return false
	}
	c, ok := findCached(b.cached.messages[msg], uint32(id))
	return ok && same(b.files, inBucket(envelopeFile(id)), c.stamp) && r.s.read(e, id, c.text) == nil && r.s.stillFiled(msg)
}

// bucket gives what the cache has of the bucket of a message.
func (r *Reader) bucket(msg envelope.MessageID) *readBucket {
	n := bucketOf(msg)
	r.mu.Lock()
	b := r.buckets[n]
	if b == nil {
		b = new(readBucket)
		r.buckets[n] = b
	}
	r.mu.Unlock()
	b.once.Do(func() {
		b.cached = r.s.cache.read(bucket(msg))
		b.files = r.s.cache.look(bucket(msg), b.cached)
	})
	return b
}

// Forget gives back what only envelopes before id need. None of these may be asked for at that moment.
func (r *Reader) Forget(id envelope.ID) { r.forget(int(bucketOf(id.Message()))) }

// Close gives all of it back.
func (r *Reader) Close() { r.forget(len(r.buckets)) }

func (r *Reader) forget(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, b := range r.buckets[:n] {
		if b != nil && b.files != nil {
			b.files.Close()
		}
		r.buckets[i] = nil
	}
}

// bucketOf gives the number that is the name of a message's bucket.
func bucketOf(msg envelope.MessageID) byte { return byte(msg >> 24) }
