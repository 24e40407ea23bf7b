package config

import (
	"cmp"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// checkSetting takes the lines that set something for the whole server.
func (c *checker) checkSetting(d *directive) {
	cfg, w := c.cfg, d.arg(0)
	switch d.name {
	case "admd":
		if !isPrintable(w.text) {
			c.rep.warnf(w.pos, "the administrative domain %q is not used: write a host name without blanks", w.text)
			return
		}
		cfg.ADMD = w.text
	case "bounce":
		c.checkBounce(d)
	case "bounce max-return-size":
		c.checkReturnSize(w)
	case "bounce return-full":
		for _, o := range d.options {
			cfg.Bounce.ReturnFull = o.name
		}
	case "mta dane":
		c.checkDANE(d)
	case "mta tls-policy":
		c.checkTLSPolicy(d)
	case "mta tls-report":
		c.checkTLSReport(d)
	case "mta sts":
		cfg.STS = true
	case "mta max-deferred":
		cfg.MTAMaxDeferred = c.count(w)
	case "queue compression":
		cfg.QueueCompress = cmp.Or(w.text, "gzip")
		if !contains(queueCompressions, cfg.QueueCompress) {
			c.rep.errorf(w.pos, suggest(w.text, queueCompressions), "%q is no method of compression: write gzip or zstd", w.text)
		}
	case "queue encryption":
		c.checkQueueKeys(d)
	case "queue max-body-memory":
		cfg.MaxBodyMemory = c.size(w)
	case "queue schedule":
		cfg.Schedule = c.schedule(d.args)
	case "queue ttl":
		cfg.QueueTTL = c.delay(w)
	case "smtp ciphers":
		_, err := tlspolicy.Parse("", w.text)
		c.refuseError(w.pos, err)
		cfg.Ciphers = w.text
	case "smtp max-message-size":
		cfg.MaxMessageSize = c.size(w)
	case "smtp sub-addr-delim":
		c.checkDelimiter(w)
	case "srs key":
		cfg.SRS.Key = w.text
	case "srs key backup":
		cfg.SRS.BackupKey = w.text
	case "srs ttl":
		c.checkSRSTTL(w)
	case "smtp limit":
		c.checkSMTPLimit(d)
	case "smtp early-talkers":
		cfg.SMTP.TakeEarly = w.text == justLog
	case "bounce limit", "mda limit", "scheduler limit":
		for _, o := range d.options {
			*c.limit(d.name, o.name) = c.count(o.arg)
		}
	}
}

// checkQueueKeys takes the keys of the queue. A word of the length of a key is one, as in OpenSMTPD.
func (c *checker) checkQueueKeys(d *directive) {
	c.cfg.QueueKeys = nil
	for i, w := range d.args {
		key := w.text
		switch {
		case key == "-" || strings.EqualFold(key, QueueKeyStdin):
			key = QueueKeyStdin
		case key == QueueKeyNone && i == 0, strings.HasPrefix(key, QueueKeyFile+"/"), len(key) == QueueKeySize:
		case key == QueueKeyNone:
			c.rep.errorf(w.pos, "", "\"none\" can only be the first key: write it first")
		case strings.HasPrefix(key, "/"):
			c.rep.errorf(w.pos, QueueKeyFile+key, "a key has %d characters, this one has %d: write a key, file:/PATH or stdin", QueueKeySize, len(key))
		default:
			c.rep.errorf(w.pos, "", "a key has %d characters, this one has %d: write a key, file:/PATH or stdin", QueueKeySize, len(key))
		}
		c.cfg.QueueKeys = append(c.cfg.QueueKeys, key)
	}
	if len(d.args) == 0 {
		c.cfg.QueueKeys = []string{QueueKeyStdin}
	}
}

// checkTLSPolicy takes the table of policies, and looks at what is written in place.
func (c *checker) checkTLSPolicy(d *directive) {
	if d.table == nil {
		return
	}
	c.cfg.TLSPolicy = c.table(d.table, MapKind, tlsPolicy)
	c.eachEntry(d.table, MapKind, func(e *Entry, pos Pos) {
		if known := TLSPolicies(); !contains(known, e.Value) {
			c.rep.errorf(pos, suggest(e.Value, known), "unknown TLS policy %q: write may, encrypt, secure or dane", e.Value)
		}
	})
}

// checkDANE takes the name servers that are trusted to validate.
func (c *checker) checkDANE(d *directive) {
	const most = 16
	c.cfg.DANE = DANE{On: true}
	for i, w := range d.args {
		a, err := netip.ParseAddr(w.text)
		switch {
		case i >= most:
			c.rep.errorf(w.pos, "", "more than %d name servers: remove some", most)
			return
		case err != nil || a.Zone() != "":
			c.rep.errorf(w.pos, "", "%q is no IP address: write the address of a name server of resolv.conf(5)", w.text)
		default:
			c.cfg.DANE.Resolvers = append(c.cfg.DANE.Resolvers, a.Unmap())
		}
	}
}

func (c *checker) checkBounce(d *directive) {
	const most = 4
	c.cfg.WarnIntervals = nil
	for i, w := range d.args {
		// A delay of nothing stands for no notice.
		delay := c.delay(w)
		if i >= most {
			c.rep.warnf(w.pos, "%q is not used: only the first %d delays count, remove the others", w.text, most)
		} else if delay > 0 {
			c.cfg.WarnIntervals = append(c.cfg.WarnIntervals, delay)
		}
	}
}

// mostReturned bounds what is returned of a message, in octets: notices are made in memory.
const mostReturned = 1 << 20

func (c *checker) checkReturnSize(w word) {
	size := c.size(w)
	if size > mostReturned {
		c.errorf(w.pos, "a message of more than 1M is never returned whole: write 1M or less")
	}
	c.cfg.Bounce.MaxReturn = size
}

// schedule takes the waits between the attempts of a delivery.
func (c *checker) schedule(words []word) []time.Duration {
	const least, most, number = time.Second, 24 * time.Hour, 100
	var waits []time.Duration
	for i, w := range words {
		before := len(c.rep.errors)
		wait := c.delay(w)
		switch {
		case len(c.rep.errors) > before:
		case i >= number:
			c.errorf(w.pos, "a schedule of more than %d waits: remove some, the last one is repeated", number)
			return nil
		case wait < least:
			c.errorf(w.pos, "a wait of %q: write 1s or more", w.text)
		case wait > most:
			c.errorf(w.pos, "a wait of %q is more than a day: write 1d or less", w.text)
		}
		waits = append(waits, wait)
	}
	return waits
}

// printable refuses text that could not be written into a line of a reply or a header.
func (c *checker) printable(w word, what string) bool {
	if isPrintable(w.text) {
		return true
	}
	c.refuse(w.pos, "%s %q is empty or has a blank or a character other than ASCII: write a name without them",
		what, w.text)
	return false
}

func isPrintable(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
}

// checkDelimiter takes what divides user and tag in user+tag@domain.
func (c *checker) checkDelimiter(w word) {
	switch s := w.text; {
	case len(s) != 1:
		c.errorf(w.pos, "sub-addr-delim is one character: write \"+\" or \"-\"")
	case s[0] <= ' ' || s[0] >= 0x7f || s[0] == '@':
		c.errorf(w.pos, "sub-addr-delim cannot be %q: write \"+\" or \"-\"", s)
	default:
		c.cfg.SubAddrDelim = s
	}
}

// checkSRSTTL takes whole days, since that is what an SRS address can say.
func (c *checker) checkSRSTTL(w word) {
	const day = 24 * time.Hour
	before := len(c.rep.errors)
	ttl := c.delay(w)
	if len(c.rep.errors) == before && ttl < day {
		c.errorf(w.pos, "srs ttl %q is less than a day: write 1d or more", w.text)
	}
	if ttl > day && ttl%day != 0 {
		c.rep.warnf(w.pos, "srs ttl %s is cut to whole days: write a number and d", w.text)
	}
	c.cfg.SRS.TTL = ttl.Truncate(day)
}

// size reads a number of octets, which may have a fraction and one of the letters B, K, M,
// G, T, P and E, each a factor of 1024.
func (c *checker) size(w word) int64 {
	if w.isNumber {
		if w.number < 0 {
			c.errorf(w.pos, "invalid size %d: write a number of octets, or one like 35M", w.number)
		}
		return w.number
	}
	number, factor := strings.TrimPrefix(w.text, "+"), 1.0
	if n := len(number); n > 0 {
		if i := strings.IndexByte("BKMGTPE", number[n-1]&^0x20); i >= 0 && !isDigit(int(number[n-1])) {
			number, factor = number[:n-1], math.Pow(1024, float64(i))
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || f*factor >= 1<<63 {
		c.errorf(w.pos, "invalid size %q: write a number of octets, or one like 35M", w.text)
		return 0
	}
	return int64(f * factor)
}

// count takes a number that is not negative.
func (c *checker) count(w word) int {
	if w.number < 0 {
		c.errorf(w.pos, "number out of range: %d: write 0 or more", w.number)
		return 0
	}
	return int(min(w.number, math.MaxInt32))
}

// limit gives the place of a limit of this server.
func (c *checker) limit(directive, name string) *int {
	cfg := c.cfg
	switch directive + " " + name {
	case "bounce limit max-per-sender":
		return &cfg.Bounce.MaxSender
	case "bounce limit max-per-domain":
		return &cfg.Bounce.MaxDomain
	case "bounce limit max-total":
		return &cfg.Bounce.MaxTotal
	case "mda limit max-session":
		return &cfg.MDA.MaxSession
	case "mda limit max-session-per-user":
		return &cfg.MDA.MaxSessionPerUser
	case "mda limit task-hiwat":
		return &cfg.MDA.TaskHiwat
	case "mda limit task-lowat":
		return &cfg.MDA.TaskLowat
	case "mda limit task-release":
		return &cfg.MDA.TaskRelease
	case "scheduler limit max-inflight":
		return &cfg.Scheduler.MaxInflight
	case "scheduler limit max-evp-batch-size":
		return &cfg.Scheduler.MaxEvpBatchSize
	case "scheduler limit max-msg-batch-size":
		return &cfg.Scheduler.MaxMsgBatchSize
	case "scheduler limit max-schedule":
		return &cfg.Scheduler.MaxSchedule
	}
	return new(int) // not reached: the parser knows the names
}

// checkMTALimit sets limits for all domains or for one. Those of a domain begin as a copy
// of what holds for all where it is first named.
func (c *checker) checkMTALimit(d *directive) {
	domain := strings.ToLower(d.arg(0).text)
	at := -1
	for i := range c.cfg.MTALimits {
		if c.cfg.MTALimits[i].Domain == domain {
			at = i
		}
	}
	if at < 0 {
		l := c.cfg.MTALimits[0]
		l.Domain = domain
		at = len(c.cfg.MTALimits)
		c.cfg.MTALimits = append(c.cfg.MTALimits, l)
	}
	l := &c.cfg.MTALimits[at]
	for _, o := range d.options {
		if o.name == "inet4" || o.name == "inet6" {
			l.Family = o.name
			continue
		}
		if o.name == prefer {
			l.Prefer = o.arg.text
			continue
		}
		n := c.count(o.arg)
		if p := l.number(o.name); p != nil {
			*p = n
		} else if p := l.seconds(o.name); p != nil {
			*p = time.Duration(n) * time.Second
		}
	}
}

// number gives the place of a limit that counts something, or nil.
func (l *MTALimits) number(name string) *int {
	switch name {
	case "max-conn-per-host":
		return &l.MaxConnPerHost
	case "max-conn-per-route":
		return &l.MaxConnPerRoute
	case "max-conn-per-source":
		return &l.MaxConnPerSource
	case "max-conn-per-connector":
		return &l.MaxConnPerConnector
	case "max-conn-per-relay":
		return &l.MaxConnPerRelay
	case "max-conn-per-domain":
		return &l.MaxConnPerDomain
	case "session-mail-max":
		return &l.SessionMailMax
	case "max-failures-per-session":
		return &l.MaxFailuresPerSession
	case "start-conn":
		return &l.StartConn
	case "max-mail-per-minute-per-host":
		return &l.MailPerMinuteHost
	case "max-mail-per-minute-per-domain":
		return &l.MailPerMinuteDomain
	case "task-hiwat":
		return &l.TaskHiwat
	case "task-lowat":
		return &l.TaskLowat
	case "task-release":
		return &l.TaskRelease
	}
	return nil
}

// seconds gives the place of a limit that is a time, or nil.
func (l *MTALimits) seconds(name string) *time.Duration {
	switch name {
	case "conn-delay-host":
		return &l.ConnDelayHost
	case "conn-delay-route":
		return &l.ConnDelayRoute
	case "conn-delay-source":
		return &l.ConnDelaySource
	case "conn-delay-connector":
		return &l.ConnDelayConnector
	case "conn-delay-relay":
		return &l.ConnDelayRelay
	case "conn-delay-domain":
		return &l.ConnDelayDomain
	case "reconn-delay-route":
		return &l.ReconnDelayRoute
	case "session-transaction-delay":
		return &l.TransactionDelay
	case "session-keepalive":
		return &l.SessionKeepalive
	}
	return nil
}
