package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// pausedFile holds what is paused, a word a line. pausedNew takes its place when it is whole.
const (
	stateDir   = "state"
	pausedFile = stateDir + "/paused"
	pausedNew  = stateDir + "/paused.new"
	maxPaused  = 512 << 10 // octets
)

// Paused keeps in the spool which parts of the server are paused, so that they still are
// after a restart. A line of the file is a word; what follows a # is a remark.
type Paused struct{ disk disk }

// OpenPaused opens the directory state of the spool for that, and makes it when it is missing
// and can be made. It need not be locked: only the queue process calls it.
func OpenPaused(dir string) (*Paused, error) {
	d, err := openDisk(dir)
	if err != nil {
		return nil, err
	}
	return newPaused(d)
}

func newPaused(d disk) (*Paused, error) {
	if there, err := d.Exists(stateDir); err == nil && !there {
		if err := d.Mkdir(stateDir); err != nil {
			d.Close()
			return nil, err
		}
		if err := d.SyncDir("."); err != nil {
			d.Close()
			return nil, err
		}
	}
	return &Paused{d}, nil
}

// Read gives the words of the file; without one there are none.
func (p *Paused) Read() ([]string, error) {
	text, err := p.disk.ReadFile(pausedFile, maxPaused)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words = append(words, strings.Fields(line)...)
	}
	return words, nil
}

// Write makes words durable as what is paused. After an error the old ones may hold or the
// new ones.
func (p *Paused) Write(words []string) error {
	words = slices.Clone(words)
	slices.Sort(words)
	var b bytes.Buffer
	b.WriteString("# what smtpctl(8) paused\n")
	for _, w := range words {
		fmt.Fprintln(&b, w)
	}
	f, err := p.disk.Create(pausedNew)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b.Bytes(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = p.disk.Rename(pausedNew, pausedFile)
	}
	if err == nil {
		err = p.disk.SyncDir(stateDir)
	}
	return err
}

// Close ends the use of the directory.
func (p *Paused) Close() error { return p.disk.Close() }
