package envelope

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// MaxText is the largest envelope file that Parse reads, in octets.
const MaxText = 32 << 10

// MaxErrorLine is the largest error line that is kept, in octets.
const MaxErrorLine = 512

// version of the text form; the one of OpenSMTPD 6.4 to 7.8.
const version = 3

var typeNames = [...]string{MDA: "mda", MTA: "mta", Bounce: "bounce"}

var bounceNames = [...]string{BounceFailed: "failed", BounceDelayed: "delayed", BounceDelivered: "delivered",
	BounceRelayed: "relayed", BounceExpanded: "expanded"}

var flagNames = [...]struct {
	flag Flags
	name string
}{{Authenticated, "authenticated"}, {BounceMessage, "bounce"}, {Internal, "internal"}, {TLS, "tls"}, {Suspended, "suspend"},
	{SMTPUTF8, "smtputf8"}, {RequireTLS, "requiretls"}, {TLSOptional, "tls-optional"}}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return ""
}

func (t BounceType) String() string {
	if int(t) < len(bounceNames) {
		return bounceNames[t]
	}
	return ""
}

func (f Flags) String() string {
	var words []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			words = append(words, n.name)
		}
	}
	return strings.Join(words, " ")
}

// AppendText appends the envelope as "field: value" lines, without its ID: that is the
// name of the file. A value with a control character is an error, because it could be
// read back as another field.
func (e *Envelope) AppendText(b []byte) ([]byte, error) {
	w := textWriter{b: b}
	w.num("version", version)
	w.str("dispatcher", e.Dispatcher)
	w.str("tag", e.Tag)
	w.str("type", e.Type.String())
	w.str("smtpname", e.SMTPName)
	w.str("helo", e.Helo)
	w.str("hostname", e.Hostname)
	w.str("username", e.Username)
	w.str("errorline", CleanErrorLine(e.ErrorLine))
	w.str("remote-mta", e.Remote)
	w.str("sockaddr", e.Sockaddr)
	w.address("sender", e.Sender)
	w.address("rcpt", e.Rcpt)
	w.address("dest", e.Dest)
	w.time("ctime", e.Created)
	w.time("last-try", e.LastTry)
	w.time("last-bounce", e.LastBounce)
	w.num("ttl", int64(e.TTL/time.Second))
	w.num("retry", int64(e.Retry))
	w.str("flags", e.Flags.String())
	if e.Notify != 0 {
		w.num("dsn-notify", int64(e.Notify))
	}
	w.str("dsn-ret", e.Ret)
	w.str("dsn-envid", e.EnvID)
	w.str("dsn-orcpt", e.ORcpt)
	if e.EscClass != 0 {
		w.num("esc-class", int64(e.EscClass))
		w.num("esc-code", int64(e.EscCode))
	}
	w.str("mda-exec", e.MDAExec)
	w.str("mda-subaddress", e.MDASubaddress)
	w.str("mda-user", e.MDAUser)
	if e.Type == Bounce {
		w.str("bounce-type", e.BounceType.String())
		w.num("bounce-ttl", int64(e.BounceTTL/time.Second))
		w.num("bounce-delay", int64(e.BounceDelay/time.Second))
		if e.Notice != 0 {
			w.str("bounce-message", e.Notice.String())
		}
	}
	w.others(e.Other)
	if w.err == nil && e.Type.String() == "" {
		w.err = errors.New("envelope without a type")
	}
	return w.b, w.err
}

// CleanErrorLine makes an error line fit for the queue: control characters become
// question marks and it is cut at MaxErrorLine octets.
func CleanErrorLine(s string) string {
	if len(s) > MaxErrorLine {
		s = s[:MaxErrorLine]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s))
}

type textWriter struct {
	b   []byte
	err error
}

func (w *textWriter) str(field, value string) {
	if value == "" {
		return
	}
	for i := 0; i < len(value); i++ {
		if value[i] < ' ' || value[i] == 0x7f {
			w.err = fmt.Errorf("control character in field %s", field)
			return
		}
	}
	w.b = append(w.b, field...)
	w.b = append(w.b, ": "...)
	w.b = append(w.b, value...)
	w.b = append(w.b, '\n')
}

func (w *textWriter) num(field string, n int64) { w.str(field, strconv.FormatInt(n, 10)) }

func (w *textWriter) address(field string, a address.Address) {
	if a.Null() {
		w.str(field, "@") // OpenSMTPD's form of the null reverse-path
		return
	}
	w.str(field, a.String())
}

