package queue

import (
	"errors"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/openat"
	"github.com/godwit-mta/godwit/core/envelope"
)

// The cache is a copy of the envelopes that lie in files, so that a start and show queue need not open
// each of them: to look at a file costs a tenth of reading it. It is nothing but a copy. A message in it counts only
// as long as its directory and all files of its envelopes have the stamps that they had before they were copied,
// and the journal does not speak of the message; otherwise the files are read. So whatever happens
// to the cache, or to the files behind its back, costs time and nothing else. It is not synced.
//
// There is a file for each bucket. Records are appended when a message was written out, or was read at a
// start because the cache had none that is true. When there is too much in a file it is made anew.

// cacheDir is the directory of the cache.
const cacheDir = "cache"

// stamp tells one state of a file from another.
type stamp = openat.Stamp

// Limits of a file of the cache, in octets.
const (
	cacheRoom  = 256 << 10 // what it may have before anything is thrown away
	cacheLimit = 64 << 20  // what is read of it
)

// cache writes the files; a nil one does nothing.
type cache struct {
	disk disk
	log  interface{ Debugf(string, ...any) }
	now  func() time.Time

	mu   sync.Mutex // held by who writes
	most [256]int64 // the size at which a file is made anew; 0: cacheRoom
}

func cacheFile(bucket string) string { return cacheDir + bucket[len(queueDir):] }

// bucketNumber gives the number that is the name of a bucket.
func bucketNumber(dir string) int {
	n, _ := strconv.ParseUint(dir[len(dir)-2:], 16, 8) // it is one
	return int(n)
}

// cached is a file of the cache as it was read.
type cached struct {
	messages map[envelope.MessageID][]byte // the last record of each
	size     int64
	broken   bool // something in it is no record
}

// read gives what the cache has of a bucket.
func (c *cache) read(dir string) *cached {
	if c == nil {
		return new(cached)
	}
	f, err := c.disk.Open(cacheFile(dir))
	if err != nil {
		return &cached{broken: !errors.Is(err, fs.ErrNotExist)}
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size > cacheLimit {
		return &cached{broken: true}
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return &cached{broken: err != nil}
	}
	return parseCache(b)
}

// readFirst is read at a start: a file that is damaged is given up, because what is appended would not be found.
func (c *cache) readFirst(dir string) *cached {
	was := c.read(dir)
	if was.broken {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed(dir, errCached)
		return new(cached)
	}
	return was
}

// look opens a bucket to look at what the cache has of it; nil: there is nothing to be seen.
func (c *cache) look(dir string, was *cached) openDir {
	if c == nil || len(was.messages) == 0 {
		return nil
	}
	d, err := c.disk.Dir(dir)
	if err != nil {
		return nil
	}
	return d
}

// add appends records of messages of one bucket, and makes the file anew when it has become too large.
func (c *cache) add(dir string, records []byte) {
	if c == nil || len(records) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := bucketNumber(dir)
	if c.most[n] == 0 {
		c.most[n] = cacheRoom
	}
	size, err := c.append(cacheFile(dir), records)
	if err == nil && size > c.most[n] {
		err = c.renew(dir)
	}
	c.failed(dir, err)
}

// failed gives a file of the cache up that could not be written.
func (c *cache) failed(dir string, err error) {
	if err == nil {
		return
	}
	c.log.Debugf("queue: %s: %v", cacheDir, err)
	_ = c.disk.Remove(cacheFile(dir))
}

func (c *cache) append(name string, records []byte) (size int64, err error) {
	f, err := c.disk.Edit(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, err
	}
	if size == 0 {
		records = append([]byte(cacheHead), records...)
	}
	_, err = f.WriteAt(records, size)
	return size + int64(len(records)), err
}

// settle ends the reading of a bucket: the records of what had to be read from its files are added. Of what is in
// the file then so many octets are true. An encrypted queue leaves nothing else there: it may be from before it was.
func (c *cache) settle(dir string, was *cached, fresh []byte, live int64, encrypted bool) {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.most[bucketNumber(dir)] = max(cacheRoom, 2*live)
	c.mu.Unlock()
	c.add(dir, fresh)
	all, most := was.size+int64(len(fresh)), 2*live+cacheRoom
	if encrypted {
		most = live + int64(len(cacheHead))
	}
	if all > most {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed(dir, c.renew(dir))
	}
}

// renew makes a file anew of what is true in it.
func (c *cache) renew(dir string) error {
	b := []byte(cacheHead)
	for id, record := range c.read(dir).messages {
		if m, err := decodeCached(record); err == nil && same(c.disk, messageDir(id), m.dir) {
			b = append(b, record...)
		}
	}
	c.most[bucketNumber(dir)] = max(cacheRoom, 2*int64(len(b)))
	tmp := cacheFile(dir) + tmpSuffix
	f, err := c.disk.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	f.Close()
	if err != nil {
		return err
	}
	return c.disk.Rename(tmp, cacheFile(dir))
}

// same reports whether a file is in the state of which a stamp tells. Its name is relative to d.
func same(d interface{ Stat(string) (stamp, error) }, name string, as stamp) bool {
	is, err := d.Stat(name)
	return err == nil && is == as
}

// sees puts down the state of a file that is about to be read. It gives false when that cannot go into the cache:
// on a file system that counts in seconds a file may change once more and look the same.
func (c *cache) sees(name string, as *stamp) bool {
	if c == nil {
		return false
	}
	var err error
	*as, err = c.disk.Stat(name)
	at := time.Unix(0, as.Changed)
	return err == nil && (at.Nanosecond() != 0 || c.now().Sub(at).Abs() > coarseTick)
}

// coarseTick is more than the coarsest clock of a file system.
const coarseTick = 3 * time.Second

// recall gives a message of a bucket from the cache, or nil when it has to be read.
func (s *FS) recall(files openDir, id envelope.MessageID, record []byte) *loaded {
	m, err := decodeCached(record)
	if err != nil || m.id != id || files == nil || !same(files, inBucket(messageDir(id)), m.dir) {
		return nil
	}
	l := &loaded{id: id, dir: messageDir(id), message: true,
		e: &entry{dir: true, coded: m.coded, evps: make([]place, len(m.evps))}, evps: make([]*envelope.Envelope, len(m.evps))}
	for i, c := range m.evps {
		if l.evps[i] = s.recallEnvelope(files, envelope.NewID(id, c.n), &c); l.evps[i] == nil {
			return nil
		}
		l.e.evps[i] = place{n: c.n}
	}
	return l
}

// recallEnvelope gives an envelope from the cache, or nil.
func (s *FS) recallEnvelope(files openDir, id envelope.ID, c *cachedEnvelope) *envelope.Envelope {
	if !same(files, inBucket(envelopeFile(id)), c.stamp) {
		return nil
	}
	e, err := s.parse(id, c.text)
	if err != nil {
		return nil
	}
	return e
}

// remember adds what was written out to the cache.
func (s *FS) remember(ids []envelope.MessageID) {
	if s.cache == nil {
		return
	}
	found := make([][]byte, len(ids))
	_ = parallel(len(ids), func(i int) error {
		found[i] = s.readMessage(ids[i]).record // none when it cannot be read
		return nil
	})
	records := make(map[string][]byte)
	for i, id := range ids {
		records[bucket(id)] = append(records[bucket(id)], found[i]...)
	}
	for dir, b := range records {
		s.cache.add(dir, b)
	}
}
