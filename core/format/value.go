package format

import "strings"

// mda says whether this is where a wrapper wants the command.
func (s *specifier) mda() bool { return s != nil && s.name == "mda" && len(s.ops) == 0 }

// outside refuses %{mda} where nothing takes its place.
func (s *specifier) outside() error {
	if s == nil || s.name != "mda" {
		return nil
	}
	problem := "only the command of a wrapper can hold it"
	if len(s.ops) > 0 {
		problem = "no part or modifier can be applied to a command"
	}
	return &Error{Offset: s.at, Specifier: s.text, Problem: problem}
}

// value gives the value of a specifier and whether it came from an envelope.
func (s *specifier) value(v Vars) (value string, wire, ok bool) {
	switch s.name {
	case "sender":
		return v.Sender.String(), true, true
	case "sender.user":
		return v.Sender.Local, true, true
	case "sender.domain":
		return v.Sender.Domain, true, true
	case "rcpt":
		return v.Rcpt.String(), true, true
	case "rcpt.user":
		return v.Rcpt.Local, true, true
	case "rcpt.domain":
		return v.Rcpt.Domain, true, true
	case "dest":
		return v.Dest.String(), true, true
	case "dest.user":
		return v.Dest.Local, true, true
	case "dest.domain":
		return v.Dest.Domain, true, true
	case "user.username":
		return v.User, true, true
	case "user.directory":
		return v.Directory, false, true
	case "mbox.from":
		if v.Sender.Null() {
			return "MAILER-DAEMON", true, true
		}
		return v.Sender.String(), true, true
	case "mda": // Wrap replaces it before anything is expanded
		return "", false, true
	}
	return "", false, false
}

// eval applies the parts and modifiers.
func (s *specifier) eval(v Vars) (value string, wire bool) {
	value, wire, _ = s.value(v)
	for _, o := range s.ops {
		switch o.modifier {
		case "lowercase":
			value = strings.ToLower(value)
		case "uppercase":
			value = strings.ToUpper(value)
		case "strip":
			value = strip(value, v.Delim)
		default:
			value = o.part(value)
		}
	}
	return value, wire
}

// strip drops the detail of the local part, of a whole address or alone.
func strip(value, delim string) string {
	local, domain := value, ""
	if i := strings.LastIndexByte(value, '@'); i >= 0 {
		local, domain = value[:i], value[i:]
	}
	if i := strings.Index(local, delim); i >= 0 && delim != "" {
		local = local[:i]
	}
	return local + domain
}

// part cuts; what lies outside the value is empty.
func (o op) part(value string) string {
	n := len(value)
	from, to := o.from, o.to
	if from < 0 {
		from += n
	}
	switch {
	case o.open:
		to = n
	case to < 0:
		to += n
	default:
		to++
	}
	from, to = max(from, 0), min(to, n)
	if from >= to {
		return ""
	}
	return value[from:to]
}

// path gives the value for a path.
func (s *specifier) path(v Vars) string {
	value, wire := s.eval(v)
	if !wire {
		return value
	}
	keep := safe
	if s.raw {
		keep = printable
	}
	return clean(value, func(c byte) bool { return keep(c) && c != '/' }, ".")
}

// clean puts a colon for each octet that is not kept, and for those of lead with which
// the value begins.
func clean(value string, keep func(byte) bool, lead string) string {
	b := []byte(value)
	leading := true
	for i, c := range b {
		leading = leading && strings.IndexByte(lead, c) >= 0
		if leading || !keep(c) {
			b[i] = ':'
		}
	}
	return string(b)
}

// safe characters mean nothing to a shell, at most to its file name patterns.
func safe(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("^+-=_.@,:[]", c) >= 0
}

func printable(c byte) bool { return c >= ' ' && c <= '~' }