func (w *textWriter) time(field string, t time.Time) {
	if t.IsZero() {
		w.num(field, 0)
		return
	}
	w.num(field, t.Unix())
}

// Limits of the fields that are kept although they are not known.
const (
	maxOtherFields = 32
	maxOtherName   = 64      // octets
	maxOtherText   = 8 << 10 // octets of all of them
)

// others writes the fields that are not known after all others.
func (w *textWriter) others(lines string) {
	n := 0
	for line := range strings.Lines(lines) {
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if n++; n > maxOtherFields || len(lines) > maxOtherText || !isFieldName(field) || value == "" || !strings.HasSuffix(line, "\n") {
			w.err = errors.New("invalid unknown fields")
			return
		}
		w.str(field, value)
	}
}

// isFieldName reports whether s is a name as OpenSMTPD's fields have it.
func isFieldName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && s[i] != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxOtherName
}

// keep takes a field that is not known.
func (e *Envelope) keep(field, value string) error {
	if !isFieldName(field) {
		return errors.New("that is no name of a field")
	}
	line := field + ": " + value + "\n"
	if strings.Count(e.Other, "\n") >= maxOtherFields || len(e.Other)+len(line) > maxOtherText {
		return errors.New("unknown, and there are too many such")
	}
	if value != "" { // empty ones are not written
		e.Other += line
	}
	return nil
}

// Parse reads what AppendText wrote, and what OpenSMTPD of the same version wrote. Fields may
// come in any order. One that is doubled, malformed or missing is an error; one that is unknown is
// kept for who knows it.
func Parse(id ID, text []byte) (*Envelope, error) {
	e := new(Envelope)
	if err := e.Read(id, string(text)); err != nil {
		return nil, err
	}
	return e, nil
}

// Read is Parse for who reads many one after the other into the same: a whole queue at each start and for each list
// of it. It makes nothing but what it has to, so what it puts into e are parts of the text. After an error e means nothing.
func (e *Envelope) Read(id ID, text string) error {
	if len(text) > MaxText {
		return errors.New("envelope too large")
	}
	*e = Envelope{ID: id}
	var room [usualFields]string
	seen, marks := room[:0], uint64(0) // the fields that were there, and a bit for each: whose bit is not set was not
	for rest := text; rest != ""; {
		end := strings.IndexByte(rest, '\n')
		if end < 0 {
			return errors.New("the last line has no end, it may be cut off")
		}
		field, value, err := splitLine(rest[:end])
		if err != nil {
			return err
		}
		rest = rest[end+1:]
		mark := uint64(1) << ((7*len(field) + int(field[0]) + 3*int(field[len(field)-1])) % 64)
		if marks&mark != 0 && slices.Contains(seen, field) {
			return fmt.Errorf("field %s given twice", field)
		}
		if len(seen) == maxFields {
			return errors.New("too many fields")
		}
		seen, marks = append(seen, field), marks|mark
		if err := e.set(field, value); err != nil {
			return fmt.Errorf("field %s: %w", field, err)
		}
	}
	for _, field := range [...]string{"version", "type", "sender", "rcpt", "dest", "ctime"} {
		if !slices.Contains(seen, field) {
			return fmt.Errorf("no field %s", field)
		}
	}
	if e.Type == Bounce && e.BounceType == 0 {
		return errors.New("no field bounce-type")
	}
	return nil
}

// usualFields is more than most envelopes have.
const usualFields = 40

// maxFields bounds the fields of an envelope, known or not.
const maxFields = 128

// splitLine takes a line apart.
func splitLine(line string) (field, value string, err error) {
	if !plain(line) {
		if err := unusual(line); err != nil {
			return "", "", err
		}
	}
	field, value, ok := strings.Cut(line, ":")
	field, value = trim(field), trim(strings.TrimPrefix(value, " "))
	if !ok || field == "" {
		return "", "", fmt.Errorf("line without a field: %q", line)
	}
	return field, value, nil
}

