package queue

import (
	"cmp"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// Options of the store on disk. The zero value of SegmentSize and SegmentAge stands for
// the default.
type Options struct {
	SegmentSize int64         // octets; a larger segment is closed and written out; 64 MiB, at most 1 GiB
	SegmentAge  time.Duration // an older one too; 1 minute
	Encoding    Encoding      // see SetEncoding
	MinFree     int           // percent of blocks and of inodes that must be free to take mail; 0: any

	ahead    int           // see maxAhead
	cache    bool          // envelopes in files are copied to cache/
	backlog  int64         // maxBacklog, or less in tests
	patience time.Duration // behindWait, or less in tests

	// Together calls what answers all that one sync made durable; nil: nothing is done around that.
	Together func(answer func())
}

// DefaultMinFree is OpenSMTPD's limit for MinFree.
const DefaultMinFree = 5

// smallBody is the largest text that is written into the journal, in octets.
const smallBody = 64 << 10

// FS is the store on disk.
type FS struct {
	disk disk
	log  *trace.Logger
	opts Options
	now  func() time.Time
	j    *journal

	cache *cache // nil: none

	mu        sync.RWMutex // never held while the disk is waited for
	index     index
	space     space
	backlog   backlog
	unread    unread
	reserved  map[envelope.MessageID]bool // true: being committed
	closed    []*segment                  // to be written out, in order
	recovered []envelope.MessageID        // in the index at start; until Load

	codec    atomic.Pointer[codec]
	decoding chan struct{}                  // one for each that decodes a message
	streams  map[envelope.MessageID]*stream // being encoded
	locked   []envelope.ID                  // whose keys are missing

	out  sync.Mutex // held by who writes out
	kick chan struct{}
	stop chan struct{}
	gone chan struct{} // the goroutine that writes out has ended
}

// OpenFS opens the spool directory, makes what is missing in it and reads the journal. It
// refuses directories that somebody else owns or may write to, and a spool that another process has
// open (a *filelock.HeldError). Mail is in the index after Load.
func OpenFS(dir string, opts Options, log *trace.Logger) (*FS, error) {
	o, err := BeginFS(dir, opts, log)
	if err != nil {
		return nil, err
	}
	return o.Finish()
}

// Opening is a spool that is locked and looked at, but whose journal is not read yet: that takes a second for some
// hundred thousand messages.
type Opening struct {
	disk *osDisk
	opts Options
	log  *trace.Logger
}

// BeginFS is the first part of OpenFS. It finds what has to be put right by who started the server.
func BeginFS(dir string, opts Options, log *trace.Logger) (*Opening, error) {
	if _, err := newCodec(opts.Encoding); err != nil {
		return nil, err
	}
	if err := prepareSpool(dir); err != nil {
		return nil, err
	}
	lock, err := lockSpool(dir)
	if err != nil {
		return nil, err
	}
	d, err := openDisk(dir)
	if err != nil {
		lock.Release()
		return nil, err
	}
	d.lock = lock
	return &Opening{d, opts, log}, nil
}

// Finish reads the journal. It is to be called once; after an error the spool is closed.
func (o *Opening) Finish() (*FS, error) {
	o.opts.ahead, o.opts.cache = maxAhead, true
	s, err := open(o.disk, o.opts, o.log)
	if err != nil {
		o.disk.Close()
		return nil, err
	}
	return s, nil
}

func open(d disk, opts Options, log *trace.Logger) (*FS, error) {
	opts.SegmentSize = min(cmp.Or(opts.SegmentSize, 64<<20), 1<<30)
	opts.SegmentAge = cmp.Or(opts.SegmentAge, time.Minute)
	s := &FS{
		disk: d, log: log, opts: opts, now: time.Now,
		index:    newIndex(),
		reserved: make(map[envelope.MessageID]bool),
		decoding: make(chan struct{}, decoders),
		kick:     make(chan struct{}, 1), stop: make(chan struct{}), gone: make(chan struct{}),
	}
	s.backlog.most = cmp.Or(opts.backlog, maxBacklog)
	s.backlog.patience = cmp.Or(opts.patience, behindWait)
	s.backlog.held, s.backlog.refusing = s.hurry, s.refusing
	if opts.cache {
		s.cache = &cache{disk: d, log: log, now: time.Now}
	}
	if err := s.SetEncoding(opts.Encoding); err != nil {
		return nil, err
	}
	if err := prepareDisk(d); err != nil {
		return nil, err
	}
	next, err := s.recover()
	if err != nil {
		s.closeSegments()
		return nil, err
	}
	s.j = newJournal(d, s, log, opts, next)
	go s.writer()
	s.poke()
	return s, nil
}

// Ready fails as long as no record could be written.
func (s *FS) Ready() error { return spaceError(s.j.ready()) }

// Reserve is of Store.
func (s *FS) Reserve(n int) ([]envelope.MessageID, error) {
	if err := s.Room(0); err != nil {
		return nil, err
	}
	ids := make([]envelope.MessageID, 0, n)
	for tries := 0; len(ids) < n; tries++ {
		if tries > 20*n {
			s.Release(ids...)
			return nil, ErrExists
		}
		id := envelope.MessageID(rand.Uint32())
		if id == 0 {
			continue
		}
		err := s.claim(id, false)
		if err == nil {
			ids = append(ids, id)
		} else if !errors.Is(err, ErrExists) {
			s.Release(ids...)
			return nil, err
		}
	}
	return ids, nil
}

// claim takes an id for a reservation or for a commit.
func (s *FS) claim(id envelope.MessageID, commit bool) error {
	s.mu.RLock()
	_, reserved := s.reserved[id]
	s.mu.RUnlock()
	if !reserved {
		if err := s.unused(id, commit); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	committing, reserved := s.reserved[id]
	if reserved && (committing || !commit) {
		return ErrExists
	}
	if !reserved && !s.index.filed(id) {
		return ErrExists
	}
	s.reserved[id] = commit
	return nil
}

// unused fails when files have the name of a message: mail may lie there that was
// not loaded yet. An id that was not reserved may have a file in incoming/ for its commit.
func (s *FS) unused(id envelope.MessageID, commit bool) error {
	found, err := s.disk.Exists(messageDir(id))
	if err == nil && !found && !commit {
		found, err = s.disk.Exists(incomingFile(id))
	}
	if found {
		return ErrExists
	}
	return err
}

// Release is of Store.
func (s *FS) Release(ids ...envelope.MessageID) {
	for _, id := range ids {
		s.mu.Lock()
		committing, ok := s.reserved[id]
		if ok && !committing {
			delete(s.reserved, id)
		}
		s.mu.Unlock()
		if ok && !committing {
			s.endStream(id)
			s.removeFile(incomingFile(id))
		}
	}
}

func (s *FS) removeFile(name string) {
	if err := s.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warnf("queue: %v", err)
	}
}

// Create is of Store.
func (s *FS) Create(id envelope.MessageID) (*os.File, error) {
	s.mu.RLock()
	committing, ok := s.reserved[id]
	s.mu.RUnlock()
	if !ok || committing {
		return nil, ErrNotFound
	}
	if c := s.codec.Load(); c.encodes() {
		return s.createEncoded(id, c)
	}
	f, err := s.disk.CreateShared(incomingFile(id))
	return f, spaceError(err)
}

// Close is of Store. Mail that could not be written out stays in the journal.
func (s *FS) Close() error { return s.end(s.writeOut) }

// Halt closes the store and leaves everything in the journal.
func (s *FS) Halt() error { return s.end(func() error { return nil }) }

func (s *FS) end(last func() error) error {
	s.mu.Lock()
	select {
	case <-s.stop:
		s.mu.Unlock()
		return ErrClosed
	default:
	}
	close(s.stop)
	s.mu.Unlock()
	s.endStreams()
	s.backlog.close()
	s.j.close()
	<-s.gone
	err := last()
	s.closeSegments()
	return errors.Join(err, s.disk.Close())
}

func (s *FS) closeSegments() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.index.segs {
		seg.f.Close()
	}
}

func (s *FS) opened(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index.segs[seg.number] = seg
}

func (s *FS) applied(seg *segment, at int64, r *record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.weight += r.weight()
	s.backlog.grow(r.weight())
	missing := false
	for _, o := range r.ops {
		if !s.index.apply(seg, at, r, o) && o.kind != opRemove {
			missing = true
		}
	}
	if len(s.index.doomed) > 0 {
		s.poke()
	}
	if missing {
		return ErrNotFound
	}
	return nil
}

func (s *FS) failed(seg *segment, r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range r.ops {
		s.index.mayHave(seg, o)
	}
}

func (s *FS) full(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, seg)
	s.poke()
}

func (s *FS) together(answer func()) {
	if s.opts.Together == nil {
		answer()
		return
	}
	s.opts.Together(answer)
}

// poke wakes the goroutine that writes out.
func (s *FS) poke() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
