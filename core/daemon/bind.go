package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/godwit-mta/godwit/compat/netif"
	"github.com/godwit-mta/godwit/core/config"
)

// bindings are the sockets that the parent has opened. They stay open while members come
// and go, so that no client finds the door shut.
type bindings struct {
	control *net.UnixListener
	smtp    map[netip.AddrPort]*net.TCPListener
	current []boundListener // what the members are to listen on, in the order of sockets
}

func newBindings() *bindings { return &bindings{smtp: make(map[netip.AddrPort]*net.TCPListener)} }

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

// open opens what the configuration listens on and is not open yet, and gives that.
func (b *bindings) open(cfg *config.Config) ([]netip.AddrPort, error) {
	want, err := b.resolve(cfg)
	if err != nil {
		return nil, err
	}
	var opened []netip.AddrPort
	for _, w := range want {
		if b.smtp[w.Addr] != nil {
			continue
		}
		l, err := listen(w.Addr)
		if err != nil {
			b.discard(opened)
			return nil, fmt.Errorf("%s:%d: listen on %s: %w", w.Pos.File, w.Pos.Line, w.Addr, err)
		}
		b.smtp[w.Addr] = l
		opened = append(opened, w.Addr)
	}
	b.current = want
	return opened, nil
}

func listen(addr netip.AddrPort) (*net.TCPListener, error) {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	l, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return l, err
}

// discard closes what open opened for a configuration that is not used after all.
func (b *bindings) discard(opened []netip.AddrPort) {
	for _, addr := range opened {
		b.smtp[addr].Close()
		delete(b.smtp, addr)
	}
}

// prune closes what the configuration does not listen on any more.
func (b *bindings) prune() {
	for addr, l := range b.smtp {
		if !slices.ContainsFunc(b.current, func(w boundListener) bool { return w.Addr == addr }) {
			l.Close()
			delete(b.smtp, addr)
		}
	}
}

// sockets gives copies of the sockets that a role serves.
func (b *bindings) sockets(role Role) []*os.File {
	var files []*os.File
	switch role {
	case Control:
		if f, err := b.control.File(); err == nil {
			files = append(files, f)
		}
	case Dispatcher:
		for _, w := range b.current {
			if f, err := b.smtp[w.Addr].File(); err == nil {
				files = append(files, f)
			}
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

// resolve turns interfaces and host names into addresses.
func (b *bindings) resolve(cfg *config.Config) ([]boundListener, error) {
	var out []boundListener
	for _, l := range cfg.Listeners {
		addrs, err := interfaceAddrs(l.Interface)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: listen on %s: %w", l.Pos.File, l.Pos.Line, l.Interface, err)
		}
		found := false
		for _, a := range addrs {
			if l.Family == "inet4" && !a.Is4() || l.Family == "inet6" && !a.Is6() {
				continue
			}
			found = true
			addr := netip.AddrPortFrom(a, l.Port)
			if !slices.ContainsFunc(out, func(o boundListener) bool { return o.Addr == addr }) {
				out = append(out, boundListener{l, addr})
			}
		}
		if !found {
			return nil, fmt.Errorf("%s:%d: listen on %s: no address of family %s", l.Pos.File, l.Pos.Line, l.Interface, l.Family)
		}
	}
	return out, nil
}

// interfaceAddrs gives the addresses of what stands after "listen on".
func interfaceAddrs(name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	if on, err := netif.Addresses(name); err == nil && len(on) > 0 {
		addrs := make([]netip.Addr, len(on))
		for i, a := range on {
			addrs[i] = a.Addr
		}
		return addrs, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, errors.New("neither an interface nor a host name with an address")
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}
