package daemon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/compat/netif"
)

// bindings are the sockets that the parent has opened. They stay open while members come
// and go, so that no client finds the door shut.
type bindings struct {
	control *net.UnixListener
	smtp    map[netip.AddrPort]*netif.Socket
	now     binding
}

// binding is what the members know, or are to know, of the host's addresses.
type binding struct {
	listeners  []boundListener // that are open, in the order of sockets
	interfaces []netip.Addr
	missing    []string // a line for what is waited for
	unready    []string // the same for addresses of the host that cannot be used yet
	others     []string // the same for addresses of a host name that has other ones here
	shadowed   []string // a line for those that have no effect
}

// waits reports whether something of the configuration is not there yet.
func (b *binding) waits() bool { return len(b.missing)+len(b.unready)+len(b.others) > 0 }

func newBindings() *bindings { return &bindings{smtp: make(map[netip.AddrPort]*netif.Socket)} }

// openControl makes the control socket, unless somebody answers on it already.
func (b *bindings) openControl(path string) error {
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("control socket %s: already listening, is smtpd running?", path)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("control socket %s: there is a file that is not a socket", path)
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("control socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // who may do what is decided by the peer's user
		l.Close()
		return err
	}
	b.control = l
	return nil
}

// open opens what a plan has and is not open yet, and gives that. Every address has a
// socket of its own: where "all" and a single address overlap, the earlier line decides
// about that address, which one socket for all addresses would not allow on every system.
//
// An address that the host does not have is waited for. Any other failure is an error, or
// is waited for as well when patient.
func (b *bindings) open(plan *listenPlan, patient bool) ([]netip.AddrPort, error) {
	next := binding{interfaces: plan.interfaces, missing: plan.missing, shadowed: plan.shadowed}
	var opened []netip.AddrPort
	var absent []boundListener
	for _, w := range plan.want {
		if b.smtp[w.Addr] == nil {
			l, err := listen(w.Addr, plan.zones)
			switch {
			case err == nil:
			case netif.Absent(err) && slices.Contains(plan.interfaces, w.Addr.Addr()):
				next.unready = append(next.unready, listenText(&w.Listener, "%s: the address cannot be used yet", w.Addr.Addr()))
				continue
			case netif.Absent(err):
				absent = append(absent, w)
				continue
			case patient:
				next.missing = append(next.missing, listenText(&w.Listener, "%s: %v%s", w.Addr, err, b.overlap(w.Addr)))
				continue
			default:
				text := listenText(&w.Listener, "%s: %v%s", w.Addr, err, b.overlap(w.Addr))
				b.discard(opened)
				return nil, errors.New(text)
			}
			b.smtp[w.Addr] = l
			opened = append(opened, w.Addr)
		}
		next.listeners = append(next.listeners, w)
	}
	next.lacks(absent)
	b.now = next
	return opened, nil
}

// lacks notes listeners whose address the host does not have.
func (b *binding) lacks(absent []boundListener) {
	for _, w := range absent {
		line := listenText(&w.Listener, "%s: this host does not have the address", w.Addr.Addr())
		if slices.ContainsFunc(b.listeners, func(l boundListener) bool { return l.Pos == w.Pos }) {
			b.others = append(b.others, line) // such as that of localhost without IPv6
		} else {
			b.missing = append(b.missing, line)
		}
	}
}

// overlap is an explanation of a failure when a socket of ours is in the way.
func (b *bindings) overlap(addr netip.AddrPort) string {
	for have := range b.smtp {
		if overlaps(have, addr) {
			return fmt.Sprintf("; %s is used by smtpd itself, \"all\" can stand beside other addresses", have)
		}
	}
	return ""
}

// overlaps reports whether one of two sockets is for all addresses and the other one of
// them: Linux does not allow them beside each other.
func overlaps(a, b netip.AddrPort) bool {
	return a != b && a.Port() == b.Port() && a.Addr().Is4() == b.Addr().Is4() &&
		(a.Addr().IsUnspecified() || b.Addr().IsUnspecified())
}

// inTheWay gives the addresses of open listeners that a plan has no use for and that can
// keep it from being carried out.
func (b *bindings) inTheWay(plan *listenPlan) (addrs []netip.AddrPort) {
	for _, l := range b.now.listeners {
		wanted := slices.ContainsFunc(plan.want, func(w boundListener) bool { return w.Addr == l.Addr })
		if !wanted && slices.ContainsFunc(plan.want, func(w boundListener) bool { return overlaps(w.Addr, l.Addr) }) {
			addrs = append(addrs, l.Addr)
		}
	}
	return addrs
}

func listen(addr netip.AddrPort, zones map[string]int) (*netif.Socket, error) {
	l, err := netif.Listen(addr, zones[addr.Addr().Zone()])
	if err == nil {
		return netif.Hold(l)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return nil, err
}

// discard closes sockets that are not used after all.
func (b *bindings) discard(opened []netip.AddrPort) {
	for _, addr := range opened {
		b.smtp[addr].Close()
		delete(b.smtp, addr)
	}
}

// prune closes what the configuration does not listen on any more.
func (b *bindings) prune() {
	for addr, l := range b.smtp {
		if !slices.ContainsFunc(b.now.listeners, func(w boundListener) bool { return w.Addr == addr }) {
			l.Close()
			delete(b.smtp, addr)
		}
	}
}

// sockets gives copies of the sockets that a role serves.
func (b *bindings) sockets(role Role) []*os.File {
	switch role {
	case Control:
		if f, err := b.control.File(); err == nil {
			return []*os.File{f}
		}
	case Dispatcher:
		return b.copies(b.now.listeners)
	}
	return nil
}

// copies gives a copy of the socket of each listener, fewer when descriptors run out: the
// dispatcher counts them.
func (b *bindings) copies(listeners []boundListener) []*os.File {
	var files []*os.File
	for _, w := range listeners {
		if f, err := b.smtp[w.Addr].File(); err == nil {
			files = append(files, f)
		}
	}
	return files
}

func (b *bindings) close() {
	if b.control != nil {
		b.control.Close()
	}
	for _, l := range b.smtp {
		l.Close()
	}
}
