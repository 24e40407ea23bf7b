package mta

import (
	"slices"
	"sync/atomic"

	"github.com/godwit-mta/godwit/core/envelope"
)

// maxRecipients is the number of recipients of one transaction (RFC 5321 section 4.5.3.1.8
// promises only 100, but servers that take fewer than they are given say so).
const maxRecipients = 1000

// task is a message with recipients that wait for a transaction on a relay.
type task struct {
	msg   *Message
	rcpts []Recipient
	tries int // how often it was given back without a result
	moves int // to other hosts of a list
}

// fate is what became of one recipient of a transaction.
type fate struct {
	status envelope.Status // 0: none yet
	text   string
	class  uint8
	code   uint16
	said   int // the reply code, 0 when it was none

	unreached bool // no server was asked
	filter    bool // a filter gave it
}

// transaction is one attempt to hand over a task.
type transaction struct {
	*task
	fates    []fate // one for each of rcpts
	sending  int    // how many of rcpts, from the first, the server is told
	accepted int    // recipients that the server took and whose fate is open
	later    []int  // recipients that are to follow in another transaction
	begun    bool   // the commands were written
	body     bool   // the body was begun: from here on the message may have arrived

	unwelcome bool // MAIL was refused
	stage     atomic.Int32
}

func newTransaction(t *task) *transaction {
	return &transaction{task: t, fates: make([]fate, len(t.rcpts)), sending: len(t.rcpts)}
}

// verdict turns a refusing reply into a fate.
func verdict(r reply) fate {
	f := fate{status: envelope.TempFail, text: r.text(), said: r.code}
	if r.class() == 5 {
		f.status = envelope.PermFail
	}
	f.class, f.code = r.enhanced()
	return f
}

func delivered(r reply) fate {
	f := fate{status: envelope.Delivered, text: r.text(), said: r.code}
	f.class, f.code = r.enhanced()
	return f
}

func lost(err error) fate {
	return fate{status: envelope.TempFail, text: ioText(err), class: 4, code: 402} // 4.4.2 bad connection
}

// settle gives f to every recipient whose fate is open.
func (tx *transaction) settle(f fate) {
	for i := range tx.fates {
		if tx.fates[i].status == 0 {
			tx.fates[i] = f
		}
	}
	tx.accepted = 0
}

// settleTaken gives f to the recipients that the server took.
func (tx *transaction) settleTaken(f fate) {
	for i := range tx.fates {
		if tx.fates[i].status == 0 && !slices.Contains(tx.later, i) {
			tx.fates[i] = f
		}
	}
	tx.accepted = 0
}

// open gives the recipients without a fate.
func (tx *transaction) open() (out []Recipient) {
	for i := range tx.fates {
		if tx.fates[i].status == 0 {
			out = append(out, tx.rcpts[i])
		}
	}
	return out
}

// rcptReply notes the reply to the RCPT of recipient i.
func (tx *transaction) rcptReply(i int, r reply) error {
	switch {
	case r.class() == 2:
		tx.accepted++
	case r.tooManyRecipients() && tx.accepted > 0:
		tx.later = append(tx.later, i)
	case r.class() == 4 || r.class() == 5:
		tx.fates[i] = verdict(r)
	default:
		return errSequence
	}
	return nil
}
