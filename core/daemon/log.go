package daemon

import (
	"bufio"
	"io"
	"os"
	"sync"

	"github.com/godwit-mta/godwit/compat/syslog"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/trace"
)

// stderrSink writes lines as they are, each with one system call.
type stderrSink struct {
	mu  sync.Mutex
	buf []byte
	w   io.Writer
}

// NewStderrSink gives a sink for a process in the foreground.
func NewStderrSink(w io.Writer) trace.Sink { return &stderrSink{w: w} }

func (s *stderrSink) Log(_ trace.Level, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = append(append(s.buf[:0], line...), '\n')
	_, _ = s.w.Write(s.buf)
}

// severity gives the syslog severity of a level.
func severity(l trace.Level) syslog.Severity {
	switch l {
	case trace.Debug:
		return syslog.Debug
	case trace.Info:
		return syslog.Info
	case trace.Warn:
		return syslog.Warning
	}
	return syslog.Crit
}

// syslogSink writes to the socket of the system's log that was connected before the
// process was shut in. When the log was restarted and the socket is dead, lines go to
// the parent, which can connect again.
type syslogSink struct {
	w      *syslog.Conn
	parent *ipc.Conn
}

func newSyslogSink(f *os.File, parent *ipc.Conn) (trace.Sink, error) {
	w, err := syslog.FromFile(f, syslog.Mail, "smtpd")
	if err != nil {
		return nil, err
	}
	return &syslogSink{w: w, parent: parent}, nil
}

func (s *syslogSink) Log(level trace.Level, line string) {
	if s.w.Log(severity(level), line) == nil {
		return
	}
	upSink{s.parent}.Log(level, line)
}

// upSink gives lines to the parent.
type upSink struct{ parent *ipc.Conn }

func (s upSink) Log(level trace.Level, line string) {
	_ = s.parent.Send(kindLogLine, &logLine{Level: uint8(level), Line: line})
}

// parentSink is the sink of the parent. The connection finds the log again when that was
// restarted; here it is opened when the log was not there at the start.
type parentSink struct {
	mu sync.Mutex
	w  *syslog.Conn
}

// NewSyslogSink gives a sink that writes to the system's log. It does not fail when the log
// is not there yet.
func NewSyslogSink() trace.Sink { return &parentSink{} }

func (s *parentSink) Log(level trace.Level, line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w == nil {
		w, err := syslog.Dial(syslog.Mail, "smtpd")
		if err != nil {
			return
		}
		s.w = w
	}
	_ = s.w.Log(severity(level), line)
}

// file gives a socket of its own to the log for a member, or nil when there is no log.
func (s *parentSink) file() *os.File {
	w, err := syslog.Dial(syslog.Mail, "smtpd")
	if err != nil {
		return nil
	}
	defer w.Close()
	f, err := w.File()
	if err != nil {
		return nil
	}
	return f
}

// logLines logs what a member writes to standard error: its last words when it panics.
func logLines(log *trace.Logger, role Role, r io.ReadCloser) {
	defer r.Close()
	s := bufio.NewScanner(io.LimitReader(r, 1<<30))
	for s.Scan() {
		log.Warnf("%s: %s", role, s.Text())
	}
	_, _ = io.Copy(io.Discard, r)
}
