package mtasts

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// File is where policies are kept.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// Store keeps policies in two files, which are written in turn: while one is being written the
// other one is whole. Each is a line with a number, which says which is newer, and the digest of
// the rest, and then a line for each domain:
//
//	DOMAIN ID FETCHED MAX-AGE MODE MX,MX...
//
// Times are in seconds.
type Store struct {
	files [2]File
	last  uint64
}

// NewStore gives a store in two files.
func NewStore(a, b File) *Store { return &Store{files: [2]File{a, b}} }

// maxStored is the largest file that is read, in octets.
const maxStored = 64 << 20

const magic = "mta-sts-1"

var errDamaged = errors.New("file is damaged")

// load gives what the newer file has. One that was not written to its end is no error.
func (s *Store) load() (map[string]*entry, error) {
	var newest []byte
	var failed error
	for _, f := range s.files {
		n, body, err := readFile(f)
		switch {
		case err != nil:
			failed = err
		case n > s.last:
			s.last, newest = n, body
		}
	}
	if newest == nil {
		return nil, failed
	}
	return parseEntries(newest), nil
}

func readFile(f File) (number uint64, body []byte, err error) {
	all, err := io.ReadAll(io.NewSectionReader(f, 0, maxStored))
	if err != nil || len(all) == 0 {
		return 0, nil, err
	}
	head, body, _ := bytes.Cut(all, []byte("\n"))
	fields := strings.Fields(string(head))
	if len(fields) != 3 || fields[0] != magic {
		return 0, nil, errDamaged
	}
	number, err = strconv.ParseUint(fields[1], 10, 64)
	if err != nil || fields[2] != fmt.Sprintf("%x", sha256.Sum256(body)) {
		return 0, nil, errDamaged
	}
	return number, body, nil
}

// parseEntries leaves out what is not right.
func parseEntries(body []byte) map[string]*entry {
	entries := make(map[string]*entry)
	for line := range strings.Lines(string(body)) {
		if domain, e, ok := parseEntry(strings.TrimSuffix(line, "\n")); ok && len(entries) < maxDomains {
			entries[domain] = e
		}
	}
	return entries
}

func parseEntry(line string) (domain string, e *entry, ok bool) {
	f := strings.Split(line, " ")
	if len(f) != 6 || !address.ValidHost(f[0]) || !validID(f[1]) {
		return "", nil, false
	}
	fetched, err1 := strconv.ParseInt(f[2], 10, 64)
	age, err2 := strconv.ParseInt(f[3], 10, 64)
	e = &entry{id: f[1], fetched: time.Unix(fetched, 0)}
	e.Mode, e.MaxAge = Mode(f[4]), time.Duration(age)*time.Second
	if err1 != nil || err2 != nil || age < 0 || age > int64(maxMaxAge/time.Second) ||
		e.Mode != Enforce && e.Mode != Testing && e.Mode != None {
		return "", nil, false
	}
	for mx := range strings.SplitSeq(f[5], ",") {
		pattern, ok := parsePattern(mx)
		if mx == "" && e.Mode == None {
			break
		}
		if !ok || len(e.MX) == maxMX {
			return "", nil, false
		}
		e.MX = append(e.MX, pattern)
	}
	return f[0], e, true
}

// save writes policies in place of the older file.
func (s *Store) save(entries map[string]entry) error {
	lines := make([]string, 0, len(entries))
	for domain, e := range entries {
		lines = append(lines, fmt.Sprintf("%s %s %d %d %s %s\n", domain, e.id, e.fetched.Unix(), int64(e.MaxAge/time.Second), e.Mode, strings.Join(e.MX, ",")))
	}
	slices.Sort(lines)
	body := strings.Join(lines, "")
	n := s.last + 1
	f := s.files[n%2]
	all := fmt.Sprintf("%s %d %x\n%s", magic, n, sha256.Sum256([]byte(body)), body)
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(all), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.last = n
	return nil
}

func (s *Store) close() {
	for _, f := range s.files {
		_ = f.Close()
	}
}
