package daemon

import (
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/compat/owner"
	"github.com/godwit-mta/godwit/compat/user"
)

// Bounds of what is remembered of .forward files.
const (
	forwardMemory = 256             // files
	forwardAge    = 5 * time.Second // until a file is read again although it looks the same
)

// forwardCache remembers what processes have read a moment ago. Without it, everybody who
// can send mail could have a process started with every recipient.
type forwardCache struct {
	mu    sync.Mutex
	files map[forwardKey]cachedForward
}

type forwardKey struct {
	uid  uint32
	home string
}

type cachedForward struct {
	file  fs.FileInfo
	until time.Time
	reply forwardReply
}

// get gives the answer for a file that still looks as it did then.
func (c *forwardCache) get(u user.User, file fs.FileInfo, now time.Time) (forwardReply, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, ok := c.files[forwardKey{u.UID, u.Home}]
	return f.reply, ok && now.Before(f.until) && unchanged(f.file, file)
}

func (c *forwardCache) put(u user.User, file fs.FileInfo, reply *forwardReply, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil || len(c.files) >= forwardMemory {
		c.files = make(map[forwardKey]cachedForward)
	}
	c.files[forwardKey{u.UID, u.Home}] = cachedForward{file, now.Add(forwardAge), *reply}
}

func unchanged(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return false
	}
	before, _ := owner.UID(a)
	after, _ := owner.UID(b)
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode() && before == after
}
