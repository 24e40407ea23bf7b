package queue

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/godwit-mta/godwit/compat/fsync"
	"github.com/godwit-mta/godwit/core/envelope"
)

// Imported remembers in the spool what was taken over from the queue of another server, a line each,
// so that nothing is taken twice. Its methods are called by one at a time.
type Imported struct {
	f     *os.File
	known map[string]bool
}

// OpenImported reads state/imported below the spool directory, and makes it when it is missing.
func OpenImported(dir string) (*Imported, error) {
	dir = filepath.Join(dir, stateDir)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "imported"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	i := &Imported{f: f, known: make(map[string]bool)}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		i.known[lines.Text()] = true
	}
	if err = lines.Err(); err == nil {
		err = syncDirectory(dir)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return i, nil
}

func syncDirectory(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return fsync.SyncDir(d)
}

// Has reports whether a line was added before.
func (i *Imported) Has(line string) bool { return i.known[line] }

// Add makes lines durable. After an error some of them may be.
func (i *Imported) Add(lines ...string) error {
	var text []byte
	for _, line := range lines {
		text = append(append(text, line...), '\n')
	}
	if _, err := i.f.Write(append([]byte{'\n'}, text...)); err != nil { // a line that was cut off ends here
		return err
	}
	if err := fsync.SyncFile(i.f); err != nil {
		return err
	}
	for _, line := range lines {
		i.known[line] = true
	}
	return nil
}

// Close closes the file.
func (i *Imported) Close() error { return i.f.Close() }

// Take reserves an id that the caller chose. It fails with ErrExists when a message has it.
func (s *FS) Take(id envelope.MessageID) error { return s.claim(id, false) }
