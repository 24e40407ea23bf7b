package config

import (
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/format"
)

// checker makes a Config of a tree. Names are gathered first, so that the order of the
// lines matters for macros, rules and limits only.
type checker struct {
	cfg       *Config
	env       Environment
	rep       *report
	tables    map[string]int // index into cfg.Tables
	names     map[string]map[string]Pos
	used      map[string]bool   // kind and name, of what something refers to
	procOf    map[string]string // filter: its process
	chains    map[string]bool   // filters that are chains
	dynTables int
	dynChains int
	rules     int  // match lines, wrong ones included
	srsKey    bool // there is an srs key
}

// check gives the configuration. It is only good when rep has no errors.
func check(t *tree, env Environment, rep *report) *Config {
	c := &checker{
		cfg: defaults(env), env: env, rep: rep, tables: map[string]int{},
		names: map[string]map[string]Pos{}, used: map[string]bool{}, procOf: map[string]string{}, chains: map[string]bool{},
	}
	for _, d := range t.directives {
		c.declare(d)
	}
	for _, d := range t.directives {
		if !d.broken {
			c.directive(d)
		}
	}
	if c.rules == 0 {
		rep.errorf(t.end, "", "no rules, nothing to do: write a line \"match\"")
	}
	c.checkPKIs()
	if len(rep.errors) == 0 {
		c.checkOutgoing()
		c.checkUnused()
		c.checkReach()
	}
	return c.cfg
}

// defaults are what holds when the file says nothing.
func defaults(env Environment) *Config {
	return &Config{
		Hostname:       env.Hostname,
		ADMD:           env.Hostname,
		MaxMessageSize: 35 << 20,
		SubAddrDelim:   "+",
		QueueTTL:       4 * 24 * time.Hour,
		MaxBodyMemory:  32 << 20,
		SRS:            SRS{TTL: 4 * 24 * time.Hour},
		WarnIntervals:  []time.Duration{4 * time.Hour},
		Bounce: Bounce{ReturnFull: ReturnAuthenticated, MaxReturn: 100 << 10,
			MaxSender: 30, MaxDomain: 1000, MaxTotal: 10000},
		MaxRcpt:        1000,
		MaxMails:       100,
		SMTP:           defaultSMTPLimits(),
		MTAMaxDeferred: 100,
		MTALimits: []MTALimits{{
			MaxConnPerHost: 10, MaxConnPerRoute: 5, MaxConnPerSource: 100,
			MaxConnPerConnector: 20, MaxConnPerRelay: 100, MaxConnPerDomain: 100,
			SessionMailMax: 1000, StartConn: 5,
			SessionKeepalive: 10 * time.Second, MaxFailuresPerSession: 25,
			TaskHiwat: 50, TaskLowat: 30, TaskRelease: 10,
		}},
		MDA: MDALimits{MaxSession: 50, MaxSessionPerUser: 7, TaskHiwat: 50, TaskLowat: 30, TaskRelease: 10},
		Scheduler: SchedulerLimits{
			MaxInflight: 5000, MaxEvpBatchSize: 256, MaxMsgBatchSize: 1024, MaxSchedule: 10,
		},
	}
}

// declare gathers the name that a line declares, of a wrong line as well: who refers to it
// is not wrong.
func (c *checker) declare(d *directive) {
	name := d.arg(0)
	switch d.name {
	case "table":
		c.declareTable(d)
	case "action", "mda wrapper", "proc":
		c.declareOnce(d.name, name)
	case "filter", "filter proc", "filter proc-exec", "filter chain", "filter phase":
		c.declareFilter(d)
	case "pki", "ca":
		c.declareHost(d)
	case "match":
		c.rules++
	case "srs key":
		c.srsKey = true
	case "hostname":
		if w := d.arg(0); !d.broken && c.printable(w, "the host name") {
			c.cfg.Hostname, c.cfg.ADMD = w.text, w.text
		}
	}
}

// declareOnce declares a name that may be declared once. It tells whether it was new.
func (c *checker) declareOnce(kind string, name word) bool {
	if c.names[kind] == nil {
		c.names[kind] = map[string]Pos{}
	}
	if name.text == "" {
		return false
	}
	if at, twice := c.names[kind][name.text]; twice {
		c.errorf(name.pos, "%s %q is already declared at %s:%d: write another name, or remove one", kind, name.text, at.File, at.Line)
		return false
	}
	c.names[kind][name.text] = name.pos
	return true
}

