package daemon

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godwit-mta/godwit/compat/netif"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/table"
)

// CheckFiles tries what a configuration names outside of its text: certificates, keys,
// authorities, tables in files and interfaces. What is wrong with them is a warning here, so
// that a file can be checked on another host and by anybody; smtpd does not start with it,
// but for interfaces, for which it waits.
func CheckFiles(cfg *config.Config) []config.Warning {
	list := checkInterfaces(cfg, hostNetwork())
	warn := func(pos config.Pos, err error) {
		if err != nil {
			list = append(list, config.Warning{Pos: pos, Message: err.Error() + "; smtpd does not start with it"})
		}
	}
	for _, pki := range cfg.PKIs {
		_, _, err := readPKIs([]config.PKI{pki})
		warn(pki.Pos, err)
	}
	for _, name := range cfg.QueueKeys {
		if path, ok := strings.CutPrefix(name, config.QueueKeyFile); ok {
			_, err := queueKeyFile(path)
			warn(config.Pos{}, err)
		}
	}
	for _, ca := range cfg.CAs {
		if _, err := readCA(ca.File); err != nil {
			warn(ca.Pos, fmt.Errorf("ca %s: %w", ca.Name, err))
		}
	}
	var good []config.Table
	for _, t := range cfg.Tables {
		if served(&t) || t.Backend == "getpwnam" {
			continue
		}
		if _, err := table.NewSet([]config.Table{t}, table.Sources{Valid: validEntry}); err != nil {
			warn(t.Pos, err)
			continue
		}
		good = append(good, t)
	}
	set, err := table.NewSet(good, table.Sources{Valid: validEntry})
	if err != nil {
		return list // not reached: each of them could be read
	}
	for _, u := range tableUses(cfg) {
		if _, err := set.Table(u.Table); err == nil {
			warn(u.Pos, set.Prepare(u.Table, u.Service))
		}
	}
	return list
}

// checkInterfaces warns of names that are no interface and no group of this host. A name
// with a dot is one of a host; no name server is asked here.
func checkInterfaces(cfg *config.Config, n *network) (list []config.Warning) {
	all, err := n.all()
	if err != nil {
		return nil
	}
	for _, l := range cfg.Listeners {
		if l.Interface == "localhost" || strings.Contains(l.Interface, ".") || isAddress(l.Interface) {
			continue
		}
		if _, err := n.find(all, l.Interface); errors.Is(err, netif.ErrNotFound) {
			list = append(list, config.Warning{Pos: l.Pos,
				Message: fmt.Sprintf("no interface or group here is called %q: if no host is either, smtpd waits for it", l.Interface)})
		}
	}
	return list
}

// tableUses lists what tables are asked for.
func tableUses(cfg *config.Config) []tableUse {
	uses := listenerTables(cfg.Listeners)
	add := func(pos config.Pos, name string, service table.Service) {
		if name != "" {
			uses = append(uses, tableUse{Pos: pos, Table: name, Service: service})
		}
	}
	for _, a := range cfg.Actions {
		add(a.Pos, a.Alias, table.Alias)
		add(a.Pos, a.Virtual, table.Alias)
		add(a.Pos, a.UserBase, table.UserInfo)
		uses = append(uses, relayUses(&a)...)
	}
	for _, r := range cfg.Rules {
		match := func(m config.Match, service table.Service) {
			if m.Regex {
				service = table.Regex
			}
			add(r.Pos, m.Table, service)
		}
		match(r.Tag, table.String)
		match(r.From, table.NetAddr)
		match(r.RDNS, table.Domain)
		match(r.For, table.Domain)
		match(r.Helo, table.Domain)
		match(r.Auth, table.String)
		match(r.MailFrom, table.MailAddr)
		match(r.RcptTo, table.MailAddr)
	}
	return uses
}
