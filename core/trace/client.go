package trace

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Client says whose units of work in a subsystem are traced: one of them by its number, or all
// of a network, which may be a single address, or all of this host's programs.
type Client struct {
	sub     Subsystem
	id      uint64
	network netip.Prefix
	local   bool
}

// MaxClients bounds what is traced at a time: every session is compared with all of it.
const MaxClients = 64

// ParseClient reads the 16 digits that begin a line of the log, an address, a network, or
// "local". Only SMTP and MTA have clients (which are servers for the MTA).
func ParseClient(sub Subsystem, text string) (c Client, ok bool) {
	c.sub = sub
	if sub != SMTP && sub != MTA {
		return c, false
	}
	if c.local = text == "local"; c.local {
		return c, sub == SMTP
	}
	if id, err := strconv.ParseUint(text, 16, 64); err == nil && len(text) == 16 {
		c.id = id
		return c, id != 0
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		c.network = p.Masked()
		return c, !p.Addr().Is4In6()
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	if err != nil || a.Zone() != "" {
		return c, false
	}
	a = a.Unmap()
	c.network = netip.PrefixFrom(a, a.BitLen())
	return c, true
}

// ParseClientText reads what String gives.
func ParseClientText(text string) (Client, bool) {
	name, who, _ := strings.Cut(text, " ")
	sub, ok := ParseSubsystem(name)
	c, known := ParseClient(sub, who)
	return c, ok && known
}

// String gives the subsystem and the client.
func (c Client) String() string {
	name := "smtp "
	if c.sub == MTA {
		name = "mta "
	}
	switch {
	case c.local:
		return name + "local"
	case c.network.IsValid() && c.network.IsSingleIP():
		return name + c.network.Addr().String()
	case c.network.IsValid():
		return name + c.network.String()
	}
	return fmt.Sprintf("%s%016x", name, c.id)
}

// Subsystem gives that of the units of work.
func (c Client) Subsystem() Subsystem { return c.sub }

// is tells whether a unit of work is meant.
func (c Client) is(t *Trace) bool {
	switch {
	case c.sub != t.Of:
		return false
	case c.network.IsValid():
		return t.Remote.IsValid() && c.network.Contains(t.Remote.Unmap().WithZone(""))
	case c.local:
		return t.Local
	}
	return c.id == t.ID
}

// SetClients sets whose units of work are traced whatever is traced of others.
func (l *Logger) SetClients(list []Client) {
	if len(list) == 0 {
		l.clients.Store(nil)
		return
	}
	l.clients.Store(&list)
}

// Clients gives whose units of work are traced. It must not be changed.
func (l *Logger) Clients() []Client {
	if p := l.clients.Load(); p != nil {
		return *p
	}
	return nil
}

// Watched reports whether everything about this unit of work is to be logged.
func (t *Trace) Watched() bool {
	if t == nil || t.Logger == nil {
		return false
	}
	for _, c := range t.Clients() {
		if c.is(t) {
			return true
		}
	}
	return false
}

// Traces reports whether trace lines of a subsystem are written.
func (t *Trace) Traces(s Subsystem) bool {
	return t != nil && t.Logger != nil && (t.Traced()&s != 0 || t.Watched())
}

// Tracef writes a line when the subsystem or this unit of work is traced.
func (t *Trace) Tracef(s Subsystem, format string, args ...any) {
	if t.Traces(s) {
		t.log(Debug, fmt.Sprintf(format, args...))
	}
}

// Debugf writes a line about this unit of work when the daemon is verbose, or when this is
// traced.
func (t *Trace) Debugf(format string, args ...any) {
	if t != nil && t.Logger != nil && (t.Verbose() || t.Watched()) {
		t.log(Debug, "debug: "+t.SID()+" "+fmt.Sprintf(format, args...))
	}
}

// About gives a Logger for the part of a unit of work that another process does. All of its
// lines are written, and begin with the number.
func (l *Logger) About(id uint64) *Logger {
	a := New(aboutSink{l.sink, fmt.Sprintf("%016x ", id)})
	a.SetVerbose(true)
	a.SetTraced(All)
	return a
}

type aboutSink struct {
	Sink
	prefix string
}

func (s aboutSink) Log(level Level, line string) { s.Sink.Log(level, s.prefix+line) }
