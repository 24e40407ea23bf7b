// Package trace logs. A Logger belongs to a process, a Trace to one unit of work in it
// (a session, a delivery): it carries the 16 digits that begin each of its lines, so
// that everything about one session can be found with grep.
//
// What is logged: one line for each event that an administrator may have to answer for,
// in the shapes that OpenSMTPD's users' scripts read. An error is logged once, where it
// is known. Bytes from outside are escaped here and nowhere else, so no line can be two.
package trace

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
)

// Level is the importance of a line.
type Level uint8

// The levels, from the one that is only for the curious to the one that ends a process.
const (
	Debug Level = iota
	Info
	Warn
	Fatal
)

// Sink takes finished lines: syslog, standard error, or another process. Lines have no
// line end and no control characters. Log must not block for long and must be safe for
// use by several goroutines.
type Sink interface {
	Log(level Level, line string)
}

// Subsystem is a set of the names that -T takes.
type Subsystem uint32

// The subsystems of smtpd(8) -T.
const (
	IMSG Subsystem = 1 << iota
	IO
	SMTP
	Filters
	MTA
	Bounce
	Scheduler
	Lookup
	Stat
	Rules
	MProc
	Expand
	Tables
	Queue
	All Subsystem = 1<<iota - 1
)

var subsystemNames = [...]string{"imsg", "io", "smtp", "filters", "mta", "bounce", "scheduler",
	"lookup", "stat", "rules", "mproc", "expand", "tables", "queue"}

// ParseSubsystem gives the subsystem with that name; "all" is every one.
func ParseSubsystem(name string) (Subsystem, bool) {
	if name == "all" {
		return All, true
	}
	for i, n := range subsystemNames {
		if n == name {
			return 1 << i, true
		}
	}
	return 0, false
}

// Logger writes the lines of one process. Its zero value and nil discard everything.
type Logger struct {
	sink    Sink
	verbose atomic.Bool
	traced  atomic.Uint32
	clients atomic.Pointer[[]Client]
}

// New gives a Logger that writes to sink.
func New(sink Sink) *Logger { return &Logger{sink: sink} }

// SetVerbose turns debug lines on or off (smtpd -v, smtpctl log).
func (l *Logger) SetVerbose(on bool) { l.verbose.Store(on) }

// Verbose reports whether debug lines are written.
func (l *Logger) Verbose() bool { return l.verbose.Load() }

// SetTraced sets the subsystems whose trace lines are written (smtpd -T, smtpctl trace).
func (l *Logger) SetTraced(s Subsystem) { l.traced.Store(uint32(s)) }

// Traced gives the subsystems whose trace lines are written.
func (l *Logger) Traced() Subsystem { return Subsystem(l.traced.Load()) }

func (l *Logger) log(level Level, line string) {
	if l != nil && l.sink != nil {
		l.sink.Log(level, Escape(line))
	}
}

// Infof writes a line that is always wanted.
func (l *Logger) Infof(format string, args ...any) { l.log(Info, fmt.Sprintf(format, args...)) }

// Warnf writes a line about something that an administrator should mend.
func (l *Logger) Warnf(format string, args ...any) {
	l.log(Warn, "warn: "+fmt.Sprintf(format, args...))
}

// Fatalf writes the last words of a process; it does not end it.
func (l *Logger) Fatalf(format string, args ...any) {
	l.log(Fatal, "fatal: "+fmt.Sprintf(format, args...))
}

// Debugf writes a line when the daemon is verbose.
func (l *Logger) Debugf(format string, args ...any) {
	if l != nil && l.verbose.Load() {
		l.log(Debug, "debug: "+fmt.Sprintf(format, args...))
	}
}

// Tracef writes a line when the subsystem is traced.
func (l *Logger) Tracef(s Subsystem, format string, args ...any) {
	if l != nil && l.traced.Load()&uint32(s) != 0 {
		l.log(Debug, fmt.Sprintf(format, args...))
	}
}

// Trace is one unit of work.
type Trace struct {
	*Logger
	ID     uint64
	Of     Subsystem  // SMTP or MTA, when it can be traced by itself
	Remote netip.Addr // the address at the other end, if any
	Local  bool       // a program on this host is there
}

// NewTrace starts a unit of work with a random number.
func (l *Logger) NewTrace() *Trace { return &Trace{Logger: l, ID: rand.Uint64()} }

// SID gives the 16 digits that begin the lines of this unit of work.
func (t *Trace) SID() string { return fmt.Sprintf("%016x", t.ID) }

// Infof writes a line about this unit of work.
func (t *Trace) Infof(format string, args ...any) {
	if t != nil && t.Logger != nil {
		t.log(Info, t.SID()+" "+fmt.Sprintf(format, args...))
	}
}

// Escape makes a line of one line: control characters and bytes that are not UTF-8
// become backslash sequences.
func Escape(s string) string {
	clean := true
	for _, r := range s {
		if unprintable(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == 0xfffd:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unprintable(r):
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unprintable(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r == 0x2028 || r == 0x2029
}
