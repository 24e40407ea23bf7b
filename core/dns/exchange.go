package dns

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	miekg "github.com/miekg/dns"
)

// udpSize is the largest reply over UDP that we ask for: it passes without fragments
// everywhere (DNS flag day 2020).
const udpSize = 1232

// maxStray is the number of datagrams that are not our reply after which a server is given up.
const maxStray = 64

var (
	errStray = errors.New("too many replies to other questions")
	errCut   = errors.New("reply over TCP was cut")
)

// fetch asks the servers, one after the other and several times, until one gives an
// answer that can be believed.
func (r *Resolver) fetch(ctx context.Context, k key) answer {
	conf := r.conf.load(r.log)
	servers, trusted := r.servers(conf)
	first := r.first.Load()
	if conf.rotate {
		first = r.first.Add(1)
	}
	why := "no servers"
	for range conf.attempts {
		for i := range servers {
			n := (first + uint32(i)) % uint32(len(servers))
			m, err := exchange(ctx, conf, servers[n], k, trusted)
			if ctx.Err() != nil {
				return answer{err: temporary(k.qtype, "timed out")}
			}
			if err == nil && (m.Rcode == miekg.RcodeSuccess || m.Rcode == miekg.RcodeNameError) {
				if !conf.rotate && i > 0 {
					r.first.Store(n) // the next question begins with one that works
				}
				a := interpret(k, m)
				a.secure = trusted && m.AuthenticatedData
				return a
			}
			why = failure(m, err)
			r.log.Debugf("dns: %s %s from %s: %s", k.name, miekg.TypeToString[k.qtype], servers[n], why)
		}
	}
	return answer{err: temporary(k.qtype, why)}
}

func failure(m *miekg.Msg, err error) string {
	var ne net.Error
	switch {
	case err == nil:
		if name, ok := miekg.RcodeToString[m.Rcode]; ok {
			return name
		}
		return "unknown response code"
	case errors.As(err, &ne) && ne.Timeout():
		return "timed out"
	case errors.Is(err, errStray), errors.Is(err, errCut):
		return err.Error()
	default:
		return "server unreachable or reply malformed"
	}
}

// exchange asks one server once: over UDP, over TCP when the reply was cut, and without
// EDNS0 when the server does not understand it.
func exchange(ctx context.Context, conf *resolvConf, server netip.AddrPort, k key, validated bool) (*miekg.Msg, error) {
	q := new(miekg.Msg)
	q.SetQuestion(miekg.Fqdn(k.name), k.qtype)
	// It asks whether the answer is validated, without the signatures that DO would bring
	// along, https://www.rfc-editor.org/rfc/rfc6840#section-5.7
	q.AuthenticatedData = validated
	q.SetEdns0(udpSize, false)
	network := "udp"
	if conf.useTCP {
		network = "tcp"
	}
	m, err := roundTrip(ctx, conf.timeout, network, server, q)
	if err == nil && (m.Rcode == miekg.RcodeFormatError || m.Rcode == miekg.RcodeNotImplemented) {
		q.Extra = nil
		q.Id = miekg.Id()
		m, err = roundTrip(ctx, conf.timeout, network, server, q)
	}
	if err == nil && m.Truncated && network == "udp" {
		q.Id = miekg.Id()
		m, err = roundTrip(ctx, conf.timeout, "tcp", server, q)
	}
	if err == nil && m.Truncated { // even so: what is left out may be what matters
		return nil, errCut
	}
	return m, err
}

// roundTrip sends q from a fresh port and waits for its reply. Replies to something else
// are skipped: a forged one must not be able to make the true one fail.
func roundTrip(ctx context.Context, timeout time.Duration, network string, server netip.AddrPort, q *miekg.Msg) (*miekg.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, err
	}
	conn := &miekg.Conn{Conn: c, UDPSize: udpSize}
	defer conn.Close()
	// The library heeds the deadline of a context but not its end.
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := conn.WriteMsg(q); err != nil {
		return nil, err
	}
	for range maxStray {
		m, err := conn.ReadMsg()
		switch {
		case m != nil && answers(m, q) && (err == nil || m.Truncated && network == "udp"):
			return m, nil
		case err == nil || m != nil:
			if network == "tcp" {
				return nil, errStray
			}
		case isMalformed(err) && network == "udp":
		default:
			return nil, err
		}
	}
	return nil, errStray
}

// isMalformed tells a datagram that cannot be read from a socket that cannot be read.
func isMalformed(err error) bool {
	var e *miekg.Error
	return errors.As(err, &e) || errors.Is(err, miekg.ErrShortRead)
}

// answers reports whether m is a reply to q: same number and same question. A server that
// does not understand a query may leave the question out.
func answers(m, q *miekg.Msg) bool {
	if !m.Response || m.Id != q.Id || m.Opcode != miekg.OpcodeQuery {
		return false
	}
	if len(m.Question) == 0 {
		return m.Rcode == miekg.RcodeFormatError || m.Rcode == miekg.RcodeNotImplemented
	}
	a, b := m.Question[0], q.Question[0]
	return len(m.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// interpret finds the records that were asked for, or the alias at which to go on.
func interpret(k key, m *miekg.Msg) answer {
	name := miekg.Fqdn(k.name)
	ttl := maxPositive
	for range maxCNAME {
		rrs, low := records(m, name, k.qtype)
		if len(rrs) > 0 {
			return keepSmall(m, answer{rrs: rrs, owner: strings.ToLower(strings.TrimSuffix(name, ".")), ttl: min(ttl, low)})
		}
		alias, low := target(m, name)
		if alias == "" {
			break
		}
		name, ttl = alias, min(ttl, low)
	}
	switch {
	case m.Rcode == miekg.RcodeNameError:
		return answer{err: noDomain(), ttl: negativeTTL(m)}
	case strings.EqualFold(name, miekg.Fqdn(k.name)):
		e := &Error{Kind: Temporary, NotFound: true, Text: "No " + miekg.TypeToString[k.qtype] + " record found"}
		return answer{err: e, ttl: negativeTTL(m)}
	default:
		return keepSmall(m, answer{alias: strings.ToLower(strings.TrimSuffix(name, ".")), ttl: ttl})
	}
}

func keepSmall(m *miekg.Msg, a answer) answer {
	if m.Len() > maxKeptBytes {
		a.ttl = 0
	}
	return a
}

func records(m *miekg.Msg, name string, qtype uint16) (rrs []miekg.RR, ttl time.Duration) {
	ttl = maxPositive
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Rrtype == qtype && h.Class == miekg.ClassINET && strings.EqualFold(h.Name, name) {
			rrs = append(rrs, rr)
			ttl = min(ttl, life(h.Ttl))
		}
	}
	return rrs, ttl
}

// life is a time to live. One with the highest bit set is none,
// https://www.rfc-editor.org/rfc/rfc2181#section-8
func life(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

func target(m *miekg.Msg, name string) (string, time.Duration) {
	for _, rr := range m.Answer {
		if c, ok := rr.(*miekg.CNAME); ok && strings.EqualFold(c.Hdr.Name, name) {
			return c.Target, life(c.Hdr.Ttl)
		}
	}
	return "", 0
}

// negativeTTL is how long the absence of something may be believed
// (https://www.rfc-editor.org/rfc/rfc2308#section-5); without an SOA not at all.
func negativeTTL(m *miekg.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*miekg.SOA); ok {
			return min(maxNegative, life(soa.Hdr.Ttl), life(soa.Minttl))
		}
	}
	return 0
}
