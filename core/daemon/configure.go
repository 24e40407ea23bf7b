package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/config"
)

// configure gives every member its part of the configuration. Nobody uses it before all
// have prepared it; on an error all forget it.
func (p *parent) configure(s *set, cfg *config.Config) error {
	parts, err := p.parts(cfg)
	if err != nil {
		return err
	}
	s.granted.add(p.generation, cfg.Tables, filterProcs(cfg))
	err = p.prepareAll(s, parts)
	s.granted.settle(err == nil)
	if err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), setupWait)
		defer cancel()
		for _, role := range members() {
			_ = s.members[role].conn.Call(ctx, kindAbandon, nil, nil)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupWait)
	defer cancel()
	for _, role := range members() {
		if err := s.members[role].conn.Call(ctx, kindActivate, nil, nil); err != nil {
			s.gone(s.members[role], "did not take up the configuration") // no mixture: all start again
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	return nil
}

// prepareWait is how long a role may read: large tables, and what a power cut left of
// the journal on a slow disk. One that ends is noticed at once.
const prepareWait = 10 * time.Minute

func (p *parent) prepareAll(s *set, parts map[Role]any) error {
	ctx, cancel := context.WithTimeout(context.Background(), prepareWait)
	defer cancel()
	for _, role := range members() {
		conn := s.members[role].conn
		for _, f := range p.bound.sockets(role) {
			if err := conn.Send(kindListener, nil, f); err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
		}
		if err := conn.Call(ctx, kindPrepare, parts[role], nil); err != nil {
			return err
		}
	}
	return nil
}

// parts divides the configuration: nobody gets more than the role needs.
func (p *parent) parts(cfg *config.Config) (map[Role]any, error) {
	keys, chains, err := readPKIs(cfg.PKIs)
	if err != nil {
		return nil, err
	}
	enc, err := encoding(cfg, &p.stdinKey)
	if err != nil {
		return nil, err
	}
	p.generation++
	d, err := p.dispatcherPart(cfg, chains)
	if err != nil {
		return nil, err
	}
	var authorities []byte
	if cfg.STS || cfg.TLSReport.Organization != "" {
		authorities = systemCAs(p.opts.Facts.CAFiles)
	}
	return map[Role]any{
		Control:    &controlConfig{Started: time.Now().Unix()},
		Crypto:     &cryptoConfig{Generation: p.generation, Keys: keys},
		Dispatcher: d,
		Lookup: &lookupConfig{Generation: p.generation, Hostname: cfg.Hostname, SubAddrDelim: cfg.SubAddrDelim, QueueTTL: cfg.QueueTTL,
			Tables: cfg.Tables, Actions: cfg.Actions, Rules: cfg.Rules, Wrappers: cfg.Wrappers, Interfaces: p.bound.now.interfaces,
			DaemonUser: p.opts.Facts.Users.Daemon, SRS: cfg.SRS, DANE: cfg.DANE, STS: cfg.STS, TLSPolicy: cfg.TLSPolicy, SystemCAs: authorities, TLSReport: cfg.TLSReport,
			Sessions: listenerTables(cfg.Listeners), ScramSecret: p.scramSecret(cfg), Filters: usedFilters(cfg)},
		Queue: &queueConfig{Hostname: cfg.Hostname, QueueTTL: cfg.QueueTTL, SubAddrDelim: cfg.SubAddrDelim,
			WarnIntervals: cfg.WarnIntervals, Bounce: cfg.Bounce, Actions: cfg.Actions, MDA: cfg.MDA, Scheduler: cfg.Scheduler,
			MTALimits: cfg.MTALimits, MTAMaxDeferred: cfg.MTAMaxDeferred, Schedule: cfg.Schedule, MaxBodyMemory: cfg.MaxBodyMemory,
			PausedMDA: p.opts.PausedMDA, PausedMTA: p.opts.PausedMTA, MailboxDir: p.opts.Facts.MailboxDir,
			Wrappers: cfg.Wrappers, SRS: cfg.SRS, DaemonUser: p.opts.Facts.Users.Daemon,
			Backends: p.opts.Backends, Spool: p.opts.Spool, Encoding: enc},
	}, nil
}

func (p *parent) dispatcherPart(cfg *config.Config, chains []namedPEM) (*dispatcherConfig, error) {
	d := &dispatcherConfig{Generation: p.generation, Hostname: cfg.Hostname, MaxMessageSize: cfg.MaxMessageSize, MaxRcpt: cfg.MaxRcpt,
		MaxMails: cfg.MaxMails, SMTP: cfg.SMTP, Listeners: p.bound.now.listeners, Socket: cfg.Socket, Chains: chains,
		Ciphers: cfg.Ciphers, MTALimits: cfg.MTALimits, DANE: cfg.DANE.On, STS: cfg.STS, TLSPolicy: cfg.TLSPolicy != "", TLSReport: cfg.TLSReport.Organization != "", Interfaces: p.bound.now.interfaces, PausedSMTP: p.opts.PausedSMTP,
		Filters: usedFilters(cfg), FailOpen: failOpen(cfg), ADMD: cfg.ADMD, Version: p.opts.Version, ControlSocket: p.opts.Socket}
	d.Rules, d.RuleTables = decidable(cfg)
	d.SubAddrDelim, d.QueueTTL, d.SRS = cfg.SubAddrDelim, cfg.QueueTTL, cfg.SRS.Key != ""
	verified := slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.TLSVerify && l.CA == "" })
	for _, a := range cfg.Actions {
		if a.Method != config.RelayMethod {
			continue
		}
		d.Relays = append(d.Relays, a)
		verified = verified || verifies(&a.Relay) || cfg.STS || cfg.TLSPolicy != ""
		for _, t := range cfg.Tables {
			if t.Name == a.Relay.Src && t.Backend == "static" && !slices.ContainsFunc(d.Tables, func(o config.Table) bool { return o.Name == t.Name }) {
				d.Tables = append(d.Tables, t)
			}
		}
	}
	for _, ca := range cfg.CAs {
		pem, err := readCA(ca.File)
		if err != nil {
			return nil, fmt.Errorf("ca %s: %w", ca.Name, err)
		}
		d.CAs = append(d.CAs, namedPEM{ca.Name, pem})
	}
	if verified {
		d.SystemCAs = systemCAs(p.opts.Facts.CAFiles)
	}
	return d, nil
}

