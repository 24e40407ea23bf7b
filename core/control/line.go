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

// AppendQueueLine appends the line of smtpctl show queue for an envelope, of what the queue and what the scheduler
// know of it. An empty TTL of the envelope means ttl. There may be a million of them, so it makes nothing else.
func AppendQueueLine(b []byte, e *envelope.Envelope, info *scheduler.Info, ttl time.Duration) []byte {
	if e.TTL > 0 {
		ttl = e.TTL
	}
	state, why := "pending", e.ErrorLine
	switch {
	case info.State == scheduler.Inflight:
		state = "inflight"
	case info.Reason != scheduler.NoHold:
		state, why = "held", HeldText(e, info.Reason)
	}
	start := len(b)
	b = e.ID.Append(b)
	b = append(append(b, '|'), family(e.Sockaddr)...)
	b = append(append(b, '|'), e.Type.String()...)
	b = appendFlags(append(b, '|'), e, info)
	for _, a := range [...]*address.Address{&e.Sender, &e.Rcpt, &e.Dest} {
		b = appendMailbox(append(b, '|'), a)
	}
	created := seconds(e.Created)
	for _, n := range [...]int64{created, created + int64(ttl/time.Second), seconds(e.LastTry), int64(e.Retry)} {
		b = strconv.AppendInt(append(b, '|'), n, 10)
	}
	b = append(append(b, '|'), state...)
	b = strconv.AppendInt(append(b, '|'), int64(info.Wait/time.Second), 10)
	b = append(append(b, '|'), why...)
	if slices.ContainsFunc(b[start:], func(c byte) bool { return c < ' ' || c > '~' }) {
		b = append(b[:start], trace.Escape(string(b[start:]))...)
	}
	return append(b, '\n')
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

// appendFlags appends the words of bounce, auth, internal, suspend and hold, separated by commas.
func appendFlags(b []byte, e *envelope.Envelope, info *scheduler.Info) []byte {
	start := len(b)
	for _, flag := range [...]struct {
		set  bool
		word string
	}{
		{e.Flags&envelope.BounceMessage != 0, "bounce"},
		{e.Flags&envelope.Authenticated != 0, "auth"},
		{e.Flags&envelope.Internal != 0, "internal"},
		{info.Suspended, "suspend"},
		{info.Held, "hold"},
	} {
		if !flag.set {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, flag.word...)
	}
	return b
}

// appendMailbox appends an address; "@" is the null sender.
func appendMailbox(b []byte, a *address.Address) []byte {
	if a.Null() {
		return append(b, '@')
	}
	return a.Append(b)
}

func seconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
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
