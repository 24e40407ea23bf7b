package mta

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Block is a pause of relaying from a source address to a domain. An invalid Source is every
// one, an empty Domain too.
type Block struct {
	Source netip.Addr
	Domain string
}

// ParseBlock reads a Block from an address and a domain, either of which may be empty or *.
func ParseBlock(source, domain string) (b Block, err error) {
	if source != "" && source != "*" {
		if b.Source, err = netip.ParseAddr(source); err != nil {
			return Block{}, err
		}
	}
	if domain != "*" {
		b.Domain = domain
	}
	if b = b.clean(); b == (Block{}) || len(b.Domain) > 255 || strings.ContainsFunc(b.Domain, notInDomain) {
		return Block{}, fmt.Errorf("%q is not a domain", domain)
	}
	return b, nil
}

func notInDomain(r rune) bool { return r <= ' ' || r == '/' || r == '#' || r == 0x7f }

// String gives a line of smtpctl show mta paused.
func (b Block) String() string {
	source, domain := "*", "*"
	if b.Source.IsValid() {
		source = b.Source.String()
	}
	if b.Domain != "" {
		domain = b.Domain
	}
	return fmt.Sprintf("%s -> %s", source, domain)
}

// maxBlocks bounds how many there are.
const maxBlocks = 1000

// Block pauses relaying. Transactions under way end. It reports false when it was so already,
// or there are too many.
func (m *MTA) Block(b Block) bool {
	b = b.clean()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blocks[b] != nil || len(m.blocks) >= maxBlocks {
		return false
	}
	m.blocks[b] = make(map[Destination]bool)
	m.cfg.Log.Infof("smtp-out: Paused: %s", b)
	return true
}

// Unblock undoes Block. It gives the destinations that were not tried because of it, and reports
// false when there was nothing to undo.
func (m *MTA) Unblock(b Block) (missed []Destination, ok bool) {
	b = b.clean()
	m.mu.Lock()
	defer m.mu.Unlock()
	of, ok := m.blocks[b]
	if !ok {
		return nil, false
	}
	delete(m.blocks, b)
	for d := range of {
		missed = append(missed, d)
	}
	m.cfg.Log.Infof("smtp-out: Resumed: %s", b)
	return missed, true
}

// Blocks gives what is paused, sorted.
func (m *MTA) Blocks() []Block {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Block, 0, len(m.blocks))
	for b := range m.blocks {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Block) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), a.Source.Compare(b.Source))
	})
	return out
}

func (b Block) clean() Block {
	return Block{b.Source.Unmap(), strings.TrimSuffix(strings.ToLower(b.Domain), ".")}
}

// isBlocked reports whether mail for a domain must not leave from a source. The caller holds the
// lock.
func (m *MTA) isBlocked(source netip.Addr, domain string) (Block, bool) {
	if len(m.blocks) == 0 {
		return Block{}, false
	}
	for _, b := range []Block{{source, domain}, {source, ""}, {netip.Addr{}, domain}} {
		if m.blocks[b] != nil && b != (Block{}) {
			return b, true
		}
	}
	return Block{}, false
}

// missBlocked notes what waits because of a block. The caller holds the lock.
func (m *MTA) missBlocked(r *relay) {
	for b, missed := range m.blocks {
		if b.Domain != "" && b.Domain != r.limitDomain() {
			continue
		}
		for _, t := range r.tasks {
			for i := range t.rcpts {
				if len(missed) < maxMissed {
					missed[Destination{r.opts.Name, t.rcpts[i].Dest.Domain}] = true
				}
			}
		}
	}
}