// defined reports a name that nothing declares.
func (c *checker) defined(kind string, name word) bool {
	c.used[kind+" "+name.text] = true
	if _, ok := c.names[kind][name.text]; ok {
		return true
	}
	var known []string
	for n := range c.names[kind] {
		known = append(known, n)
	}
	sort.Strings(known)
	c.unknown(kind, name.pos, name.text, known)
	return false
}

func (c *checker) errorf(pos Pos, format string, args ...any) {
	c.rep.errorf(pos, "", format, args...)
}

// directive carries a line over into the configuration.
func (c *checker) directive(d *directive) {
	c.named(d)
	c.once(d)
	switch d.name {
	case "ca":
		c.checkCA(d)
	case "pki":
		c.checkPKI(d)
	case "mda wrapper":
		c.specifiers(d.arg(1), format.CheckWrapper(d.arg(1).text))
		c.cfg.Wrappers = append(c.cfg.Wrappers, Wrapper{d.arg(0).text, d.arg(1).text})
	case "mta limit":
		c.checkMTALimit(d)
	case "listen":
		c.checkListen(d)
	case "listen socket":
		c.checkSocket(d)
	case "action":
		c.checkAction(d)
	case "match":
		c.checkMatch(d)
	case "proc":
		c.checkProc(d, d.arg(0).text)
	case "filter proc", "filter proc-exec", "filter chain", "filter phase":
		c.checkFilter(d)
	default:
		c.checkSetting(d)
	}
}

// named reports an empty name.
func (c *checker) named(d *directive) {
	switch d.name {
	case "table", "action", "mda wrapper", "proc", "pki", "ca",
		"filter proc", "filter proc-exec", "filter chain", "filter phase":
		if d.arg(0).text == "" {
			c.errorf(d.arg(0).pos, "the name is empty: write a word")
		}
	}
}

// once reports options that are given twice, or together with one that says something else
// about the same thing.
func (c *checker) once(d *directive) {
	switch d.name {
	case "listen", "listen socket", "action", "match", "proc", "filter proc-exec":
	default:
		return
	}
	seen := map[string]string{}
	for _, o := range d.options {
		for _, group := range optionGroups(d.name, o.name) {
			before, twice := seen[group]
			seen[group] = o.name
			switch {
			case !twice:
				continue
			case before == o.name && o.name == "wrapper", before != o.name && o.name == "from "+before, before != o.name && o.name == "for "+before:
				// OpenSMTPD takes it.
				c.rep.warnf(o.pos, "%q replaces %q before it: remove one", o.name, before)
				continue
			}
			if before == o.name {
				c.errorf(o.pos, "%q is given twice: remove one", o.name)
			} else {
				c.errorf(o.pos, "%q and %q exclude each other: remove one", before, o.name)
			}
			break
		}
	}
}

// optionGroups names what an option is about. A listener can have several certificates.
func optionGroups(directive, name string) []string {
	group := name
	switch {
	case directive == "match":
		first, second, _ := strings.Cut(name, " ")
		switch second {
		case "auth", "mail-from", "rcpt-to":
			return []string{first, second}
		}
		group = first
	case directive == "action":
		switch name {
		case "alias", "virtual":
			group = "alias"
		case "host", "domain", "backup":
			group = "host"
		}
	case name == "pki":
		return nil
	case name == "tls" || name == "tls-require" || name == "smtps":
		group = "tls"
	case name == "auth" || name == "auth-optional":
		group = "auth"
	case name == "inet4" || name == "inet6":
		group = "family"
	}
	return []string{group}
}

// delay reads digits and a unit. It takes up to 100 years.
func (c *checker) delay(w word) time.Duration {
	const limit = 100 * 365 * 24 * time.Hour
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	s := strings.TrimPrefix(strings.TrimLeft(w.text, " \t"), "+")
	if s == "" || units[s[len(s)-1]] == 0 {
		c.errorf(w.pos, "invalid delay %q: expected a number and s, m, h or d", s)
		return 0
	}
	unit := units[s[len(s)-1]]
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil || n > uint64(limit/unit) {
		c.errorf(w.pos, "invalid delay %q: expected a number and s, m, h or d", s)
		return 0
	}
	return time.Duration(n) * unit
}
