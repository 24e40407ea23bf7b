package queue

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mutant is a mistake: in one file of core/queue another text stands for the one that is there.
type mutant struct {
	name     string
	file     string
	old, new string
	rare     bool // it shows in few outcomes, and needs more cuts
}

// That files are renamed before their sync when they are written out is not among them: it does no harm as
// long as the sync comes before the end of the segment, which is the truth until then. Nor is that the names of
// segments are not synced at a start: each was before the first record was written.
var mutants = []mutant{
	{"the journal is not synced", "journal.go",
		"err = j.cur.f.Sync()\n	}\n	if cap(j.buf)", "err = nil\n	}\n	if cap(j.buf)", false},
	{"answers come before the sync", "journal.go",
		"err := j.begin()\n", "for i := range batch {\nbatch[i].done(nil)\nbatch[i].done = func(error) {}\n}\nerr := j.begin()\n", false},
	{"the name of a segment is not synced", "journal.go",
		"j.disk.SyncDir(journalDir)", "error(nil)", false},
	{"a large text is not synced", "commit.go",
		"if err := f.Sync(); err != nil {", "if err := error(nil); err != nil {", false},
	{"the name of a large text is not synced", "commit.go",
		"return s.disk.SyncDir(incomingDir)", "return nil", false},
	{"files are not synced when they are written out", "batch.go",
		"return w.files[i].f.Sync()", "return nil", false},
	{"queue/ is not synced", "batch.go",
		"[...]string{queueDir, bucket(id), messageDir(id)}", "[...]string{bucket(id), messageDir(id)}", false},
	{"buckets are not synced", "batch.go",
		"[...]string{queueDir, bucket(id), messageDir(id)}", "[...]string{queueDir, messageDir(id)}", false},
	{"directories of messages are not synced", "batch.go",
		"[...]string{queueDir, bucket(id), messageDir(id)}", "[...]string{queueDir, bucket(id)}", false},
	{"a large text moves to a directory that is not synced", "batch.go",
		"for _, dir := range [...]string{queueDir, bucket(id)} {", "for _, dir := range [...]string{} {", false},
	{"a segment goes before its mail is in files", "writeout.go",
		"	var failed error\n	all := len(ids)\n", "	s.disk.Remove(seg.name())\n	var failed error\n	all := len(ids)\n", false},
	{"the end of a segment is not synced", "writeout.go",
		"s.disk.SyncDir(journalDir)", "error(nil)", false},
	{"the removal of a message is not synced", "writeout.go",
		"w.dirs[bucket(m.id)] = true", "_ = w", false},
	{"the removal of envelopes is not synced", "writeout.go",
		"		return s.trim(m)\n", "		delete(w.dirs, messageDir(m.id))\n		return s.trim(m)\n", false},
	{"an envelope is deleted before the record", "apply.go",
		"		r.remove(id)\n", "		r.remove(id)\n		s.disk.Remove(envelopeFile(id))\n", false},
	{"the directories of the spool are not synced", "spool.go",
		"return d.SyncDir(\".\")", "return nil", false},
	{"segments are not synced at a start", "recover.go",
		"seg.f.Sync()", "error(nil)", true},
	{"what is discovered is not synced", "discover.go",
		"err = f.Sync()", "err = nil", false},
	{"the directory of what is discovered is not synced", "discover.go",
		"[...]string{messageDir(l.id), bucket(l.id), queueDir}", "[...]string{bucket(l.id), queueDir}", false},
	{"a torn record is believed", "segment.go",
		"crc32.Update(crc, castagnoli, b[:headerLen-9]) != h.crc", "crc32.Update(crc, castagnoli, b[:headerLen-9]) == 1", true},
}

// TestMutants needs a compiler and minutes, so it runs when MUTANTS is set.
func TestMutants(t *testing.T) {
	if os.Getenv("MUTANTS") == "" {
		t.Skip("MUTANTS is not set")
	}
	dir, err := filepath.Abs("../../../../core/queue")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) { m.survive(t, dir) })
	}
}

// TestMutantsFit: each mistake still has its place in the source.
func TestMutantsFit(t *testing.T) {
	for _, m := range mutants {
		b, err := os.ReadFile(filepath.Join("../../../../core/queue", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(b, []byte(m.old)) != 1 {
			t.Errorf("%s: %s has not one place like this any more: %s", m.name, m.file, m.old)
		}
	}
}

// survive fails when the tests of the package pass with the mistake in it.
func (m *mutant) survive(t *testing.T, dir string) {
	source := filepath.Join(dir, m.file)
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	broken, overlay := filepath.Join(tmp, m.file), filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(broken, bytes.Replace(b, []byte(m.old), []byte(m.new), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {source: broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, list, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-vet=off", "-overlay", overlay, "-run", "^TestPowerCut$", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CUTS=3000")
	if m.rare {
		cmd.Env = append(os.Environ(), "CUTS=20000")
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		t.Errorf("not noticed:\n%s", out)
	case !strings.Contains(string(out), "--- FAIL: TestPowerCut"):
		t.Errorf("it was not run:\n%s", out)
	default:
		t.Logf("%.300s", out)
	}
}
