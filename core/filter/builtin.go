package filter

import (
	"context"
	"fmt"
	"strings"
)

// Tables answers whether a key is in a table. The service is the name by which smtpd-tables(7)
// knows how keys are compared.
type Tables interface {
	Match(ctx context.Context, table, service, key string) (bool, error)
}

// Condition says what a builtin filter looks at: what is known of the client, or the argument of the command.
type Condition uint8

// The conditions.
const (
	OnFCrDNS   Condition = iota // the name of the client leads back to its address
	OnRDNS                      // its name
	OnSource                    // its address
	OnHelo                      // the name that it gave
	OnAuth                      // who it proved to be
	OnMailFrom                  // the sender
	OnRcptTo                    // the recipient that it just named
	conditionCount
)

// ParseCondition reads a word of smtpd.conf(5).
func ParseCondition(word string) (Condition, bool) {
	for i, n := range [conditionCount]string{"fcrdns", "rdns", "src", "helo", "auth", "mail-from", "rcpt-to"} {
		if n == word {
			return Condition(i), true
		}
	}
	return 0, false
}

// Builtin is "filter NAME phase PHASE match [!] CONDITION DECISION".
type Builtin struct {
	Phase     Phase
	Condition Condition
	Not       bool
	Table     string // "" where the condition is that there is something
	Regex     bool   // the table has regular expressions
	Decision  Decision
	Tables    Tables // may be nil without Table
}

// Phases gives the one phase.
func (b *Builtin) Phases() Phases { return Phases(0).With(b.Phase) }

// Decide tests the condition. While the look-up of the client's name has failed, no condition on it can be tested: then a refusal
// becomes a temporary one, and other decisions are not made.
func (b *Builtin) Decide(ctx context.Context, s *Session, _ Phase, arg string) (Decision, error) {
	if s.FCrDNS == Failing && (b.Condition == OnFCrDNS || b.Condition == OnRDNS) {
		if b.Decision.Verdict == Reject || b.Decision.Verdict == Disconnect {
			return Decision{b.Decision.Verdict, "451 4.4.3 Temporary failure looking up the name of your address"}, nil
		}
		return Decision{}, nil
	}
	met, err := b.met(ctx, s, arg)
	if err != nil || met == b.Not {
		return Decision{}, err
	}
	return b.Decision, nil
}

// Service gives the name of what the table will be asked for, "" without a table.
func (b *Builtin) Service() string {
	switch {
	case b.Table == "":
		return ""
	case b.Regex:
		return "regex"
	}
	return b.fact(&Session{}, "").service
}

func (b *Builtin) met(ctx context.Context, s *Session, arg string) (bool, error) {
	f := b.fact(s, arg)
	if b.Table == "" || !f.known {
		return f.known, nil
	}
	if b.Regex {
		f.service = "regex"
	}
	found, err := b.Tables.Match(ctx, b.Table, f.service, f.key)
	if err != nil {
		return false, fmt.Errorf("table %s: %w", b.Table, err)
	}
	return found, nil
}

// fact is what a condition is about in this session.
type fact struct {
	known   bool // there is something; a table has nothing else
	service string
	key     string
}

func (b *Builtin) fact(s *Session, arg string) fact {
	switch b.Condition {
	case OnFCrDNS:
		return fact{known: s.FCrDNS == Pass}
	case OnRDNS:
		return fact{s.Host != "", "domain", s.Host}
	case OnSource:
		return fact{true, "netaddr", b.source(s)}
	case OnHelo:
		if b.Phase == Helo || b.Phase == Ehlo {
			return fact{true, "domain", arg}
		}
		return fact{true, "domain", s.Helo}
	case OnAuth:
		return b.user(s)
	case OnMailFrom:
		if b.Phase == MailFrom {
			return fact{true, "mailaddr", arg}
		}
		return fact{true, "mailaddr", s.Sender}
	}
	return fact{true, "mailaddr", arg}
}

// source gives the address of the client, IPv6 in brackets where regular expressions expect
// them.
func (b *Builtin) source(s *Session) string {
	switch a := s.Source.Addr().Unmap(); {
	case s.Local:
		return "local"
	case b.Regex && a.Is6():
		return "[" + a.String() + "]"
	default:
		return a.String()
	}
}

// user gives the name of who has logged in. Local sessions count as authenticated, but have no name.
func (b *Builtin) user(s *Session) fact {
	f := fact{s.User != "", "string", s.User}
	if strings.Contains(s.User, "@") {
		f.service = "mailaddr"
	}
	if b.Table == "" {
		f.known = s.Auth
	}
	return f
}
