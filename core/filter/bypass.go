package filter

// scope is how long filters are bypassed.
type scope uint8

const (
	nothing     scope = iota
	thisMessage       // until the next MAIL
	thisSession
)

// bypass lets what follows go past all filters: the session, when it is decided before MAIL, otherwise
// the message. At RCPT it is for the command alone, because everybody could name a
// recipient for whom filters are bypassed beside others.
func (l *Link) bypass(p Phase) {
	switch {
	case p < MailFrom:
		l.past = thisSession
	case p != RcptTo && l.past == nothing:
		l.past = thisMessage
	}
}
