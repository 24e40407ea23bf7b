package table

import (
	"net/netip"

	"github.com/godwit-mta/godwit/core/config"
)

// SetAddresses changes the addresses of the host that <localhost> and <localnames> hold.
// Look-ups that are under way see the old ones or the new ones.
func (s *Set) SetAddresses(addrs []netip.Addr) error {
	facts := s.facts
	facts.Addresses = addrs
	fresh := builtin(facts)
	for _, name := range []string{config.LocalHost, config.LocalNames} {
		t, next := s.tables[name].(*held), fresh[name].(*held)
		if err := t.replace(func() (*contents, error) { return next.now.Load(), nil }); err != nil {
			return err
		}
	}
	return nil
}