// Every octet of a word, for looking at eight at a time.
const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// plain reports whether there is no control character in s.
func plain(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		del := w ^ 0x7f*ones // an octet that is zero was 0x7f
		if ((w-' '*ones)&^w|(del-ones)&^del)&highs != 0 {
			return false
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// unusual says what is wrong with a line that is not plain. A tab is not.
func unusual(line string) error {
	if strings.HasSuffix(line, "\r") {
		return errors.New("lines end with CR LF, they must end with LF alone")
	}
	if !plain(strings.ReplaceAll(line, "\t", " ")) {
		return fmt.Errorf("control character in %q", line)
	}
	return nil
}

// trim is strings.TrimSpace, fast for what has nothing to trim.
func trim(s string) string {
	if s == "" || graphic(s[0]) && graphic(s[len(s)-1]) {
		return s
	}
	return strings.TrimSpace(s)
}

func graphic(c byte) bool { return c > ' ' && c < 0x7f }

// set has one line a field; its length is the number of fields. The only control character that a value may still have is a tab.
func (e *Envelope) set(field, value string) (err error) {
	if strings.IndexByte(value, '\t') >= 0 {
		return errors.New("control character")
	}
	switch field {
	case "version":
		if value != strconv.Itoa(version) {
			err = fmt.Errorf("version %q is not %d, that of OpenSMTPD 6.4 to 7.8", value, version)
		}
	case "dispatcher":
		e.Dispatcher = value
	case "tag":
		e.Tag = value
	case "type":
		e.Type, err = parseName[Type](typeNames[:], value)
	case "smtpname":
		e.SMTPName = value
	case "helo":
		e.Helo = value
	case "hostname":
		e.Hostname = value
	case "username":
		e.Username = value
	case "errorline":
		e.ErrorLine = value
	case "remote-mta":
		e.Remote = value
	case "sockaddr":
		e.Sockaddr = value
	case "sender":
		e.Sender, err = parseAddress(value)
	case "rcpt":
		e.Rcpt, err = parseAddress(value)
	case "dest":
		e.Dest, err = parseAddress(value)
	case "ctime":
		e.Created, err = parseTime(value)
	case "last-try":
		e.LastTry, err = parseTime(value)
	case "last-bounce":
		e.LastBounce, err = parseTime(value)
	case "ttl":
		e.TTL, err = parseSeconds(value)
	case "retry":
		e.Retry, err = parseInt[int](value, 1<<30)
	case "flags":
		e.Flags = parseFlags(value)
	case "dsn-notify":
		e.Notify, err = parseInt[Notify](value, 15)
	case "dsn-ret":
		e.Ret = value
	case "dsn-envid":
		e.EnvID = value
	case "dsn-orcpt":
		e.ORcpt = value
	case "esc-class":
		e.EscClass, err = parseInt[uint8](value, 9)
	case "esc-code":
		e.EscCode, err = parseInt[uint16](value, 9999)
	case "mda-exec":
		e.MDAExec = value
	case "mda-subaddress":
		e.MDASubaddress = value
	case "mda-user":
		e.MDAUser = value
	case "bounce-type":
		e.BounceType, err = parseName[BounceType](bounceNames[:], value)
	case "bounce-ttl":
		e.BounceTTL, err = parseSeconds(value)
	case "bounce-delay":
		e.BounceDelay, err = parseSeconds(value)
	case "bounce-message":
		e.Notice, err = ParseMessageID(value)
	default:
		err = e.keep(field, value)
	}
	return err
}

func parseName[T ~uint8](names []string, value string) (T, error) {
	for i, name := range names {
		if i > 0 && name == value {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("unknown value %q", value)
}

func parseInt[T ~int | ~uint8 | ~uint16](value string, most uint64) (T, error) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n > most {
		return 0, fmt.Errorf("%q is not a number up to %d", value, most)
	}
	return T(n), nil
}

func parseAddress(value string) (address.Address, error) {
	if value == "@" {
		return address.Address{}, nil
	}
	return address.Parse(value)
}

// maxSeconds keeps times and durations far from the limits of time.Duration.
const maxSeconds = 1 << 33

func parseTime(value string) (time.Time, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > maxSeconds {
		return time.Time{}, fmt.Errorf("%q is not a time", value)
	}
	if n == 0 {
		return time.Time{}, nil
	}
	return time.Unix(n, 0), nil
}

func parseSeconds(value string) (time.Duration, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 || n > maxSeconds {
		return 0, fmt.Errorf("%q is not a number of seconds", value)
	}
	return time.Duration(n) * time.Second, nil
}

// parseFlags ignores what it does not know: later versions of OpenSMTPD add flags.
func parseFlags(value string) (f Flags) {
	for word := range strings.FieldsSeq(value) {
		for _, n := range flagNames {
			if n.name == word {
				f |= n.flag
			}
		}
	}
	return f
}