// verifies reports whether a relay trusts the system's authorities; opportunistic TLS is
// not verified at all.
func verifies(r *config.Relay) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(r.Host), "://")
	mandatory := r.TLS || scheme == "smtp+tls" || scheme == "smtps" || r.HostTable+r.DomainTable != ""
	return mandatory && !r.NoVerify && r.CA == ""
}

// systemCAs gives the certificates of the system's authorities; none is not an error here:
// who needs them says so.
func systemCAs(files []string) []byte {
	for _, f := range files {
		if pem, err := readPEM(f); err == nil {
			return pem
		}
	}
	return nil
}

// readPKIs reads keys and certificates and checks that they belong together.
func readPKIs(pkis []config.PKI) (keys, chains []namedPEM, err error) {
	for _, pki := range pkis {
		if pki.Cert == "" || pki.Key == "" {
			return nil, nil, fmt.Errorf("pki %s: needs a cert and a key", pki.Name)
		}
		chain, err := readPEM(pki.Cert)
		if err != nil {
			return nil, nil, fmt.Errorf("pki %s: %w", pki.Name, err)
		}
		key, err := readKey(pki.Key)
		if err == nil {
			err = checkPair(chain, key)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("pki %s: %w", pki.Name, err)
		}
		keys = append(keys, namedPEM{pki.Name, key})
		chains = append(chains, namedPEM{pki.Name, oneChain(chain)})
	}
	return keys, chains, nil
}

// readKey refuses a key that others can read, as smtpd.conf(5) asks for.
func readKey(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o037 != 0 {
		return nil, errors.New(path + ": insecure permissions: must not be writable by the group or readable by others")
	}
	return readPEM(path)
}
