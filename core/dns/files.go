package dns

import (
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
)

// checkEvery is how often a file is looked at for changes, maxFile its largest size in octets.
const (
	checkEvery = 5 * time.Second
	maxFile    = 1 << 20
	maxServers = 3 // as resolv.conf(5) has it everywhere
)

// watched is a file that is read again when it changed.
type watched struct {
	path    string
	checked time.Time
	mtime   time.Time
	size    int64
	known   bool
}

// changed gives the content when it is not what it was, and whether it can be read.
func (w *watched) changed() (text string, changed bool, err error) {
	now := time.Now()
	if w.path == "" || w.known && now.Sub(w.checked) < checkEvery {
		return "", false, nil
	}
	w.checked = now
	st, err := os.Stat(w.path)
	if err != nil {
		w.known = true
		return "", false, err
	}
	if w.known && st.ModTime().Equal(w.mtime) && st.Size() == w.size {
		return "", false, nil
	}
	f, err := os.Open(w.path)
	if err != nil {
		w.known = true
		return "", false, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return "", false, err
	}
	w.known, w.mtime, w.size = true, st.ModTime(), st.Size()
	return string(b), true, nil
}

// resolvConf is what resolv.conf(5) says and we heed.
type resolvConf struct {
	servers   []netip.AddrPort
	timeout   time.Duration
	attempts  int
	rotate    bool
	useTCP    bool
	ipv6First bool
}

type confFile struct {
	mu      sync.Mutex
	file    watched
	options Options
	current *resolvConf
	warned  bool
}

func newConfFile(o Options) *confFile {
	c := &confFile{file: watched{path: o.ResolvConf}, options: o}
	c.current = c.override(parseResolvConf(""))
	return c
}

// load gives the current settings; they are not changed afterwards.
func (c *confFile) load(log *trace.Logger) *resolvConf {
	c.mu.Lock()
	defer c.mu.Unlock()
	text, changed, err := c.file.changed()
	if err != nil && !c.warned {
		log.Warnf("dns: %v, asking %s", err, c.current.servers[0])
	}
	c.warned = err != nil
	if changed {
		c.current = c.override(parseResolvConf(text))
	}
	return c.current
}

func (c *confFile) override(conf *resolvConf) *resolvConf {
	if len(c.options.Servers) > 0 {
		conf.servers = c.options.Servers
	}
	if c.options.Timeout > 0 {
		conf.timeout = c.options.Timeout
	}
	if c.options.Attempts > 0 {
		conf.attempts = c.options.Attempts
	}
	return conf
}

// parseResolvConf ignores what it does not know, as every resolver does.
func parseResolvConf(text string) *resolvConf {
	c := &resolvConf{timeout: 5 * time.Second, attempts: 2}
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if s, ok := parseServer(f[1]); ok && len(c.servers) < maxServers {
				c.servers = append(c.servers, s)
			}
		case "family":
			c.ipv6First = f[1] == "inet6"
		case "options":
			for _, o := range f[1:] {
				c.option(o)
			}
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	return c
}

func (c *resolvConf) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	switch {
	case name == "rotate":
		c.rotate = true
	case name == "use-vc" || name == "tcp":
		c.useTCP = true
	case err != nil:
	case name == "timeout":
		c.timeout = time.Duration(min(max(n, 1), 30)) * time.Second
	case name == "attempts":
		c.attempts = min(max(n, 1), 5)
	}
}

// parseServer reads an address, or [address]:port as OpenBSD has it.
func parseServer(s string) (netip.AddrPort, bool) {
	if ip, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(ip, 53), true
	}
	if strings.HasPrefix(s, "[") {
		host, port, ok := strings.Cut(s[1:], "]:")
		ip, err := netip.ParseAddr(host)
		n, err2 := strconv.ParseUint(port, 10, 16)
		if ok && err == nil && err2 == nil {
			return netip.AddrPortFrom(ip, uint16(n)), true
		}
	}
	return netip.AddrPort{}, false
}

// hostsFile is hosts(5).
type hostsFile struct {
	mu     sync.Mutex
	file   watched
	byName map[string][]netip.Addr
	byAddr map[netip.Addr]string
}

func newHostsFile(path string) *hostsFile { return &hostsFile{file: watched{path: path}} }

func (h *hostsFile) addrs(name string) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.byName[name]
}

func (h *hostsFile) name(addr netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.byAddr[addr]
}

// refresh keeps the old entries when the file is gone: a host without one is in order.
func (h *hostsFile) refresh() {
	if text, changed, err := h.file.changed(); err == nil && changed {
		h.byName, h.byAddr = parseHosts(text)
	}
}

func parseHosts(text string) (map[string][]netip.Addr, map[netip.Addr]string) {
	byName, byAddr := make(map[string][]netip.Addr), make(map[netip.Addr]string)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		ip = ip.Unmap().WithZone("")
		for _, name := range f[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			if len(byName[name]) < maxAddrs {
				byName[name] = append(byName[name], ip)
			}
		}
		if _, ok := byAddr[ip]; !ok {
			byAddr[ip] = strings.ToLower(strings.TrimSuffix(f[1], "."))
		}
	}
	return byName, byAddr
}
