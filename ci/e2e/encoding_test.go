package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Keys of the queue.
const (
	oldKey = "0123456789abcdef0123456789abcdef"
	newKey = "fedcba9876543210fedcba9876543210"
)

// noKey is the reason that show queue gives.
const noKey = "encrypted with a key that is not there"

// secret stands in every line of the messages of encoded.
const secret = "The treasure is under the third step."

// encoded submits a small and a large message, and gives their texts by a mark.
func (d *daemon) encoded(mark string, texts map[string]string) {
	d.t.Helper()
	for size, lines := range map[string]int{"small": 3, "large": 5000} {
		id := mark + "-" + size
		var body strings.Builder
		for i := range lines {
			fmt.Fprintf(&body, "%s %s %d\n", secret, id, i)
		}
		texts[id] = body.String()
		submit(d.t, tester, "alice@godwit.test", "Subject: "+id+"\nX-Test: "+id+"\n\n"+texts[id])
	}
}

// inSpool gives the files in the spool that contain a text.
func (d *daemon) inSpool(text string) (names []string) {
	d.t.Helper()
	err := filepath.WalkDir(d.spool, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return names
}

// hidden demands that nothing of what was submitted can be read in the spool.
func (d *daemon) hidden() {
	d.t.Helper()
	for _, text := range []string{secret, "Subject:", "alice", tester} {
		if names := d.inSpool(text); len(names) > 0 {
			d.t.Errorf("%q can be read in %s", text, names)
		}
	}
}

// again stops the daemon, which writes the journal out, and starts it with another configuration.
func (d *daemon) again(conf string) {
	d.t.Helper()
	d.stop()
	write(d.t, d.conf, conf)
	d.start()
}

// reasons counts the lines of show queue by their state and reason.
func (d *daemon) reasons() map[string]int {
	states := make(map[string]int)
	for _, line := range d.queued() {
		f := strings.SplitN(line, "|", 14)
		if len(f) < 14 {
			continue // it is not there yet
		}
		state := f[11]
		if state == "held" {
			state += ": " + f[13]
		}
		states[state]++
	}
	return states
}

// TestEncodedQueue changes compression and keys with mail in the queue. Nothing of it can be read in the
// spool, mail whose key is missing waits for it, and in the end all is delivered whole.
func TestEncodedQueue(t *testing.T) {
	with := func(lines ...string) string { return strings.Join(lines, "\n") + "\n" + heldConf }
	texts := make(map[string]string)
	d := start(t, with("queue encryption "+oldKey))
	d.must("command succeeded", "pause", "mda")
	d.encoded("old", texts)
	d.hidden()
	both := with("queue compression zstd", "queue encryption "+newKey+" "+oldKey)
	d.reload(both, "configuration reloaded")
	d.encoded("both", texts)
	d.hidden()
	d.again(both)
	d.hidden()
	d.states(map[string]int{"pending": 4})

	d.again(with("queue encryption " + newKey))
	d.states(map[string]int{"pending": 2, "held: " + noKey: 2})
	d.must("command succeeded", "resume", "mda")
	d.states(map[string]int{"held: " + noKey: 2})
	d.must("command succeeded", "pause", "mda")
	d.encoded("new", texts)
	d.hidden()

	d.reload(both, "configuration reloaded")
	d.states(map[string]int{"pending": 4})
	d.reload(with("queue compression gzip", "queue encryption none "+oldKey+" "+newKey), "configuration reloaded")
	d.encoded("packed", texts)
	d.again(with("queue encryption none " + oldKey + " " + newKey))
	if names := d.inSpool(secret); len(names) > 0 {
		t.Errorf("compressed mail can be read in %s", names)
	}
	d.encoded("plain", texts)
	if len(d.inSpool(secret)) == 0 {
		t.Error("plain mail cannot be read: the test proves nothing")
	}
	d.states(map[string]int{"pending": 8})
	d.must("command succeeded", "resume", "mda")
	d.drained(startWait)
	for _, text := range newMaildir("alice").wait(t, len(texts), startWait) {
		header, body := split(text)
		id := field(header, "X-Test")
		if string(body) != texts[id] {
			t.Errorf("%s: %d octets of %d, or others", id, len(body), len(texts[id]))
		}
		delete(texts, id)
	}
	if len(texts) > 0 {
		t.Errorf("%d messages are missing", len(texts))
	}
}

// states waits for the states of the queue.
func (d *daemon) states(want map[string]int) {
	d.t.Helper()
	if !within(startWait, func() bool { return fmt.Sprint(d.reasons()) == fmt.Sprint(want) }) {
		d.t.Fatalf("the queue has %v, want %v", d.reasons(), want)
	}
}
