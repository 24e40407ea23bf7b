package queue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/filelock"
	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/core/envelope"
)

// The directories of the spool.
const (
	journalDir  = "journal"
	queueDir    = "queue"
	incomingDir = "incoming"
	corruptDir  = "corrupt"
)

// spoolDirs are those that a spool has to have.
var spoolDirs = [...]string{journalDir, queueDir, incomingDir, corruptDir, cacheDir} // never changed

const (
	messageName = "message"
	tmpSuffix   = ".tmp"

	encodedSuffix = ".enc"
)

// LockName is the file in the spool whose lock is held by whoever has the store open. Where the spool
// directory belongs to root, it has to be there already.
const LockName = "lock"

// lockWait is how long a process that still has the spool is waited for: it may be about to end.
const lockWait = 3 * time.Second

// lockSpool keeps others out until the lock is released or this process ends.
func lockSpool(dir string) (*filelock.Lock, error) {
	lock, err := filelock.Take(path.Join(dir, LockName), lockWait)
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return nil, fmt.Errorf("spool is %w", held)
	}
	return lock, err
}

var errTooLarge = errors.New("file is too large")

func bucket(id envelope.MessageID) string { return queueDir + "/" + id.String()[:2] }

// inBucket makes the name of a directory or file of a message one that is relative to its bucket.
func inBucket(name string) string { return name[len(queueDir+"/XX/"):] }

func messageDir(id envelope.MessageID) string { return bucket(id) + "/" + id.String() }

func messageFile(id envelope.MessageID) string { return textFile(id, false) }

// textFile gives the name of a message's text; that of an encoded one says so.
func textFile(id envelope.MessageID, coded bool) string {
	name := messageDir(id) + "/" + messageName
	if coded {
		name += encodedSuffix
	}
	return name
}

// envelopeFile is called for each envelope of a list of the queue.
func envelopeFile(id envelope.ID) string {
	var digits [16]byte
	id.Append(digits[:0])
	var room [len(queueDir) + 29]byte
	b := append(append(room[:0], queueDir...), '/')
	b = append(append(b, digits[:2]...), '/')
	b = append(append(b, digits[:8]...), '/')
	return string(append(b, digits[:]...))
}

func incomingFile(id envelope.MessageID) string { return incomingDir + "/" + id.String() }

// isBucket reports whether a name in queue/ is two hexadecimal digits.
func isBucket(name string) bool {
	return len(name) == 2 && strings.Trim(name, "0123456789abcdef") == ""
}

// prepareSpool checks the spool directory and makes what is missing below it.
func prepareSpool(dir string) error {
	if err := checkDir(dir, true); err != nil {
		return err
	}
	for _, name := range spoolDirs {
		sub := path.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := checkDir(sub, false); err != nil {
			return err
		}
	}
	return nil
}

// checkDir refuses a directory that others could change: what lies in the queue is run
// and delivered with the rights of any user.
func checkDir(dir string, top bool) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s: not a directory", dir)
	}
	if uid, ok := owner.UID(fi); ok && uid != os.Geteuid() && !(top && uid == 0) {
		return fmt.Errorf("%s: owned by uid %d, must be %d", dir, uid, os.Geteuid())
	}
	if mode := fi.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s: mode %04o lets others write", dir, mode)
	}
	return nil
}

// prepareDisk makes the directories durable; a lost one would take the queue with it.
func prepareDisk(d disk) error {
	for _, name := range spoolDirs {
		if err := d.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return d.SyncDir(".")
}
