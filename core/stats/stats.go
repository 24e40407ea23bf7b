// Package stats counts. A process has one Counters; its parts take the counters that they
// need once, by name, and then add to them without a lock. The names are those that
// smtpctl show stats has printed since OpenSMTPD 5.
package stats

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// Names of the counters. Those marked with "total" only grow; the others are the number
// of what there is now.
const (
	BounceDropped        = "bounce.dropped" // total; ours
	BounceEnvelope       = "bounce.envelope"
	BounceMessage        = "bounce.message"
	BounceNotice         = "bounce.notice" // total; ours
	BounceSession        = "bounce.session"
	ControlSession       = "control.session"
	MDAEnvelope          = "mda.envelope"
	MDAPending           = "mda.pending"
	MDARunning           = "mda.running"
	MDAUser              = "mda.user"
	MTAConnector         = "mta.connector"
	MTADomain            = "mta.domain"
	MTAEnvelope          = "mta.envelope"
	MTAHost              = "mta.host"
	MTARelay             = "mta.relay"
	MTARoute             = "mta.route"
	MTASession           = "mta.session"
	MTASource            = "mta.source"
	MTATask              = "mta.task"
	MTATaskRunning       = "mta.task.running"
	QueueBounce          = "queue.bounce" // total
	QueueCacheHit        = "queue.evpcache.load.hit"
	QueueCacheMissed     = "queue.evpcache.load.missed"
	QueueCacheSize       = "queue.evpcache.size"
	QueueUpdateHit       = "queue.evpcache.update.hit"
	QueueUpdateMissed    = "queue.evpcache.update.missed"
	QueueRAMEnvelopeSize = "queue.ram.envelope.size"
	QueueRAMMessageSize  = "queue.ram.message.size"
	DeliveryLoop         = "scheduler.delivery.loop"     // total
	DeliveryOK           = "scheduler.delivery.ok"       // total
	DeliveryPermFail     = "scheduler.delivery.permfail" // total
	DeliveryTempFail     = "scheduler.delivery.tempfail" // total
	Envelope             = "scheduler.envelope"
	EnvelopeExpired      = "scheduler.envelope.expired" // total
	EnvelopeIncoming     = "scheduler.envelope.incoming"
	EnvelopeInflight     = "scheduler.envelope.inflight"
	EnvelopeRemoved      = "scheduler.envelope.removed" // total
	EnvelopeUpdated      = "scheduler.envelope.updated" // total
	RAMQueueEnvelope     = "scheduler.ramqueue.envelope"
	RAMQueueHold         = "scheduler.ramqueue.hold"
	RAMQueueHoldOverflow = "scheduler.ramqueue.hold-overflow"
	RAMQueueHoldQ        = "scheduler.ramqueue.holdq"
	RAMQueueMessage      = "scheduler.ramqueue.message"
	RAMQueueUpdate       = "scheduler.ramqueue.update"
	SMTPSession          = "smtp.session"
	SMTPSessionInet4     = "smtp.session.inet4" // total
	SMTPSessionInet6     = "smtp.session.inet6" // total
	SMTPSessionLocal     = "smtp.session.local" // total
	SMTPS                = "smtp.smtps"
	SMTPTLS              = "smtp.tls"
)

// Counters holds the counters of a process. Its zero value is empty and ready.
type Counters struct {
	mu     sync.Mutex
	byName map[string]*atomic.Int64
}

// Counter gives the counter with that name, which begins at zero. Nobody but the program
// may choose names: they are never forgotten.
func (c *Counters) Counter(name string) *atomic.Int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.byName[name]
	if !ok {
		if c.byName == nil {
			c.byName = make(map[string]*atomic.Int64)
		}
		n = new(atomic.Int64)
		c.byName[name] = n
	}
	return n
}

// Value is a counter at one moment.
type Value struct {
	Name  string
	Value int64
}

// Snapshot gives the counters in the order of their names.
func (c *Counters) Snapshot() []Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	values := make([]Value, 0, len(c.byName))
	for name, n := range c.byName {
		values = append(values, Value{name, n.Load()})
	}
	slices.SortFunc(values, func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	return values
}

// Merge joins the snapshots of several processes: values of the same name are added.
func Merge(snapshots ...[]Value) []Value {
	values := slices.Concat(snapshots...)
	slices.SortStableFunc(values, func(a, b Value) int { return strings.Compare(a.Name, b.Name) })
	merged := values[:0]
	for _, v := range values {
		if last := len(merged) - 1; last >= 0 && merged[last].Name == v.Name {
			merged[last].Value += v.Value
		} else {
			merged = append(merged, v)
		}
	}
	return merged
}

// Text gives the lines that smtpctl show stats prints, name=value in the order of values,
// and the time since the start at the end.
func Text(values []Value, uptime time.Duration) string {
	var b strings.Builder
	for _, v := range values {
		b.WriteString(v.Name + "=" + strconv.FormatInt(v.Value, 10) + "\n")
	}
	b.WriteString("uptime=" + strconv.FormatInt(int64(uptime/time.Second), 10) + "\n")
	b.WriteString("uptime.human=" + trace.Delay(uptime) + "\n")
	return b.String()
}
