// Package mutants breaks the durability contract on purpose, in one place at a time, to prove
// that what checks it would notice. A mutant is a file of the tree with one piece of text
// exchanged; the go command takes it by -overlay, and nothing in the tree is changed.
package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mutant is one way to lose mail.
type Mutant struct {
	Name string
	File string // from the top of the tree
	Old  string // stands in the file once
	New  string
	Kill bool   // caught by killing processes, otherwise by the power cuts of core/queue
	Role string // whose calls are counted for that
}

// All gives the mutants.
func All() []Mutant {
	return []Mutant{
		{Name: "sync removed", File: "core/queue/journal.go",
			Old: "\t\terr = nil\n\t}\n\tif err == nil {\n\t\terr = j.cur.f.Sync()\n",
			New: "\t\terr = nil\n\t}\n\tif err == nil {\n",
		},
		{Name: "renamed before the directory is synced", File: "core/queue/batch.go",
			Old: "\tfor _, dir := range [...]string{queueDir, bucket(id)} {\n",
			New: `	_ = w.disk.Rename(incomingFile(id), messageFile(id))
	for _, dir := range [...]string{queueDir, bucket(id)} {
`},
		{Name: "segment removed before it is written out", File: "core/queue/writeout.go",
			Old: "\tvar failed error\n\tall := len(ids)\n",
			New: `	_ = s.disk.Remove(seg.name())
	_ = s.disk.SyncDir(journalDir)
	var failed error
	all := len(ids)
`},
		{Name: "reply before the commit", File: "core/daemon/session_data.go", Kill: true, Role: "queue",
			Old: "\tif err := s.d.m.peers[Queue].CallWithin(10*lookupWait, kindCommit, req, &reply); err != nil {\n",
			New: `	early := *req
	early.Body = append([]byte(nil), req.Body...)
	go func() { _ = s.d.m.peers[Queue].CallWithin(10*lookupWait, kindCommit, &early, new(commitReply)) }()
	if err := error(nil); err != nil {
`},
		{Name: "envelope removed before its delivery", File: "core/daemon/queue_local.go", Kill: true, Role: "agent",
			Old: "\treq.Body, req.Size = bytes, body.Size\n",
			New: `	req.Body, req.Size = bytes, body.Size
	q.drop(d.e.ID)
`},
	}
}

// Overlay writes the mutated file to dir and gives what -overlay of the go command takes.
// root is the top of the tree.
func (m Mutant) Overlay(root, dir string) (string, error) {
	original, err := filepath.Abs(filepath.Join(root, m.File))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.Old); n != 1 {
		return "", fmt.Errorf("mutant %q: %s has the text to exchange %d times, not once:\n%s", m.Name, m.File, n, m.Old)
	}
	mutated := filepath.Join(dir, filepath.Base(m.File))
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(text), m.Old, m.New, 1)), 0o644); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o644)
}
