package mtasts

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/twofile"
)

// File is where policies are kept.
type File = twofile.File

// Store keeps policies in two files, as a line for each domain:
//
//	DOMAIN ID FETCHED MAX-AGE MODE MX,MX...
//
// Times are in seconds.
type Store struct{ pair *twofile.Pair }

// NewStore gives a store in two files.
func NewStore(a, b File) *Store { return &Store{twofile.New("mta-sts-1", a, b)} }

// maxStored is the largest file that is read, in octets.
const maxStored = 64 << 20

// load gives what the newer file has. One that was not written to its end is no error.
func (s *Store) load() (map[string]*entry, error) {
	body, err := s.pair.Load(maxStored)
	if body == nil {
		return nil, err
	}
	return parseEntries(body), nil
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
	return s.pair.Save([]byte(strings.Join(lines, "")))
}

func (s *Store) close() { s.pair.Close() }
