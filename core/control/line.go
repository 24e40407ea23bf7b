package control

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/scheduler"
	"github.com/godwit-mta/godwit/core/stats"
	"github.com/godwit-mta/godwit/core/trace"
)

// NewQueueEntry joins what the queue and what the scheduler know of an envelope. An empty
// TTL of the envelope means ttl.
func NewQueueEntry(e *envelope.Envelope, info scheduler.Info, ttl time.Duration) QueueEntry {
	q := QueueEntry{
		ID: e.ID, Family: family(e.Sockaddr), Type: e.Type.String(), Flags: queueFlags(e, info),
		Sender: mailbox(e.Sender), Rcpt: mailbox(e.Rcpt), Dest: mailbox(e.Dest),
		Created: seconds(e.Created), LastTry: seconds(e.LastTry), Retry: int64(e.Retry),
		State: "pending", Seconds: int64(info.Wait / time.Second), ErrorLine: e.ErrorLine,
	}
	if e.TTL > 0 {
		ttl = e.TTL
	}
	q.Expires = q.Created + int64(ttl/time.Second)
	switch {
	case info.State == scheduler.Inflight:
		q.State = "inflight"
	case info.Reason != scheduler.NoHold:
		q.State, q.ErrorLine = "held", HeldText(e, info.Reason)
	}
	return q
}

// HeldText says why an envelope is held.
func HeldText(e *envelope.Envelope, why scheduler.Reason) string {
	switch why {
	case scheduler.NoAction:
		return fmt.Sprintf("no action %q in the configuration", e.Dispatcher)
	case scheduler.OtherKind:
		if e.Type == envelope.MTA {
			return fmt.Sprintf("action %q does not relay", e.Dispatcher)
		}
		return fmt.Sprintf("action %q does not deliver here", e.Dispatcher)
	case scheduler.NoKey:
		return "encrypted with a key that is not there"
	}
	return ""
}

func family(sockaddr string) string {
	switch {
	case strings.Contains(sockaddr, ":"):
		return "inet6"
	case strings.Contains(sockaddr, "."):
		return "inet4"
	}
	return "local"
}

func queueFlags(e *envelope.Envelope, info scheduler.Info) string {
	var words []string
	for _, flag := range []struct {
		set  bool
		word string
	}{
		{e.Flags&envelope.BounceMessage != 0, "bounce"},
		{e.Flags&envelope.Authenticated != 0, "auth"},
		{e.Flags&envelope.Internal != 0, "internal"},
		{info.Suspended, "suspend"},
		{info.Held, "hold"},
	} {
		if flag.set {
			words = append(words, flag.word)
		}
	}
	return strings.Join(words, ",")
}

func mailbox(a address.Address) string {
	if a.Null() {
		return "@"
	}
	return a.String()
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// AppendLine appends the line of smtpctl show queue.
func (q *QueueEntry) AppendLine(b []byte) []byte {
	start := len(b)
	b = append(b, q.ID.String()...)
	for _, word := range [...]string{q.Family, q.Type, q.Flags, q.Sender, q.Rcpt, q.Dest} {
		b = append(append(b, '|'), word...)
	}
	for _, n := range [...]int64{q.Created, q.Expires, q.LastTry, q.Retry} {
		b = strconv.AppendInt(append(b, '|'), n, 10)
	}
	b = append(append(b, '|'), q.State...)
	b = strconv.AppendInt(append(b, '|'), q.Seconds, 10)
	b = append(append(b, '|'), q.ErrorLine...)
	if slices.ContainsFunc(b[start:], func(c byte) bool { return c < ' ' || c > '~' }) {
		b = append(b[:start], trace.Escape(string(b[start:]))...)
	}
	return append(b, '\n')
}

// String is the output of smtpctl show status.
func (s Status) String() string {
	word := func(paused bool) string {
		if paused {
			return "paused"
		}
		return "running"
	}
	return fmt.Sprintf("MDA %s\nMTA %s\nSMTP %s\n", word(s.MDA), word(s.MTA), word(s.SMTP))
}

// String is the output of smtpctl show stats.
func (s *Stats) String() string {
	return stats.Text(s.Values, time.Duration(s.Uptime)*time.Second)
}

// CountLine says what was done to how many envelopes: "3 envelopes removed". It is empty
// for operations that do not count.
func CountLine(op Op, n uint64) string {
	word, ok := map[Op]string{Discover: "discovered", PauseEnvelope: "paused",
		ResumeEnvelope: "resumed", QueueAction: "changed", QueueActionHeld: "changed", Remove: "removed", Schedule: "scheduled"}[op]
	if !ok {
		return ""
	}
	if n == 1 {
		return "1 envelope " + word
	}
	return fmt.Sprintf("%d envelopes %s", n, word)
}

// MonitorHeader stands above every 25 lines of smtpctl monitor.
const MonitorHeader = "--- client ---  -- envelope --   ---- relay/delivery --- ------- misc -------\n" +
	"curr conn disc  curr  enq  deq   ok tmpfail prmfail loop expire remove bounce"

// MonitorLine is the line of smtpctl monitor for what happened between two snapshots; the
// first one has nothing before it.
func MonitorLine(before, now []stats.Value) string {
	value := func(values []stats.Value, names ...string) (sum int64) {
		for _, v := range values {
			for _, name := range names {
				if v.Name == name {
					sum += v.Value
				}
			}
		}
		return sum
	}
	change := func(names ...string) int64 { return value(now, names...) - value(before, names...) }
	connected := change(stats.SMTPSessionInet4, stats.SMTPSessionInet6, stats.SMTPSessionLocal)
	dequeued := change(stats.DeliveryOK, stats.DeliveryPermFail, stats.DeliveryLoop,
		stats.EnvelopeExpired, stats.EnvelopeRemoved)
	return fmt.Sprintf("%4d %4d %4d  %4d %4d %4d %4d %7d %7d %4d %6d %6d %6d",
		value(now, stats.SMTPSession), connected, connected-change(stats.SMTPSession),
		value(now, stats.Envelope), dequeued+change(stats.Envelope), dequeued,
		change(stats.DeliveryOK), change(stats.DeliveryTempFail), change(stats.DeliveryPermFail),
		change(stats.DeliveryLoop), change(stats.EnvelopeExpired), change(stats.EnvelopeRemoved),
		change(stats.QueueBounce))
}
