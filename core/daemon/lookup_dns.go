package daemon

import (
	"context"
	"errors"

	"github.com/godwit-mta/godwit/core/dns"
	"github.com/godwit-mta/godwit/core/ipc"
	"github.com/godwit-mta/godwit/core/mta"
	"github.com/godwit-mta/godwit/core/tlspolicy"
)

// answer reads a question into q and replies what f finds out in time.
func (l *lookupRole) answer(r *ipc.Request, q any, f func(ctx context.Context) any) {
	if err := r.Decode(q); err != nil {
		r.Fail(err)
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, answerLimit)
	defer cancel()
	r.Reply(f(ctx))
}

func (l *lookupRole) ptr(r *ipc.Request) {
	var req addrRequest
	l.answer(r, &req, func(ctx context.Context) any {
		p, err := l.dns.LookupPTR(ctx, req.Addr)
		failed := err != nil
		var de *dns.Error
		if errors.As(err, &de) && de.NotFound {
			failed = false
		}
		return &ptrReply{Name: p.Name, Confirmed: p.Confirmed, Failed: failed}
	})
}

func (l *lookupRole) mx(r *ipc.Request) {
	var req nameRequest
	l.answer(r, &req, func(ctx context.Context) any {
		found, err := l.dns.LookupMX(ctx, req.Name)
		reply := &mxReply{Error: toDNSError(err)}
		for _, mx := range found {
			reply.Hosts = append(reply.Hosts, mxHost{Name: mx.Host, Preference: mx.Preference, Addrs: mx.Addrs, Secure: mx.Secure})
		}
		return reply
	})
}

func (l *lookupRole) host(r *ipc.Request) {
	var req nameRequest
	l.answer(r, &req, func(ctx context.Context) any {
		family := dns.AnyFamily
		switch req.Family {
		case "inet4":
			family = dns.IPv4
		case "inet6":
			family = dns.IPv6
		}
		addrs, err := l.dns.LookupHost(ctx, req.Name, family)
		return &hostReply{Addrs: addrs, Error: toDNSError(err)}
	})
}

func (l *lookupRole) tlsa(r *ipc.Request) {
	var req tlsaRequest
	l.answer(r, &req, func(ctx context.Context) any {
		found, err := l.dns.LookupTLSA(ctx, req.Host, req.Port)
		reply := &tlsaReply{TLSA: mta.TLSA{Base: found.Base, Owner: found.Owner, Reason: found.Reason}, Error: toDNSError(err)}
		for _, t := range found.Records {
			reply.TLSA.Records = append(reply.TLSA.Records, tlspolicy.Record(t))
		}
		return reply
	})
}

func toDNSError(err error) *dnsError {
	if err == nil {
		return nil
	}
	var de *dns.Error
	if !errors.As(err, &de) {
		return &dnsError{Text: err.Error()}
	}
	return &dnsError{Text: de.Text, Permanent: !de.Temporary(), NotFound: de.NotFound}
}

// err gives the error back as the resolver made it.
func (e *dnsError) err() error {
	if e == nil {
		return nil
	}
	kind := dns.Temporary
	if e.Permanent {
		kind = dns.Permanent
	}
	return &dns.Error{Kind: kind, NotFound: e.NotFound, Text: e.Text}
}
