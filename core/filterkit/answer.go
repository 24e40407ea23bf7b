package filterkit

import (
	"fmt"
	"strings"
)

// Answer is what a filter decides about a command. The zero value lets it go on.
type Answer struct {
	verb string
	text string
}

// Proceed lets the command go on, to the next filter if there is one.
func Proceed() Answer { return Answer{} }

// Junk lets the command go on and marks the message, or before MAIL FROM the whole
// session, as spam. At Commit it is too late for that: there it is Proceed.
func Junk() Answer { return Answer{verb: "junk"} }

// Reject refuses the command with a reply code from 400 to 599 and a text, which best begins with an
// enhanced status code (RFC 3463). 421 ends the session. Another code counts as 550.
func Reject(code int, text string) Answer { return Answer{"reject", reply(code, text)} }

// Disconnect refuses the command and ends the session.
func Disconnect(code int, text string) Answer { return Answer{"disconnect", reply(code, text)} }

// Rewrite puts a value in the place of the command's: a name at Helo and Ehlo, an address
// without its brackets at MailFrom and RcptTo. The filters behind this one do not see
// the command.
func Rewrite(value string) Answer { return Answer{"rewrite", value} }

// Report tells the other filters that want FilterReport a text, and lets the command go on.
// OpenSMTPD 7.8 takes the text for the value of the command; there it goes
// to the log instead.
func Report(text string) Answer { return Answer{"report", text} }

func reply(code int, text string) string {
	if code < 400 || code > 599 {
		code = 550
	}
	return fmt.Sprintf("%d %s", code, oneLine(text))
}

// oneLine has nothing in it that could end a line of the protocol or of a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// params gives the end of a filter-result line for a phase.
func (a Answer) params(phase Phase) string {
	switch a.verb {
	case "", "proceed":
		return "proceed"
	case "junk":
		if phase == Commit {
			return "proceed"
		}
		return "junk"
	case "rewrite":
		value := oneLine(a.text)
		if phase == MailFrom || phase == RcptTo {
			value = "<" + value + ">"
		}
		return "rewrite|" + value
	}
	return a.verb + "|" + oneLine(a.text)
}
