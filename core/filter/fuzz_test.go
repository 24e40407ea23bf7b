package filter

import (
	"strings"
	"testing"
)

// FuzzAnswer: whatever a process says is either refused or an answer that can be carried out.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("filter-result|0123456789abcdef|fedcba9876543210|reject|550 5.7.1 no | bars"))
	f.Add([]byte("filter-result|0123456789abcdef|fedcba9876543210|proceed"))
	f.Add([]byte("filter-dataline|0123456789abcdef|fedcba9876543210|..dot"))
	f.Add([]byte("filter-dataline|0123456789abcdef|fedcba9876543210"))
	f.Add([]byte("||||"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAnswer(line)
		if err != nil {
			return
		}
		if a.line == nil && (a.decision.Verdict >= verdictCount || a.decision.Verdict == Bypass || strings.ContainsAny(a.decision.Text, "\r\x00")) {
			t.Errorf("%q: %+v", line, a)
		}
		if r, ok := ParseReply(a.decision.Text); ok && (r.Code < 400 || r.Code > 599) {
			t.Errorf("%q: %+v", line, r)
		}
	})
}

// FuzzRegister: whatever is said in a handshake is refused or understood.
func FuzzRegister(f *testing.F) {
	f.Add("register|report|smtp-in|*")
	f.Add("register|filter|smtp-in|data-line")
	f.Add("register|ready")
	f.Fuzz(func(t *testing.T, line string) {
		var r registration
		ready, err := r.take(line)
		if ready && err != nil || ready && line != "register|ready" {
			t.Errorf("%q: ready %t, %v", line, ready, err)
		}
		if r.filters[SMTPIn]>>phaseCount != 0 || r.filters[SMTPOut]&^outgoing != 0 || r.reports[SMTPIn]&^allEvents != 0 {
			t.Errorf("%q: %+v", line, r)
		}
	})
}

// FuzzFields: whatever is told is one line.
func FuzzFields(f *testing.F) {
	f.Add("a|b", "c\nd")
	f.Fuzz(func(t *testing.T, a, b string) {
		line := string(appendFields(nil, []string{a, b}))
		if strings.Count(line, "\n") != 1 || strings.ContainsAny(line, "\r\x00") || strings.IndexByte(line[1:], '|') != len(a) {
			t.Errorf("%q", line)
		}
	})
}
