package smtp

import (
	"errors"

	"github.com/emersion/go-sasl"

	"github.com/godwit-mta/godwit/core/scram"
)

// Scram is the name of the mechanism that NewScram makes.
const Scram = "SCRAM-SHA-256"

// ScramKeys is who has the keys of users. An *SMTPError is the reply.
type ScramKeys interface {
	// ScramFirst answers the client's first message. Whether the user exists is not told.
	ScramFirst(user, message string) (challenge string, err error)
	// ScramFinal answers the second one when its proof is right.
	ScramFinal(message string) (answer string, err error)
	// ScramDone is called when the client has taken the answer, and with it is let in.
	ScramDone()
}

// NewScram gives the server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677). There is no
// SCRAM-SHA-256-PLUS: a client that binds the channel is refused.
func NewScram(keys ScramKeys) sasl.Server { return &scramServer{keys: keys} }

type scramServer struct {
	keys ScramKeys
	step int // messages of the client so far
}

func (s *scramServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil
	}
	s.step++
	text := ""
	switch s.step {
	case 1:
		text, err = s.first(string(response))
	case 2:
		text, err = s.keys.ScramFinal(string(response))
	default:
		if len(response) > 0 {
			return nil, false, reply(501, 5, 2, textSyntax)
		}
		s.keys.ScramDone()
		return nil, true, nil
	}
	return []byte(text), false, err
}

// first refuses what is malformed before anybody is asked.
func (s *scramServer) first(message string) (string, error) {
	f, err := scram.ParseFirst(message)
	switch {
	case errors.Is(err, scram.ErrOther):
		return "", RefusedAuth()
	case errors.Is(err, scram.ErrBinding):
		return "", reply(501, 5, 4, "Invalid command arguments: No channel binding was offered")
	case err != nil:
		return "", reply(501, 5, 2, textSyntax)
	}
	return s.keys.ScramFirst(f.User, message)
}

// MalformedAuth is the reply to a response that a mechanism does not know.
func MalformedAuth() error { return reply(501, 5, 2, textSyntax) }
