package e2e

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/compat/netif"
)

// ip changes the network of the tests' own namespace.
func ip(t *testing.T, line string) {
	t.Helper()
	command(t, "ip", strings.Fields(line)...)
}

// addInterface makes an interface that is gone after the test. It is one end of a cable:
// not every kernel has the type that leads nowhere.
func addInterface(t *testing.T, name string) {
	t.Helper()
	ip(t, "link add "+name+" type veth peer name "+name+"p")
	ip(t, "link set "+name+"p up")
	t.Cleanup(func() {
		if _, err := net.InterfaceByName(name); err == nil {
			ip(t, "link del "+name)
		}
	})
}

func waitAnswer(t *testing.T, addr string) {
	t.Helper()
	eventually(t, startWait, addr+" answers", func() bool { return answers(addr) })
}

func waitSilence(t *testing.T, addr string) {
	t.Helper()
	eventually(t, startWait, addr+" is closed", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// TestEgress: the group follows the default routes of the main table, of either family.
func TestEgress(t *testing.T) {
	addInterface(t, "test0")
	addInterface(t, "test1")
	for _, line := range []string{
		"addr add 192.0.2.77/24 dev test0", "addr add 198.51.100.77/24 dev test1", "-6 addr add 2001:db8::77/64 dev test1",
		"link set test0 up", "link set test1 up",
	} {
		ip(t, line)
	}
	for _, step := range []struct {
		line string
		want []string // interfaces
	}{
		{"route add 203.0.113.0/24 via 192.0.2.1", nil},
		{"route add default via 192.0.2.1", []string{"test0"}},
		{"-6 route add default via fe80::1 dev test1", []string{"test0", "test1"}},
		{"route del default", []string{"test1"}},
		{"route add default via 192.0.2.1 table 100", []string{"test1"}},
		{"-6 route del default", nil},
		{"-6 route add unreachable default metric 5", nil},
		{"route add default nexthop via 192.0.2.1 nexthop via 198.51.100.1", []string{"test0", "test1"}},
		{"link set test1 down", []string{"test0"}},
	} {
		ip(t, step.line)
		all, err := netif.All()
		if err != nil {
			t.Fatal(err)
		}
		list, err := netif.Find(all, "egress")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range list {
			got = append(got, a.Interface)
		}
		slices.Sort(got)
		if got = slices.Compact(got); !slices.Equal(got, step.want) {
			t.Errorf("after %q: got %q, want %q", step.line, got, step.want)
		}
	}
	command(t, "ip", "-6", "route", "del", "unreachable", "default", "metric", "5")
}

// TestInterfaces: interfaces, addresses and default routes that come later are listened
// on, and those that go no longer; a session does not notice.
func TestInterfaces(t *testing.T) {
	d := start(t, `
listen on lo
listen on test0 port 2501
listen on 192.0.2.77 port 2502
listen on egress port 2503
listen on all port 2504
listen on test0:web port 2505
action "local" maildir
match from any for domain "godwit.test" action "local"
match from local for domain "local.test" action "local"
`)
	d.waitLog("listen on test0: no such interface, group or host name; waiting")
	d.waitLog("listen on 192.0.2.77: 192.0.2.77: this host does not have the address; waiting")
	d.waitLog("listen on egress: no address; waiting")
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", tester)

	addInterface(t, "test0")
	ip(t, "addr add 192.0.2.77/24 dev test0")
	ip(t, "link set test0 up")
	for _, port := range []string{"2501", "2502", "2504"} {
		waitAnswer(t, "192.0.2.77:"+port)
	}
	ip(t, "-6 addr add 2001:db8::77/64 dev test0")
	waitAnswer(t, "[2001:db8::77]:2501")
	waitAnswer(t, linkLocal(t, "test0")+":2504")
	if answers("192.0.2.77:2503") {
		t.Error("egress without a default route")
	}
	ip(t, "route add default via 192.0.2.1")
	waitAnswer(t, "192.0.2.77:2503")
	waitAnswer(t, "[2001:db8::77]:2503")

	own := dial(t, "192.0.2.77:2501")
	own.ask("250", "EHLO client.test")
	own.ask("250", "MAIL FROM:<%s>", tester)
	own.ask("250", "RCPT TO:<alice@local.test>")

	ip(t, "route del default")
	waitSilence(t, "192.0.2.77:2503")
	ip(t, "addr add 192.0.2.78/24 dev test0")
	waitAnswer(t, "192.0.2.78:2501")
	ip(t, "addr add 192.0.2.80/24 dev test0 label test0:web")
	waitAnswer(t, "192.0.2.80:2505")
	if answers("192.0.2.80:2501") || answers("192.0.2.78:2505") {
		t.Error("an address belongs to its label and to nothing else")
	}
	ip(t, "link del test0")
	d.waitLog("no longer on ", "192.0.2.78:2501")
	addInterface(t, "test0")
	ip(t, "addr add 192.0.2.79/24 dev test0")
	ip(t, "link set test0 up")
	waitAnswer(t, "192.0.2.79:2501")
	waitAnswer(t, linkLocal(t, "test0")+":2501")

	c.ask("250", "RCPT TO:<alice@godwit.test>")
	c.ask("354", "DATA")
	c.ask("250", "Subject: interfaces\r\n\r\nNothing happened here.\r\n.")
	newMaildir("alice").wait(t, 1, startWait)
}

// linkLocal gives the link-local address of an interface as Dial wants it.
func linkLocal(t *testing.T, name string) string {
	t.Helper()
	addr := ""
	eventually(t, startWait, name+" has a link-local address", func() bool {
		all, err := netif.All()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range all {
			if i, err := net.InterfaceByName(name); err == nil && a.Interface == name && a.Addr.IsLinkLocalUnicast() {
				// Package net remembers the number of another test's interface of this name.
				addr = "[" + a.Addr.WithZone(strconv.Itoa(i.Index)).String() + "]"
			}
		}
		return addr != ""
	})
	return addr
}

// TestTentative: an IPv6 address is listened on when the kernel has found it to be unique.
func TestTentative(t *testing.T) {
	start(t, `
listen on lo
listen on test0 port 2501
action "local" maildir
match for any action "local"
`)
	addInterface(t, "test0")
	ip(t, "link set test0 up")
	ip(t, "-6 addr add 2001:db8:1::77/64 dev test0")
	waitAnswer(t, "[2001:db8:1::77]:2501")
}

// TestManyAddresses: a thousand addresses that are there, and a thousand that come.
func TestManyAddresses(t *testing.T) {
	const many = 1000
	batch := func(net int) string {
		var b strings.Builder
		for i := range many {
			fmt.Fprintf(&b, "addr add 10.%d.%d.%d/8 dev test0\n", net, i/250, i%250+1)
		}
		return write(t, place(t)+"/batch", b.String())
	}
	addInterface(t, "test0")
	ip(t, "link set test0 up")
	ip(t, "-batch "+batch(1))
	start(t, `
listen on lo
listen on test0 port 2501
action "local" maildir
match for any action "local"
`)
	ip(t, "-batch "+batch(2))
	for _, addr := range []string{"10.1.0.1", "10.1.3.250", "10.2.0.1", "10.2.3.250"} {
		waitAnswer(t, addr+":2501")
	}
}
