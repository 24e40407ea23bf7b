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
	buckets map[string]*readBucket // by their directories
}

type readBucket struct {
	once   sync.Once
	cached *cached
}

// Reader makes one.
func (s *FS) Reader() *Reader { return &Reader{s: s, buckets: make(map[string]*readBucket)} }

// Envelope is as that of Store.
func (r *Reader) Envelope(id envelope.ID) (*envelope.Envelope, error) {
	if e := r.recall(id); e != nil {
		return e, nil
	}
	return r.s.Envelope(id)
}

// recall gives an envelope from the cache, or nil.
func (r *Reader) recall(id envelope.ID) *envelope.Envelope {
	msg := id.Message()
	if r.s.cache == nil || !r.s.stillFiled(msg) {
		return nil
	}
	record := r.bucket(bucket(msg)).messages[msg]
	m, err := decodeCached(record)
	if err != nil {
		return nil
	}
	for i := range m.evps {
		if m.evps[i].n != uint32(id) {
			continue
		}
		if e := r.s.recallEnvelope(id, &m.evps[i]); e != nil && r.s.stillFiled(msg) {
			return e
		}
		break
	}
	return nil
}

// bucket gives what the cache has of a bucket.
func (r *Reader) bucket(dir string) *cached {
	r.mu.Lock()
	b := r.buckets[dir]
	if b == nil {
		b = new(readBucket)
		r.buckets[dir] = b
	}
	r.mu.Unlock()
	b.once.Do(func() { b.cached = r.s.cache.read(dir) })
	return b.cached
}

// Forget gives the memory back that only envelopes before id need.
func (r *Reader) Forget(id envelope.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for dir := range r.buckets {
		if dir < bucket(id.Message()) {
			delete(r.buckets, dir)
		}
	}
}
