package control

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/trace"
)

// command is one form of one command. Words in angle brackets stand for arguments.
type command struct {
	form string
	op   Op
}

// commands gives the forms in the order in which they are listed.
func commands() []command {
	return []command{
		{"discover <evpid>", Discover},
		{"discover <msgid>", Discover},
		{"pause envelope <evpid>", PauseEnvelope},
		{"pause envelope <msgid>", PauseEnvelope},
		{"pause envelope all", PauseEnvelope},
		{"pause mda", PauseMDA},
		{"pause mta", PauseMTA},
		{"pause mta from <address>", BlockMTA},
		{"pause mta from <address> for <domain>", BlockMTA},
		{"pause mta for <domain>", BlockMTA},
		{"pause smtp", PauseSMTP},
		{"queue action <evpid> <name>", QueueAction},
		{"queue action <msgid> <name>", QueueAction},
		{"queue action all <name>", QueueAction},
		{"queue action held <name>", QueueActionHeld},
		{"queue import <directory>", QueueImport},
		{"resume envelope <evpid>", ResumeEnvelope},
		{"resume envelope <msgid>", ResumeEnvelope},
		{"resume envelope all", ResumeEnvelope},
		{"resume mda", ResumeMDA},
		{"resume mta", ResumeMTA},
		{"resume mta from <address>", UnblockMTA},
		{"resume mta from <address> for <domain>", UnblockMTA},
		{"resume mta for <domain>", UnblockMTA},
		{"resume route <routeid>", ResumeRoute},
		{"resume smtp", ResumeSMTP},
		{"show envelope <evpid>", ShowEnvelope},
		{"show hosts", ShowHosts},
		{"show hoststats", ShowHostStats},
		{"show message <evpid>", ShowMessage},
		{"show message <msgid>", ShowMessage},
		{"show mta paused", ShowBlocks},
		{"show queue", ShowQueue},
		{"show queue <msgid>", ShowQueue},
		{"show relays", ShowRelays},
		{"show routes", ShowRoutes},
		{"show stats", ShowStats},
		{"show status", ShowStatus},
		{"log brief", LogBrief},
		{"log verbose", LogVerbose},
		{"monitor", Monitor},
		{"remove <evpid>", Remove},
		{"remove <msgid>", Remove},
		{"remove all", Remove},
		{"schedule <evpid>", Schedule},
		{"schedule <msgid>", Schedule},
		{"schedule all", Schedule},
		{"trace <subsystem>", Trace},
		{"trace <subsystem> <client>", Trace},
		{"untrace <subsystem>", Untrace},
		{"untrace <subsystem> <client>", Untrace},
		{"update table <name>", UpdateTable},
		{"encrypt", Encrypt},
		{"encrypt <string>", Encrypt},
		{"encrypt-scram", EncryptScram},
		{"encrypt-scram <string>", EncryptScram},
		{"config convert <file>", ConvertConfig},
		{"spf walk", SPFWalk},
		{"spf walk <file>", SPFWalk},
		{"reload", Reload},
		{"stop", Stop},
	}
}

// UsageError is a command line that is none. Smtpctl prints it and exits with 255.
type UsageError struct {
	Possibilities []string // what could have been meant
}

func (e *UsageError) Error() string {
	return "possibilities are:\n" + strings.Join(e.Possibilities, "\n")
}

// ParseCommand reads the operands of smtpctl. Words may be cut to a prefix that only one
// word has. The error is a *UsageError but for an unknown trace subsystem.
func ParseCommand(args []string) (Request, error) {
	req := Request{Last: ^envelope.ID(0)}
	left := commands()
	for i, arg := range args {
		matches, err := narrow(left, i, arg)
		if err != nil {
			return Request{}, err
		}
		left = matches
		if err := req.set(left[0].word(i), arg); err != nil {
			return Request{}, err
		}
	}
	for _, c := range left {
		if len(c.words()) == len(args) {
			req.Op = c.op
			return req, nil
		}
	}
	return Request{}, usage(left, len(args))
}

func (c command) words() []string { return strings.Fields(c.form) }

// word gives a word of the form, or nothing after its end.
func (c command) word(i int) string {
	if words := c.words(); i < len(words) {
		return words[i]
	}
	return ""
}

// narrow gives those of left whose word i is meant by arg. They all have the same word there.
func narrow(left []command, i int, arg string) ([]command, error) {
	pick := func(match func(word, arg string) bool) (found []command, same bool) {
		same = true
		for _, c := range left {
			if word := c.word(i); word != "" && match(word, arg) {
				found = append(found, c)
				same = same && word == found[0].word(i)
			}
		}
		return found, same
	}
	if found, _ := pick(func(word, arg string) bool { return word == arg && word[0] != '<' }); len(found) > 0 {
		return found, nil
	}
	found, same := pick(means)
	switch {
	case len(found) == 0:
		return nil, usage(left, i)
	case !same:
		return nil, usage(found, i)
	}
	return found, nil
}

// means reports whether arg may stand for a word of a form.
func means(word, arg string) bool {
	switch word {
	case "<evpid>":
		_, err := envelope.ParseID(arg)
		return err == nil
	case "<msgid>":
		_, err := envelope.ParseMessageID(arg)
		return err == nil
	case "<routeid>":
		_, err := strconv.ParseUint(arg, 10, 64)
		return err == nil
	case "<address>":
		_, err := netip.ParseAddr(arg)
		return err == nil
	}
	if word[0] == '<' {
		return arg != "" && len(arg) <= MaxName
	}
	return arg != "" && strings.HasPrefix(word, arg)
}

// set takes the argument that stands for word; means has checked it.
func (r *Request) set(word, arg string) (err error) {
	switch word {
	case "<evpid>":
		r.First, err = envelope.ParseID(arg)
		r.Last = r.First
	case "<msgid>":
		var id envelope.MessageID
		id, err = envelope.ParseMessageID(arg)
		r.First, r.Last = envelope.NewID(id, 0), envelope.NewID(id, ^uint32(0))
	case "<routeid>":
		r.Route, err = strconv.ParseUint(arg, 10, 64)
	case "<subsystem>":
		if _, ok := trace.ParseSubsystem(arg); !ok {
			return errors.New("invalid trace keyword: " + arg)
		}
		r.Name = arg
	case "<client>":
		sub, _ := trace.ParseSubsystem(r.Name)
		if _, ok := trace.ParseClient(sub, arg); !ok {
			return ErrTraceClient
		}
		r.Client = arg
	case "<address>":
		r.Source = arg
	case "<domain>":
		r.Domain = arg
	case "<name>", "<string>", "<file>", "<directory>":
		r.Name = arg
	}
	return err
}

// usage lists what may stand at word i, each after the words before it.
func usage(left []command, i int) *UsageError {
	e := new(UsageError)
	for _, c := range left {
		words := c.words()
		text := strings.Join(words[:min(i+1, len(words))], " ")
		if last := len(e.Possibilities) - 1; last < 0 || e.Possibilities[last] != text {
			e.Possibilities = append(e.Possibilities, text)
		}
	}
	return e
}
