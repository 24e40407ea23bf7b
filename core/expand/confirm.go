package expand

import (
	"time"

	"github.com/godwit-mta/godwit/core/envelope"
)

// confirm gives the envelopes of a recipient whose sender wants to be told of the success.
// Where there are several it is told that the message was passed on to them, and none of
// them tells more: https://www.rfc-editor.org/rfc/rfc3461#section-5.2.7.
func confirm(base *envelope.Envelope, envs []*envelope.Envelope) []*envelope.Envelope {
	if len(envs) < 2 || base.Notify&envelope.NotifySuccess == 0 || base.Notify&envelope.NotifyNever != 0 || base.Sender.Null() {
		return envs
	}
	told := *base
	told.Type, told.BounceType = envelope.Bounce, envelope.BounceExpanded
	told.Dispatcher, told.Dest, told.TTL = envs[0].Dispatcher, base.Rcpt, envs[0].TTL
	told.LastTry = time.Unix(time.Now().Unix(), 0)
	told.LastBounce = told.LastTry
	for _, e := range envs {
		if e.Notify &^= envelope.NotifySuccess; e.Notify == 0 {
			e.Notify = envelope.NotifyNever
		}
	}
	return append([]*envelope.Envelope{&told}, envs...)
}
