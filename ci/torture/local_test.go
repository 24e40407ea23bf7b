package torture

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// collect writes into the journal what lies in the mailboxes of a daemon, and takes it away.
func (d *server) collect(j *journal) {
	for dir, place := range map[string]string{"box/alice": "alice@box.test", "box/carol": "carol@box.test", "catch/alice": "alice@catch.test"} {
		d.files(j, filepath.Join(d.dir, dir, "new/*"), place, false)
	}
	d.files(j, filepath.Join(d.dir, "piped/*.whole"), "carol@pipe.test", false)
	for _, user := range []string{"one", "two"} {
		if d.doves != "" {
			d.files(j, filepath.Join(d.doves, user, "Maildir/new/*"), user+"@dove.test", false)
		}
	}
}

// settle is collect when nothing is delivered any more: also what a command did not come to
// the end of.
func (d *server) settle(j *journal) {
	d.collect(j)
	d.files(j, filepath.Join(d.dir, "piped/*"), "carol@pipe.test", true)
}

func (d *server) files(j *journal, pattern, place string, half bool) {
	paths, _ := filepath.Glob(pattern)
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if text, err := os.ReadFile(path); err == nil {
			j.arrived(place, text, sender(text), st.ModTime(), half)
			_ = os.Remove(path)
		}
	}
}

// sender is what a message says about where it comes from.
func sender(text []byte) string { return field(text, "Return-Path") }

// mbox writes into the journal what lies in the mailbox of carol, which all daemons share.
func mbox(j *journal) {
	text, err := os.ReadFile("/var/mail/carol")
	if err != nil {
		return
	}
	for message := range strings.SplitSeq("\n"+strings.TrimSuffix(string(text), "\n"), "\nFrom ") {
		line, message, ok := strings.Cut(message, "\n")
		if !ok {
			continue
		}
		_, date, _ := strings.Cut(line, " ") // in seconds, which the oracle's slack allows for
		when, err := time.ParseInLocation(time.ANSIC, date, time.Local)
		if err != nil {
			when = time.Now()
		}
		j.arrived("carol@mbox.test", []byte(message), "", when, true)
	}
	_ = os.Remove("/var/mail/carol")
}
