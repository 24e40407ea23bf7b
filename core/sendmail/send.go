package sendmail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/trace"
)

// Limits of a reply.
const (
	maxReplyLine  = 2048 // octets
	maxReplyLines = 100
)

// Send submits the message over a connection to the server, and ends the session. The
// caller sets the deadlines. The dialogue is copied to log, unless that is nil. An *Error
// says what the server refused and with which code to end.
func (m *Message) Send(conn io.ReadWriter, o *Options, log io.Writer) error {
	s := &session{in: bufio.NewReaderSize(conn, maxReplyLine), out: bufio.NewWriter(conn), log: log}
	if _, err := s.reply(220); err != nil {
		return err
	}
	features, err := s.command(250, "EHLO localhost")
	if err != nil {
		return err
	}
	if _, err := s.command(250, "MAIL FROM:<%s>%s", m.Sender, m.mailParameters(o, features)); err != nil {
		return err
	}
	notify := ""
	if o.Notify != "" && hasFeature(features, "DSN") {
		notify = " NOTIFY=" + o.Notify
	}
	for _, rcpt := range m.Recipients {
		if _, err := s.command(250, "RCPT TO:<%s>%s", rcpt, notify); err != nil {
			return err
		}
	}
	if _, err := s.command(354, "DATA"); err != nil {
		return err
	}
	if err := m.sendData(s); err != nil {
		return err
	}
	s.note(">>> ", ".")
	if _, err := s.reply(250); err != nil {
		return err
	}
	s.command(221, "QUIT") // the message is accepted, whatever is said to this
	return nil
}

func (m *Message) mailParameters(o *Options, features []string) (p string) {
	if m.international() && hasFeature(features, "SMTPUTF8") {
		p += " SMTPUTF8"
	}
	if m.EightBit && hasFeature(features, "8BITMIME") {
		p += " BODY=8BITMIME"
	}
	if hasFeature(features, "DSN") {
		if o.Ret != "" {
			p += " RET=" + o.Ret
		}
		if o.EnvID != "" {
			p += " ENVID=" + o.EnvID
		}
	}
	return p
}

// international reports whether an address of the envelope is not ASCII.
func (m *Message) international() bool {
	return m.Sender.International() || slices.ContainsFunc(m.Recipients, address.Address.International)
}

// hasFeature looks for a keyword of the reply to EHLO, RFC 5321 section 4.1.1.1.
func hasFeature(lines []string, keyword string) bool {
	for _, line := range lines[1:] {
		word, _, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// session is the dialogue.
type session struct {
	in  *bufio.Reader
	out *bufio.Writer
	log io.Writer
}

func (s *session) note(mark, line string) {
	if s.log != nil {
		fmt.Fprintf(s.log, "%s%s\n", mark, trace.Escape(line))
	}
}

// command sends a command and gives the text lines of the reply.
func (s *session) command(want int, format string, args ...any) ([]string, error) {
	line := fmt.Sprintf(format, args...)
	if strings.ContainsAny(line, "\r\n\x00") {
		return nil, fail(ExitSoftware, "line end in a command")
	}
	s.note(">>> ", line)
	s.out.WriteString(line + "\r\n")
	if err := s.out.Flush(); err != nil {
		return nil, lost(err)
	}
	return s.reply(want)
}

func lost(err error) error { return fail(ExitTempFail, "connection to the server: %v", err) }

// reply reads a reply. One with another code than the wanted one is an error: temporary
// for 4yz, else the message is refused.
func (s *session) reply(want int) (lines []string, err error) {
	for len(lines) < maxReplyLines {
		raw, err := s.in.ReadSlice('\n')
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, lost(err)
		}
		line := string(bytes.TrimRight(raw, "\r\n"))
		s.note("<<< ", line)
		if len(line) < 3 || line[0] < '2' || line[0] > '5' || line[1] < '0' || line[1] > '9' ||
			line[2] < '0' || line[2] > '9' || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return nil, fail(ExitTempFail, "the server talks nonsense: %.80q", line)
		}
		lines = append(lines, line[min(len(line), 4):])
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		switch {
		case line[:3] == fmt.Sprint(want):
			return lines, nil
		case line[0] == '4':
			return nil, fail(ExitTempFail, "command failed: %s", trace.Escape(line))
		}
		return nil, fail(ExitSoftware, "command failed: %s", trace.Escape(line))
	}
	return nil, fail(ExitTempFail, "endless reply of the server")
}

// sendData sends header and body with the final dot.
func (m *Message) sendData(s *session) error {
	if _, err := m.input.Seek(m.body, io.SeekStart); err != nil {
		return fail(ExitTempFail, "reading the message: %v", err)
	}
	// DotWriter makes CRLF line ends and doubles leading dots (RFC 5321 section 4.5.2).
	dot := textproto.NewWriter(s.out).DotWriter()
	if _, err := dot.Write(m.header); err != nil {
		return lost(err)
	}
	if err := m.writeBody(dot, bufio.NewReader(m.input)); err != nil {
		return err
	}
	if err := dot.Close(); err != nil {
		return lost(err)
	}
	return nil
}

// writeBody copies the body line by line; parts of a line that is too long for the buffer
// come one after the other.
func (m *Message) writeBody(w io.Writer, in *bufio.Reader) error {
	var line *quotedprintable.Writer // of the line that has begun
	held := false                    // a CR was last: part of the line end, or not
	for {
		part, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && err != bufio.ErrBufferFull {
			return fail(ExitTempFail, "reading the message: %v", err)
		}
		text, ended := bytes.CutSuffix(part, []byte{'\n'})
		if held && len(text) > 0 {
			text = append([]byte{'\r'}, text...)
		}
		held = held && len(text) == 0
		if n := len(text) - 1; n >= 0 && text[n] == '\r' {
			held, text = true, text[:n]
		}
		if line == nil {
			line = quotedprintable.NewWriter(w)
			line.Binary = true
		}
		if werr := m.writeText(w, line, text); werr != nil {
			return lost(werr)
		}
		if ended || err == io.EOF {
			held = false
			if werr := line.Close(); werr != nil {
				return lost(werr)
			}
			line = nil
		}
		if ended {
			if _, werr := w.Write([]byte{'\n'}); werr != nil {
				return lost(werr)
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// writeText writes a part of a line.
func (m *Message) writeText(w io.Writer, line *quotedprintable.Writer, text []byte) (err error) {
	if m.encode {
		_, err = line.Write(text)
	} else {
		_, err = w.Write(clean(text))
	}
	return err
}
