package torture

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// journal is what the clients, the receivers and the killer did. It is never killed.
type journal struct {
	mu      sync.Mutex
	file    *os.File
	began   time.Time
	letters map[string]*letter
	events  []event
	strange []string // what came and cannot be
	cut     int      // halves that a killed delivery left in a mailbox or gave to a command
}

// event is something after which a message may come again.
type event struct {
	of         string // the daemon
	what       string
	begin, end time.Time
}

// letter is a message and its history.
type letter struct {
	of               string // the daemon that it was offered to
	id, from, notify string
	want             map[string]string // where it has to come: the address that is named in the log
	text             []byte            // LF line ends
	sum              [sha256.Size]byte // of the body
	tries            int               // that were taken, or may have been
	taken, refused   bool
	got              map[string][]time.Time
	notices          map[string]int
	drops            map[string]int // receivers that had it and did not say so
	history          []string
}

func newJournal(t *testing.T, path string) *journal {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &journal{file: f, began: time.Now(), letters: make(map[string]*letter)}
}

// note writes a line, and syncs it. The lock is held.
func (j *journal) note(l *letter, format string, args ...any) {
	line := fmt.Sprintf("%8.3f ", time.Since(j.began).Seconds()) + fmt.Sprintf(format, args...)
	if l != nil {
		l.history = append(l.history, line)
		line += " id=" + l.id
	}
	_, _ = j.file.WriteString(line + "\n")
	_ = j.file.Sync()
}

// sends notes that a client is about to send the final dot.
func (j *journal) sends(l *letter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.letters[l.id] == nil {
		l.got, l.notices, l.drops = make(map[string][]time.Time), make(map[string]int), make(map[string]int)
		j.letters[l.id] = l
	}
	j.note(l, "S from=<%s> to=%v size=%d sum=%x", l.from, l.want, len(l.text), l.sum[:4])
}

// answer is what a client heard.
type answer int

const (
	unknown answer = iota
	taken
	later
	never
)

func (j *journal) heard(l *letter, a answer, what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch a {
	case taken:
		l.taken = true
		l.tries++
	case unknown:
		l.tries++
	case never:
		l.refused = true
	}
	j.note(l, "%c %s", "UARR"[a], what)
}

// arrived notes a delivery. half says that the place may hold the beginning of a message
// whose delivery was killed; from is "" when the place does not tell it.
func (j *journal) arrived(place string, text []byte, from string, when time.Time, half bool) *letter {
	header, body, _ := bytes.Cut(text, []byte("\n\n"))
	id := field(header, "X-TT")
	sum := sha256.Sum256(body)
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.letters[id]
	switch {
	case l == nil && half && len(j.events) > 0:
		j.cut++
		return nil
	case l == nil:
		j.strange = append(j.strange, fmt.Sprintf("%s: a message that nobody sent: id %q, %d octets", place, id, len(text)))
		return nil
	case sum != l.sum && half && len(j.events) > 0 && bytes.HasSuffix(l.text[:min(len(l.text), len(l.text)-lenAfter(l.text, body))], body):
		j.cut++
		j.note(l, "D %s: cut short", place)
		return l
	case sum != l.sum:
		j.strange = append(j.strange, fmt.Sprintf("%s: %s is damaged, body of %d octets:\n%s", place, id, len(body), l.story()))
	case l.want[place] == "":
		j.strange = append(j.strange, fmt.Sprintf("%s: %s is not for it:\n%s", place, id, l.story()))
	case from != "" && from != "<"+l.from+">":
		j.strange = append(j.strange, fmt.Sprintf("%s: %s comes from %s:\n%s", place, id, from, l.story()))
	}
	l.got[place] = append(l.got[place], when)
	j.note(l, "D %s at %.3f", place, when.Sub(j.began).Seconds())
	return l
}

// lenAfter gives how much of a text comes after the beginning of its body that was given.
func lenAfter(text, body []byte) int {
	_, whole, _ := bytes.Cut(text, []byte("\n\n"))
	return max(0, len(whole)-len(body))
}

// dropped notes that the receiver did not say that it has the message.
func (j *journal) dropped(l *letter, place string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l.drops[place]++
	j.note(l, "drop %s", place)
}

// noticed reads a notice of failure.
func (j *journal) noticed(text []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.letters[field(text, "X-TT")]
	if l == nil {
		j.strange = append(j.strange, fmt.Sprintf("a notice of nothing:\n%s", text))
		return
	}
	rcpt := ""
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case name == "Final-Recipient":
			rcpt = place(strings.TrimPrefix(value, "rfc822; "))
		case name == "Action" && value == "failed":
			l.notices[rcpt]++
			j.note(l, "N %s", rcpt)
		}
	}
}

// event notes something after which messages may come again; the caller ends it.
func (j *journal) event(of, what string) (end func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	i := len(j.events)
	j.events = append(j.events, event{of: of, what: what, begin: time.Now()})
	j.note(nil, "K %s", what)
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.events[i].end = time.Now()
	}
}

// place gives the name of a recipient without what follows a plus.
func place(addr string) string {
	local, domain, _ := strings.Cut(addr, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}

// field gives the first field of that name in a text.
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && bytes.EqualFold(key, []byte(name)) {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

func (l *letter) story() string { return "\t" + strings.Join(l.history, "\n\t") }
