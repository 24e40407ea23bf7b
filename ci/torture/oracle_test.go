package torture

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// mark stands in the log before and after each event.
const mark = "=== torture: "

// slack is how far clocks and the order of notes may be off.
const slack = 2 * time.Second

// judge gives everything that is wrong with what was written down about a daemon, when nothing is in its
// queue any more.
func (j *journal) judge(of, log string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	wrong := slices.Clone(j.strange)
	failed := permFails(log)
	j.strange = nil
	for _, l := range j.letters {
		if l.of != of {
			continue
		}
		if l.taken {
			wrong = append(wrong, j.lost(l, failed)...)
		}
		wrong = append(wrong, j.tooOften(l)...)
		if l.refused && l.tries == 0 && len(l.got) > 0 {
			wrong = append(wrong, fmt.Sprintf("I4: %s was refused and delivered:\n%s", l.id, l.story()))
		}
	}
	return append(wrong, twoEnds(log)...)
}

// missing counts the recipients of acknowledged messages of which nothing came, apart from
// mailboxes into which nobody can look while mail is delivered.
func (j *journal) missing(of, log string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	failed := permFails(log)
	for _, l := range j.letters {
		if !l.taken || l.of != of {
			continue
		}
		for place := range l.want {
			if !strings.HasSuffix(place, "@mbox.test") && j.lostFor(l, place, failed) {
				n++
			}
		}
	}
	return n
}

// lost is I1.
func (j *journal) lost(l *letter, failed map[string]bool) (wrong []string) {
	for place, addr := range l.want {
		if j.lostFor(l, place, failed) {
			wrong = append(wrong, fmt.Sprintf("I1: %s is lost for %s:\n%s", l.id, addr, l.story()))
		}
	}
	return wrong
}

// lostFor reports whether neither the message nor a notice came. Where none is to be sent, the log has to tell.
func (j *journal) lostFor(l *letter, place string, failed map[string]bool) bool {
	if len(l.got[place]) > 0 || l.notices[place] > 0 {
		return false
	}
	return l.from != "" && l.notify != "NEVER" || !failed[l.want[place]]
}

// tooOften is I3 and I5.
func (j *journal) tooOften(l *letter) (wrong []string) {
	for place, at := range l.got {
		again := len(at) - l.tries - l.drops[place]
		if again > 0 && again > j.deaths(l.of, slices.MinFunc(at, time.Time.Compare), slices.MaxFunc(at, time.Time.Compare)) {
			wrong = append(wrong, fmt.Sprintf("I3: %s came %d times to %s:\n%s", l.id, len(at), place, l.story()))
		}
	}
	for place, n := range l.notices {
		if again := n - max(1, l.tries) - l.drops[place]; again > j.deaths(l.of, j.began, time.Now()) {
			wrong = append(wrong, fmt.Sprintf("I5: %d notices of %s for %s:\n%s", n, l.id, place, l.story()))
		}
	}
	return wrong
}

// deaths counts the events of a daemon between two deliveries.
func (j *journal) deaths(of string, from, to time.Time) (n int) {
	for _, e := range j.events {
		if e.of == of && e.begin.Before(to.Add(slack)) && (e.end.IsZero() || e.end.After(from.Add(-slack))) {
			n++
		}
	}
	return n
}

// again counts the deliveries that were the first, and the others by what makes them come.
func (j *journal) again() (first int, more map[string]int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	more = make(map[string]int)
	for _, l := range j.letters {
		for place, at := range l.got {
			first++
			slices.SortFunc(at, time.Time.Compare)
			for i := 1; i < len(at); i++ {
				more[j.window(l, place, at[i-1], at[i], i)]++
			}
		}
	}
	return first, more
}

// window names that in which the n-th repetition of a delivery happened.
func (j *journal) window(l *letter, place string, from, to time.Time, n int) string {
	if n <= l.drops[place] {
		return "the receiver hung up"
	}
	for _, e := range j.events {
		if e.of == l.of && e.begin.Before(to.Add(slack)) && (e.end.IsZero() || e.end.After(from.Add(-slack))) {
			what, _, _ := strings.Cut(e.what, " at ") // without the call at which it was
			return what
		}
	}
	if l.tries > 1 {
		return "the client tried again"
	}
	return "none"
}

var outcome = regexp.MustCompile(`m[td]a delivery evpid=([0-9a-f]{16}) .* to=<([^>]*)> .*? result="?(\w+)`)

// permFails gives the addresses for which the log has a failure.
func permFails(log string) map[string]bool {
	set := make(map[string]bool)
	for _, m := range outcome.FindAllStringSubmatch(log, -1) {
		if m[3] == "PermFail" {
			set[m[2]] = true
		}
	}
	return set
}

// twoEnds is I8: after the end of an envelope nothing more is tried with it, unless something died.
// A notice has the number of the envelope that it is about, and goes to somebody else.
func twoEnds(log string) (wrong []string) {
	ended := make(map[string]int) // envelope and recipient: number of the event after which it ended
	deaths := 0
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, mark) || strings.Contains(line, "lost process: ") || strings.HasPrefix(line, "info: Godwit ") {
			deaths++ // the daemon notices a death after we caused it
			continue
		}
		m := outcome.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		key := m[1] + " " + m[2]
		if before, ok := ended[key]; ok && before == deaths {
			wrong = append(wrong, "I8: tried after its end: "+strings.TrimSpace(line))
		}
		if m[3] != "TempFail" {
			ended[key] = deaths
		}
	}
	return wrong
}
