// Fill makes a spool with a backlog, to measure what the server costs with it: deferred envelopes
// of messages with one recipient each, in files as a clean stop leaves them or in the journal as a
// crash does.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/queue"
	"github.com/godwit-mta/godwit/core/trace"
)

func main() {
	spool := flag.String("spool", "", "the spool directory; it has to be there, and empty")
	n := flag.Int("n", 100000, "envelopes")
	where := flag.String("in", "files", "files or journal")
	size := flag.Int("size", 1024, "octets of a message")
	domains := flag.Int("domains", 1000, "destinations")
	action := flag.String("action", "a", "name of the action")
	flag.Parse()
	b := &backlog{body: text(*size), domains: *domains, action: *action, made: time.Now().Add(-10 * time.Hour).Truncate(time.Second)}
	fill := b.files
	if *where == "journal" {
		fill = b.journal
	}
	if err := fill(*spool, *n); err != nil {
		fmt.Fprintf(os.Stderr, "fill: %v\n", err)
		os.Exit(1)
	}
}

// backlog is what the spool is filled with.
type backlog struct {
	body    []byte
	domains int
	action  string
	made    time.Time
}

func text(size int) []byte {
	head := "From: <sender@bench.test>\nTo: <rcpt@bench.test>\nSubject: backlog\n\n"
	line := "0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOP\n"
	return []byte(head + strings.Repeat(line, max(1, (size-len(head))/len(line))))
}

// envelope gives one that was tried some times without success and is due in an hour or more.
func (b *backlog) envelope(id envelope.ID, n int) *envelope.Envelope {
	rcpt := address.Address{Local: fmt.Sprint("user", n), Domain: fmt.Sprintf("d%d.bench.test", n%b.domains)}
	return &envelope.Envelope{
		ID: id, Dispatcher: b.action, Type: envelope.MTA, SMTPName: "mx.bench.test", Helo: "client.bench.test",
		Hostname: "client.bench.test", Sockaddr: "192.0.2.1", Sender: address.Address{Local: "sender", Domain: "bench.test"},
		Rcpt: rcpt, Dest: rcpt, Created: b.made, LastTry: b.made.Add(9 * time.Hour), Retry: 12, TTL: 30 * 24 * time.Hour,
		ErrorLine: "451 4.7.1 Try again later, please: too many messages", EscClass: 4, EscCode: 701,
	}
}

// writers is the number of goroutines that write.
const writers = 64

// each calls f for the numbers below n with several goroutines.
func each(n int, f func(n int) error) (err error) {
	var next atomic.Int64
	var once sync.Once
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if e := f(i); e != nil {
					once.Do(func() { err = e })
					return
				}
			}
		})
	}
	all.Wait()
	return err
}

// journal leaves everything in the journal.
func (b *backlog) journal(spool string, n int) error {
	s, err := queue.OpenFS(spool, queue.Options{SegmentSize: 1 << 30, SegmentAge: 24 * time.Hour}, new(trace.Logger))
	if err != nil {
		return err
	}
	err = each(n, func(i int) error {
		ids, err := s.Reserve(1)
		if err != nil {
			return err
		}
		e := b.envelope(envelope.NewID(ids[0], rand.Uint32()|1), i)
		return s.Commit(&queue.Message{ID: ids[0], Body: b.body, Envelopes: []*envelope.Envelope{e}})
	})
	if err != nil {
		return err
	}
	return s.Halt()
}

// files writes what the store would have written, without its syncs: a million takes minutes, not an hour.
func (b *backlog) files(spool string, n int) error {
	for i := range 256 {
		if err := os.MkdirAll(filepath.Join(spool, "queue", fmt.Sprintf("%02x", i)), 0o700); err != nil {
			return err
		}
	}
	return each(n, func(i int) error {
		// An odd factor: every number has one id, and they are spread.
		id := envelope.NewID(envelope.MessageID(uint32(i+1)*2654435761), rand.Uint32()|1)
		msg := id.Message().String()
		dir := filepath.Join(spool, "queue", msg[:2], msg)
		text, err := b.envelope(id, i).AppendText(nil)
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "message"), b.body, 0o600)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, id.String()), text, 0o600)
		}
		return err
	})
}
