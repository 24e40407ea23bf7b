package expand

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/rules"
)

// Explain makes the whole decision about a recipient and says it in words, an envelope a
// line or the reply: for trying out a configuration.
func (e *Expander) Explain(ctx context.Context, s *rules.Session) string {
	base := &envelope.Envelope{Tag: s.Tag, Helo: s.Helo, Username: s.Username, Sender: s.Sender, Rcpt: s.Rcpt}
	envelopes, err := e.Expand(ctx, s, base)
	if err != nil {
		var reply *gosmtp.SMTPError
		if !errors.As(err, &reply) {
			return err.Error()
		}
		c := reply.EnhancedCode
		return fmt.Sprintf("%d %d.%d.%d %s", reply.Code, c[0], c[1], c[2], reply.Message)
	}
	lines := make([]string, len(envelopes))
	for i, env := range envelopes {
		lines[i] = describe(env)
	}
	return strings.Join(lines, "\n")
}

func describe(env *envelope.Envelope) string {
	s := fmt.Sprintf("%s %s dest=<%s>", env.Type, env.Dispatcher, env.Dest)
	for _, f := range [...]struct{ name, value string }{{"user", env.MDAUser},
		{"detail", env.MDASubaddress}, {"exec", env.MDAExec}, {"flags", env.Flags.String()}} {
		if f.value != "" {
			s += " " + f.name + "=" + f.value
		}
	}
	return s
}
