package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
)

// void begins the addresses whose packets get lost.
const void = "198.18."

// fleetSize says how much mail goes where. The usual one is small; with GODWIT_E2E_FULL=1 in
// the environment it is the one of a large site, and times are measured.
type fleetSize struct {
	domains  int // each with one recipient of a message in messages
	bad      int // of them, each with a server of its own
	servers  int // of the others
	messages int // of a domain
}

func sizeOfFleet() fleetSize {
	if os.Getenv("GODWIT_E2E_FULL") != "" {
		return fleetSize{domains: 10000, bad: 200, servers: 500, messages: 5}
	}
	return fleetSize{domains: 400, bad: 48, servers: 40, messages: 3}
}

const fleetConf = `
listen on 127.0.0.1
smtp limit max-mails 10000
action "out" relay
match from any for any action "out"
`

// TestFleet relays to many domains of which some are dead, slow or refuse. The others must not
// have to wait for them.
func TestFleet(t *testing.T) {
	size := sizeOfFleet()
	var healthy time.Duration
	t.Run("healthy", func(t *testing.T) { healthy = runFleet(t, size, false, 0) })
	t.Run("with bad ones", func(t *testing.T) {
		p95 := runFleet(t, size, true, 0)
		t.Logf("95th percentile %v, %v when all are well", p95, healthy)
		if os.Getenv("GODWIT_E2E_FULL") != "" && p95 > 2*healthy {
			t.Errorf("bad servers delay the others: %v instead of %v", p95, healthy)
		}
	})
}

// TestFleetFarAway has servers that answer after 50 ms, once for all commands that came together.
func TestFleetFarAway(t *testing.T) {
	size := sizeOfFleet()
	size.bad = 0
	runFleet(t, size, false, 50*time.Millisecond)
}

// runFleet gives the 95th percentile of the time from the submission to the arrival at servers
// that behave well.
func runFleet(t *testing.T, size fleetSize, withBad bool, delay time.Duration) time.Duration {
	f := newFleet(t)
	f.delay = delay
	if withBad {
		command(t, "ip", "route", "replace", void+"0.0/16", "dev", "lo")
	}
	var zone strings.Builder
	for i := range size.servers {
		addr := fmt.Sprintf("127.1.%d.%d", i/200, i%200+1)
		f.listen(t, addr, behaveWell)
		fmt.Fprintf(&zone, "mx%d.test. A %s\n", i, addr)
	}
	bad := func(d int) bool { return withBad && d%(size.domains/max(1, size.bad)) == 1 }
	for d := range size.domains {
		mx := d % size.servers
		if bad(d) {
			addr := fmt.Sprintf("127.2.%d.%d", d/200, d%200+1)
			behaviour := 1 + (d/(size.domains/size.bad))%(behaviours-1)
			if behaviour == hangConnect {
				addr = strings.Replace(addr, "127.2.", void, 1)
			}
			f.listen(t, addr, behaviour)
			mx = size.servers + d
			fmt.Fprintf(&zone, "mx%d.test. A %s\n", mx, addr)
		}
		fmt.Fprintf(&zone, "d%d.test. MX 10 mx%d.test.\n", d, mx)
	}
	dns, err := testdns.Start("127.0.0.1:53", zone.String())
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	d := start(t, fleetConf)
	began := time.Now()
	wanted := submitFleet(t, size, bad)
	var delays []time.Duration
	for limit := time.After(10 * time.Minute); len(wanted) > 0; {
		select {
		case a := <-f.arrived:
			if wanted[a.rcpt] {
				delete(wanted, a.rcpt)
				delays = append(delays, a.delay)
			}
		case <-limit:
			t.Fatalf("%d recipients at healthy servers wait", len(wanted))
		}
	}
	slices.Sort(delays)
	p95 := delays[len(delays)*95/100]
	f.mu.Lock()
	t.Logf("%d recipients in %v, 95th percentile %v, %d connections, %d at a time, %d to one host; %s", len(delays), time.Since(began).Round(time.Millisecond),
		p95.Round(time.Millisecond), f.total, f.peak, f.most, memory(d))
	if f.most > 10 || f.peak > 100 {
		t.Errorf("limits not kept: %d connections, %d to one host", f.peak, f.most)
	}
	f.mu.Unlock()
	return p95
}

// submitFleet hands the messages in, each to ten domains, and gives the recipients whose
// servers behave well.
func submitFleet(t *testing.T, size fleetSize, bad func(int) bool) map[string]bool {
	const rcpts, sessions = 10, 8
	wanted := make(map[string]bool)
	var jobs [][]string
	for m := range size.messages {
		for first := 0; first < size.domains; first += rcpts {
			var to []string
			for d := first; d < min(first+rcpts, size.domains); d++ {
				a := fmt.Sprintf("u%d@d%d.test", m, d)
				to = append(to, a)
				if !bad(d) {
					wanted[a] = true
				}
			}
			jobs = append(jobs, to)
		}
	}
	var wg sync.WaitGroup
	for s := range sessions {
		c := dial(t, listen)
		c.ask("250", "EHLO client.test")
		wg.Go(func() {
			for i := s; i < len(jobs); i += sessions {
				if reply := c.mail(tester, strings.Join(jobs[i], ","), subjectNow()); !strings.HasPrefix(reply, "250") {
					t.Errorf("message refused: %q", reply)
				}
			}
		})
	}
	wg.Wait()
	return wanted
}

// memory gives the most memory that each process of the daemon had.
func memory(d *daemon) string {
	var parts []string
	for _, p := range running() {
		b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(p.pid), "status"))
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				parts = append(parts, p.role()+" "+strings.Join(strings.Fields(kb), " "))
			}
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
