package torture

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOracle: the oracle finds each kind of loss, and nothing where nothing is wrong.
func TestOracle(t *testing.T) {
	const ok = "1 mda delivery evpid=0000000000000001 from=<f@x> to=<a+1@x> rcpt=<a+1@x> user=a delay=0s result=Ok stat=Delivered\n"
	for name, tt := range map[string]struct {
		from string
		do   func(j *journal, l *letter)
		log  string
		want string
	}{
		"delivered": {do: func(j *journal, l *letter) { once(j, l, taken) }, log: ok},
		"lost":      {do: func(j *journal, l *letter) { j.heard(l, taken, "") }, want: "I1"},
		"failed, without a notice": {from: "f@x", do: func(j *journal, l *letter) { j.heard(l, taken, "") },
			log: strings.Replace(ok, "Ok", "PermFail", 1), want: "I1"},
		"failed, from nobody": {do: func(j *journal, l *letter) { j.heard(l, taken, "") }, log: strings.Replace(ok, "Ok", "PermFail", 1)},
		"never acknowledged":  {do: func(j *journal, l *letter) { j.heard(l, unknown, "") }},
		"twice":               {do: func(j *journal, l *letter) { once(j, l, taken); once(j, l, later) }, want: "I3"},
		"twice, tried twice":  {do: func(j *journal, l *letter) { once(j, l, unknown); once(j, l, taken) }},
		"twice, after a death": {do: func(j *journal, l *letter) {
			once(j, l, taken)
			j.event("", "kill")()
			once(j, l, later)
		}},
		"twice, long after a death": {do: func(j *journal, l *letter) {
			j.events = append(j.events, event{"", "kill", j.began.Add(-time.Hour), j.began.Add(-time.Hour)})
			once(j, l, taken)
			once(j, l, later)
		}, want: "I3"},
		"twice, dropped": {do: func(j *journal, l *letter) {
			once(j, l, taken)
			j.dropped(l, "a@x")
			once(j, l, later)
		}},
		"refused": {do: func(j *journal, l *letter) { once(j, l, never) }, want: "I4"},
		"damaged": {do: func(j *journal, l *letter) {
			j.heard(l, taken, "")
			j.arrived("a@x", append(l.text, 'x'), "", time.Now(), false)
		}, want: "damaged"},
		"half": {do: func(j *journal, l *letter) {
			j.event("", "kill")()
			once(j, l, taken)
			j.arrived("a@x", l.text[:len(l.text)-3], "", time.Now(), true)
		}},
		"half alone": {do: func(j *journal, l *letter) {
			j.event("", "kill")()
			j.heard(l, taken, "")
			j.arrived("a@x", l.text[:len(l.text)-3], "", time.Now(), true)
		}, want: "I1"},
		"to somebody else": {do: func(j *journal, l *letter) {
			once(j, l, taken)
			j.arrived("b@x", l.text, "", time.Now(), false)
		}, want: "not for it"},
		"invented": {do: func(j *journal, l *letter) {
			once(j, l, taken)
			j.arrived("a@x", []byte("X-TT: 9\n\nBody.\n"), "", time.Now(), false)
		}, want: "nobody sent"},
		"two ends":                {do: func(j *journal, l *letter) { once(j, l, taken) }, log: ok + ok, want: "I8"},
		"two ends, death between": {do: func(j *journal, l *letter) { once(j, l, taken) }, log: ok + mark + "kill\n" + ok},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJournal(t, filepath.Join(t.TempDir(), "journal"))
			l := &letter{id: "1", from: tt.from, want: map[string]string{"a@x": "a+1@x"}, text: []byte("X-TT: 1\n\nBody.\n"),
				sum: sha256.Sum256([]byte("Body.\n"))}
			j.sends(l)
			tt.do(j, l)
			got := strings.Join(j.judge("", tt.log), "\n")
			if (got != "") != (tt.want != "") || !strings.Contains(got, tt.want) {
				t.Errorf("says %q, want %q", got, tt.want)
			}
		})
	}
}

func once(j *journal, l *letter, a answer) {
	j.heard(l, a, "")
	j.arrived("a@x", l.text, "", time.Now(), false)
}
