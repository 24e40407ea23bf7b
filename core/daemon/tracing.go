package daemon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/trace"
)

// traceWhat does what smtpctl trace and untrace ask for: a subsystem is traced, or the sessions
// of a client. Without a client, untrace ends the trace of all its clients too.
func traceWhat(log *trace.Logger, req *control.Request) error {
	sub, ok := trace.ParseSubsystem(req.Name)
	on := req.Op == control.Trace
	switch {
	case !ok:
		return fmt.Errorf("invalid trace keyword: %s", req.Name)
	case req.Client != "":
		return traceClient(log, sub, req.Client, on)
	case on:
		log.SetTraced(log.Traced() | sub)
	default:
		log.SetTraced(log.Traced() &^ sub)
		log.SetClients(slices.DeleteFunc(slices.Clone(log.Clients()), func(c trace.Client) bool { return c.Subsystem()&sub != 0 }))
	}
	return nil
}

func traceClient(log *trace.Logger, sub trace.Subsystem, text string, on bool) error {
	client, ok := trace.ParseClient(sub, text)
	list := slices.Clone(log.Clients())
	at := slices.Index(list, client)
	switch {
	case !ok:
		return control.ErrTraceClient
	case on && at < 0 && len(list) >= trace.MaxClients:
		return fmt.Errorf("%d clients are traced already: untrace some", len(list))
	case on && at < 0:
		list = append(list, client)
	case !on && at < 0:
		return errors.New("not traced: " + client.String())
	case !on:
		list = slices.Delete(list, at, at+1)
	}
	log.SetClients(list)
	return nil
}
