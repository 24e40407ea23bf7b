package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/compat/netif"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/platform"
)

// fakeHost has the interfaces that a test gives it.
type fakeHost struct {
	mu      sync.Mutex
	addrs   []netif.Address
	names   map[string][]netip.Addr
	asked   map[string]int
	changes chan struct{}
}

func newFakeHost(addrs ...string) *fakeHost {
	h := &fakeHost{names: make(map[string][]netip.Addr), asked: make(map[string]int), changes: make(chan struct{}, 1)}
	h.set(addrs...)
	<-h.changes
	return h
}

// set gives the host addresses, each "interface=address", and tells.
func (h *fakeHost) set(addrs ...string) {
	h.mu.Lock()
	h.addrs = nil
	for _, text := range addrs {
		name, addr, _ := strings.Cut(text, "=")
		a := netip.MustParseAddr(addr)
		h.addrs = append(h.addrs, netif.Address{Interface: name, Addr: a, Bits: a.BitLen(), Loopback: a.IsLoopback()})
	}
	h.mu.Unlock()
	h.changes <- struct{}{}
}

// name gives a host name addresses, or takes them away, and tells nobody.
func (h *fakeHost) name(name string, addrs ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.names[name] = nil
	for _, a := range addrs {
		h.names[name] = append(h.names[name], netip.MustParseAddr(a))
	}
}

func (h *fakeHost) network() *network {
	return &network{
		all: func() ([]netif.Address, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return slices.Clone(h.addrs), nil
		},
		find: func(all []netif.Address, name string) ([]netif.Address, error) {
			list := slices.DeleteFunc(slices.Clone(all), func(a netif.Address) bool { return name != "all" && a.Interface != name })
			if len(list) == 0 && name != "empty0" && name != "all" {
				return nil, netif.ErrNotFound
			}
			return list, nil
		},
		host: func(_ context.Context, name string) ([]netip.Addr, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.asked[name]++
			if addrs := h.names[name]; len(addrs) > 0 {
				return slices.Clone(addrs), nil
			}
			return nil, errors.New("no such host")
		},
		watch: func(context.Context) (<-chan struct{}, error) { return h.changes, nil },
	}
}

// needsLoopback skips a test where the system has no second loopback address.
func needsLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this system has no address 127.0.0.2: %v", err)
	}
	l.Close()
}

func TestChanged(t *testing.T) {
	bound := func(line int, addr string) boundListener {
		return boundListener{config.Listener{Pos: config.Pos{Line: line}}, netip.MustParseAddrPort(addr)}
	}
	a, b, c := bound(1, "192.0.2.1:25"), bound(1, "192.0.2.2:25"), bound(2, "192.0.2.3:25")
	moved := bound(2, "192.0.2.1:25")
	for _, test := range []struct {
		before, now, added []boundListener
		gone               []netip.AddrPort
	}{
		{nil, nil, nil, nil},
		{nil, []boundListener{a, b}, []boundListener{a, b}, nil},
		{[]boundListener{a, b}, []boundListener{b, a}, nil, nil},
		{[]boundListener{a, b}, []boundListener{b, c}, []boundListener{c}, []netip.AddrPort{a.Addr}},
		{[]boundListener{a, b}, []boundListener{moved, b}, []boundListener{moved}, []netip.AddrPort{a.Addr}},
		{[]boundListener{a, b}, nil, nil, []netip.AddrPort{a.Addr, b.Addr}},
	} {
		added, gone := changed(test.before, test.now)
		if fmt.Sprint(added) != fmt.Sprint(test.added) || !slices.Equal(gone, test.gone) {
			t.Errorf("%v to %v: added %v, gone %v", test.before, test.now, added, gone)
		}
	}
}

func TestAddrsText(t *testing.T) {
	addrs := slices.Repeat([]netip.AddrPort{netip.MustParseAddrPort("[::1]:25")}, 10)
	for n, want := range map[int]string{1: "[::1]:25", 2: "[::1]:25 [::1]:25",
		10: strings.Repeat("[::1]:25 ", 8) + "and 2 more"} {
		if got := addrsText(addrs[:n]); got != want {
			t.Errorf("%d: got %q", n, got)
		}
	}
}

// mail begins a message and gives the error of RCPT.
func mail(t *testing.T, c *gosmtp.Client) error {
	t.Helper()
	if err := c.Mail("ann@example.org", nil); err != nil {
		t.Fatal(err)
	}
	return c.Rcpt("joe@example.org", nil)
}

