package netif

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// backlog is more connections than any system lets wait; each takes its own limit.
const backlog = 1<<15 - 1

// Listen opens a TCP socket for one address, or for all addresses of one family but not of
// the other. With a zone, index is the number of its interface, 0 when there is none of that
// name: package net remembers the numbers of names for a minute, too long where interfaces
// are made anew.
func Listen(addr netip.AddrPort, index int) (*net.TCPListener, error) {
	switch {
	case addr.Addr().Zone() != "":
		if index == 0 {
			index, _ = strconv.Atoi(addr.Addr().Zone())
		}
		if index <= 0 {
			return nil, os.NewSyscallError("bind", unix.EADDRNOTAVAIL)
		}
		return listenZone(addr, uint32(index))
	case addr.Addr().Is6():
		return net.ListenTCP("tcp6", net.TCPAddrFromAddrPort(addr)) // sets IPV6_V6ONLY
	}
	return net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
}

func listenZone(addr netip.AddrPort, index uint32) (*net.TCPListener, error) {
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close() // FileListener makes a copy
	if err := bindZone(fd, addr, index); err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func bindZone(fd int, addr netip.AddrPort, index uint32) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), ZoneId: index, Addr: addr.Addr().As16()}
	if err := unix.Bind(fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	return os.NewSyscallError("listen", unix.Listen(fd, backlog))
}
