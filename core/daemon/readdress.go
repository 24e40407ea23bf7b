package daemon

import (
	"net/netip"
	"os"

	"github.com/godwit-mta/godwit/core/ipc"
)

// addressed is a role that is told when the host's addresses change. On an error nothing
// has changed.
type addressed interface {
	readdress(r *ipc.Request, sockets []*os.File) error
}

// readdress listens on what came and no longer on what went. Sessions go on.
func (d *dispatcherRole) readdress(r *ipc.Request, sockets []*os.File) error {
	defer closeFiles(sockets)
	var msg addresses
	if err := r.Decode(&msg); err != nil {
		return err
	}
	s := d.cfg.Load()
	added, err := s.listen(msg.Added, sockets)
	if err != nil {
		return err
	}
	kept := make([]*listener, 0, len(s.listeners)+len(added))
	gone := make(map[netip.AddrPort]bool, len(msg.Gone))
	for _, addr := range msg.Gone {
		gone[addr] = true
	}
	for _, l := range s.listeners {
		if gone[l.Addr] {
			l.socket.Close()
		} else {
			kept = append(kept, l)
		}
	}
	s.listeners = append(kept, added...)
	d.listen(s, added)
	d.relay.setLocal(msg.Interfaces)
	return s.decider.setAddresses(msg.Interfaces)
}

// readdress changes the built-in tables of every configuration that is still in use.
func (l *lookupRole) readdress(r *ipc.Request, sockets []*os.File) error {
	closeFiles(sockets)
	var msg addresses
	if err := r.Decode(&msg); err != nil {
		return err
	}
	for _, s := range l.cfg.all() {
		if err := s.tables.SetAddresses(msg.Interfaces); err != nil {
			return err
		}
	}
	return nil
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