// finish sends the text of a message that mail began.
func finish(t *testing.T, c *gosmtp.Client) {
	t.Helper()
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("Subject: x\r\n\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestAddresses: addresses come and go; sessions go on; <localhost> follows.
func TestAddresses(t *testing.T) {
	needsLoopback(t)
	host := newFakeHost("test0=127.0.0.1")
	l := startOn(t, host.network(), `
listen on test0 port PORT
listen on later0 port PORT tag later
action "local" maildir "DIR/%{user.username}/Maildir" userbase <people>
match from local for any action "local"
`)
	_, port, _ := net.SplitHostPort(l.addr)
	l.log.wait(t, 0, `listen on later0: no such interface, group or host name; waiting for it`)
	session, err := gosmtp.Dial(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := mail(t, session); err != nil {
		t.Fatal(err)
	}

	from := l.log.len()
	host.set("test0=127.0.0.1", "test0=127.0.0.2", "later0=127.0.0.3")
	l.log.wait(t, from, "now listening on 127.0.0.2:"+port+" 127.0.0.3:"+port)
	finish(t, session)
	for _, addr := range []string{"127.0.0.2", "127.0.0.3"} {
		c, err := gosmtp.Dial(net.JoinHostPort(addr, port))
		if err != nil {
			t.Fatal(err)
		}
		if err := mail(t, c); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		c.Close()
	}

	// The client's own address goes: a session that began before goes on, but is not local.
	from = l.log.len()
	host.set("test0=127.0.0.2")
	l.log.wait(t, from, "no longer on 127.0.0.1:"+port+" 127.0.0.3:"+port)
	if c, err := net.Dial("tcp", l.addr); err == nil {
		c.Close()
		t.Error("still listens on an address that has gone")
	}
	var refused *gosmtp.SMTPError
	if err := mail(t, session); !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("an address that has gone is local: %v", err)
	}
	if err := session.Reset(); err != nil {
		t.Fatal(err)
	}
	// Nothing is sent when nothing changes: the next change is the next line.
	from = l.log.len()
	host.set("test0=127.0.0.2")
	host.set("test0=127.0.0.1", "test0=127.0.0.2")
	l.log.wait(t, from, "now listening on 127.0.0.1:"+port)
	if err := mail(t, session); err != nil {
		t.Errorf("an address that came back is not local: %v", err)
	}
	finish(t, session)
}

// TestAddressesReload: a reload sees addresses that came since, and a listener that goes to
// another line keeps its socket.
func TestAddressesReload(t *testing.T) {
	needsLoopback(t)
	host := newFakeHost("test0=127.0.0.1")
	conf := `
listen on LATER port PORT hostname later.example.org
listen on test0 port PORT hostname test.example.org
action "local" maildir "DIR/%{user.username}/Maildir" userbase <people>
match for any action "local"
`
	l := startOn(t, host.network(), strings.ReplaceAll(conf, "LATER", "later0"))
	_, port, _ := net.SplitHostPort(l.addr)
	from := l.log.len()
	host.set("test0=127.0.0.2", "later0=127.0.0.1")
	l.log.wait(t, from, "now listening on 127.0.0.1:"+port+" 127.0.0.2:"+port+", no longer on 127.0.0.1:")
	if got := greeting(t, "127.0.0.1:"+port); !strings.Contains(got, "later.example.org") {
		t.Errorf("an address that is on another interface now: %q", got)
	}
	l.write(strings.NewReplacer("LATER", "all", "PORT", port).Replace(conf))
	from = l.log.len()
	l.reload <- struct{}{}
	l.log.wait(t, from, "configuration reloaded")
	for _, addr := range []string{"127.0.0.1", "127.0.0.2"} {
		if got := greeting(t, addr+":"+port); !strings.Contains(got, "later.example.org") {
			t.Errorf("%s: %q", addr, got)
		}
	}
	l.log.wait(t, from, "listen on test0: lines above have all its addresses with port "+port+" already")
}

// greeting gives the first line of a server.
func greeting(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 200)
	n, _ := c.Read(b)
	return string(b[:n])
}

// excludes reports whether the system cannot have sockets for all addresses and for one of them
// beside each other.
func excludes(t *testing.T) bool {
	t.Helper()
	all, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer all.Close()
	one, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", all.Addr().(*net.TCPAddr).Port))
	if err == nil {
		one.Close()
	}
	return err != nil
}

// TestWildcardReload: a reload goes from all addresses to one of them and back, and one that
// fails leaves everything open.
func TestWildcardReload(t *testing.T) {
	conf := `
listen on WHERE port PORT hostname where.WHERE
action "local" maildir "DIR/%{user.username}/Maildir" userbase <people>
match for any action "local"
`
	l := start(t, strings.ReplaceAll(conf, "WHERE", "0.0.0.0"))
	_, port, _ := net.SplitHostPort(l.addr)
	session, err := gosmtp.Dial(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if err := mail(t, session); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ where, more, line, name string }{
		{"127.0.0.1", "", "configuration reloaded", "where.127.0.0.1"},
		{"0.0.0.0", "", "configuration reloaded", "where.0.0.0.0"},
		{"127.0.0.1", "table x file:DIR/nosuchfile\nmatch from src <x> for any reject\n", "not reloaded", "where.0.0.0.0"},
		{"127.0.0.1", "", "configuration reloaded", "where.127.0.0.1"},
	} {
		from := l.log.len()
		l.write(strings.NewReplacer("WHERE", step.where, "PORT", port).Replace(conf) + step.more)
		l.reload <- struct{}{}
		l.log.wait(t, from, step.line)
		if step.line == "not reloaded" && excludes(t) {
			l.log.wait(t, from, "now listening on 0.0.0.0:"+port)
		}
		if got := greeting(t, l.addr); !strings.Contains(got, " "+step.name+" ") {
			t.Errorf("%+v: %q", step, got)
		}
	}
	finish(t, session)
}

// TestHostLater: a host name that has no address, and an address that the host lacks, are
// waited for.
func TestHostLater(t *testing.T) {
	host := newFakeHost("test0=127.0.0.1")
	l := startOn(t, host.network(), `
listen on later.example.org port PORT
listen on 198.51.100.99 port PORT
action "local" maildir "DIR/%{user.username}/Maildir" userbase <people>
match for any action "local"
`)
	l.log.wait(t, 0, "listen on later.example.org: no such interface, group or host name; waiting")
	l.log.wait(t, 0, "listen on 198.51.100.99: 198.51.100.99: this host does not have the address; waiting")
	from := l.log.len()
	host.name("later.example.org", "127.0.0.1")
	l.log.wait(t, from, "now listening on "+l.addr)
	l.mustSend("ann@example.org", []string{"joe@example.org"}, "Subject: x\r\n\r\nx\r\n")
	// The other address of a name, that this host does not have, is not worth a line.
	from = l.log.len()
	host.name("later.example.org", "127.0.0.1", "198.51.100.98")
	l.reload <- struct{}{}
	l.log.wait(t, from, "configuration reloaded")
	if l.log.has("198.51.100.98") {
		t.Error("the log speaks of an address of which nobody asked")
	}
}

// TestListenErrors: what cannot come right by waiting keeps the daemon from starting.
func TestListenErrors(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	_, port, _ := net.SplitHostPort(used.Addr().String())
	free := fmt.Sprint(freePort(t))
	for _, test := range []struct{ conf, want string }{
		{"listen on 0.0.0.0 port " + free + "\nlisten on 127.0.0.1 port " + free,
			"; 0.0.0.0:" + free + ` is used by smtpd itself, "all" can stand beside other addresses`},
		{"listen on 127.0.0.1 port " + port, ":2: listen on 127.0.0.1: 127.0.0.1:" + port + ": bind: address already in use"},
		{"listen on test0 port " + port, ":2: listen on test0: 127.0.0.1:" + port + ": bind: address already in use"},
	} {
		if strings.Contains(test.conf, free) && !excludes(t) {
			continue
		}
		l := &lab{t: t, dir: t.TempDir(), log: &watch{more: make(chan struct{})}}
		l.conf = filepath.Join(l.dir, "smtpd.conf")
		l.write(test.conf + "\naction a relay\nmatch for any action a\n")
		opts := Options{ConfigFile: l.conf, Spool: filepath.Join(l.dir, "spool"), Socket: filepath.Join(l.dir, "sock"),
			Facts: platform.Current(), Log: trace.New(l.log), InProcess: true, Spawn: Goroutines(""),
			network: newFakeHost("test0=127.0.0.1").network()}
		if err := Run(context.Background(), opts); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %s", test.conf, err, test.want)
		}
	}
}
