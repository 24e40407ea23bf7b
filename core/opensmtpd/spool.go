// Package opensmtpd reads the queue of OpenSMTPD 6.4 to 7.8 on the disk, whatever is in it. It
// changes nothing there.
package opensmtpd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/godwit-mta/godwit/core/envelope"
)

// Spool is the spool directory of a daemon that does not run.
type Spool struct {
	root *os.Root
	key  []byte // nil: none is known
}

// KeySize is the length of a key, in octets.
const KeySize = 32

// maxEntries bounds a directory.
const maxEntries = 1 << 20

// Open opens a spool directory, usually /var/spool/smtpd. The key is that of "queue encryption", or nil.
func Open(dir string, key []byte) (*Spool, error) {
	if key != nil && len(key) != KeySize {
		return nil, fmt.Errorf("a key has %d characters, this one has %d", KeySize, len(key))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{root, key}
	if fi, err := root.Lstat("queue"); err != nil || !fi.IsDir() {
		root.Close()
		return nil, fmt.Errorf("%s: there is no directory queue in it", dir)
	}
	return s, nil
}

// Close closes the directory.
func (s *Spool) Close() error { return s.root.Close() }

// Bad is a file that cannot be taken.
type Bad struct {
	Name string
	Err  error
}

// Message is one message of the queue.
type Message struct {
	ID        envelope.MessageID
	Envelopes []*envelope.Envelope
	Bad       []Bad // what is left
	form      form
}

// Messages calls f for every message, in the order of their ids. What is no part of a queue is told to
// foreign.
func (s *Spool) Messages(f func(*Message) error, foreign func(name string, err error)) error {
	buckets, err := s.list("queue")
	if err != nil {
		return err
	}
	for _, b := range buckets {
		dir := "queue/" + b.Name()
		if len(b.Name()) != 2 || !b.IsDir() {
			foreign(dir, errForeign)
			continue
		}
		messages, err := s.list(dir)
		if err != nil {
			foreign(dir, err)
			continue
		}
		for _, m := range messages {
			name := dir + "/" + m.Name()
			id, err := envelope.ParseMessageID(m.Name())
			if err != nil || !m.IsDir() || m.Name()[:2] != b.Name() {
				foreign(name, errForeign)
				continue
			}
			msg, err := s.message(id, name)
			if err != nil {
				foreign(name, err)
				continue
			}
			if err := f(msg); err != nil {
				return err
			}
		}
	}
	s.offline(foreign)
	return nil
}

// offline tells of the mail that local programs submitted while the daemon did not run. Nobody has
// looked at its recipients yet, and it counts as its owner's: it has to be submitted, not queued.
func (s *Spool) offline(foreign func(name string, err error)) {
	entries, err := s.list("offline")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		foreign("offline", err)
	}
	for _, e := range entries {
		foreign("offline/"+e.Name(), errOffline)
	}
}

var (
	errForeign = errors.New("it is no part of a queue")
	errOffline = errors.New("it was submitted while the daemon did not run, and is not supported yet: its owner can give it " +
		"to sendmail; the first line has the arguments, the message follows")
)

// list reads a directory, in the order of the names.
func (s *Spool) list(name string) ([]fs.DirEntry, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries)
	if err != nil && err != io.EOF {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int {
		if a.Name() < b.Name() {
			return -1
		}
		return 1
	})
	return entries, nil
}

// maxEnvelopes is the largest number of envelopes of one message that is read.
const maxEnvelopes = 20000

func (s *Spool) message(id envelope.MessageID, dir string) (*Message, error) {
	entries, err := s.list(dir)
	if err != nil {
		return nil, err
	}
	m := &Message{ID: id}
	for _, e := range entries {
		if e.Name() == "message" {
			continue
		}
		name := dir + "/" + e.Name()
		evp, err := envelope.ParseID(e.Name())
		if err != nil || evp.Message() != id || !e.Type().IsRegular() || len(m.Envelopes) >= maxEnvelopes {
			m.Bad = append(m.Bad, Bad{name, errForeign})
			continue
		}
		env, how, err := s.envelope(evp, name)
		if err == nil && len(m.Envelopes) > 0 && how != m.form {
			err = errors.New("it is not encoded as other envelopes of its message")
		}
		if err != nil {
			m.Bad = append(m.Bad, Bad{name, err})
			continue
		}
		m.form = how
		m.Envelopes = append(m.Envelopes, env)
	}
	return m, nil
}

// open opens a regular file that is no link.
func (s *Spool) open(name string) (*os.File, int64, error) {
	fi, err := s.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !fi.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: it is no regular file", name)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, 0, err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(fi, opened) {
		err = fmt.Errorf("%s: it is being changed", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, opened.Size(), nil
}

func (s *Spool) envelope(id envelope.ID, name string) (*envelope.Envelope, form, error) {
	f, size, err := s.open(name)
	if err != nil {
		return nil, form{}, err
	}
	defer f.Close()
	if size > envelope.MaxText+1024 {
		return nil, form{}, errors.New("it is too large for an envelope")
	}
	r, how, err := s.own(f, size)
	if err != nil {
		return nil, how, err
	}
	text, err := io.ReadAll(io.LimitReader(r, envelope.MaxText+1))
	if err != nil {
		return nil, how, err
	}
	e, err := envelope.Parse(id, text)
	if err != nil {
		return nil, how, err
	}
	e.EscCode = e.EscCode/10*100 + e.EscCode%10 // there it is 10 times the subject and the detail
	return e, how, nil
}

// Body opens the text of a message, decoded. It is at most limit octets, or reading fails.
func (s *Spool) Body(m *Message, limit int64) (io.ReadCloser, error) {
	id := m.ID
	f, size, err := s.open("queue/" + id.String()[:2] + "/" + id.String() + "/message")
	if err != nil {
		return nil, err
	}
	r, err := s.mail(f, size, m.form)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &body{Reader: r, left: limit, Closer: f}, nil
}

// body reads no more than is allowed.
type body struct {
	io.Reader
	io.Closer
	left int64
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errors.New("the message is too large")
	}
	return n, err
}
