package torture

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// weight is what all processes take, in a short run all but the agents, which stay for a minute after their last delivery.
type weight struct{ processes, megabytes, descriptors int }

func (w weight) String() string {
	return fmt.Sprintf("%d processes, %d MB, %d descriptors", w.processes, w.megabytes, w.descriptors)
}

func (d *server) weight() (w weight) {
	kb := 0
	for _, p := range d.processes() {
		if testing.Short() && p.role == "agent" {
			continue
		}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
		n, _ := strconv.Atoi(strings.TrimSuffix(field(text, "RssAnon"), " kB")) // what lies in files is shared
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pid))
		kb, w.descriptors, w.processes = kb+n, w.descriptors+len(entries), w.processes+1
	}
	w.megabytes = kb >> 10
	return w
}

// idleWait is how long memory may take to go back: what is not used any more is looked for every 2 minutes when nothing
// is done, and given back to the system in small pieces.
const idleWait = 5 * time.Minute

// idle waits until there are as many processes as before, and descriptors and memory within a tenth (I7). Agents
// and connections that are kept for a while end by themselves. A short run does not wait for the memory of what is not used
// any more.
func (d *server) idle(before weight) (after weight) {
	d.t.Helper()
	memory := 11 * before.megabytes
	if testing.Short() {
		memory = 20 * before.megabytes
	}
	if !within(idleWait, func() bool {
		time.Sleep(100 * time.Millisecond)
		after = d.weight()
		return after.processes == before.processes && 10*after.descriptors <= 11*before.descriptors &&
			10*after.megabytes <= memory
	}) {
		d.t.Errorf("I7: before the faults %s, after them %s", before, after)
	}
	return after
}

// restartLimit is how much processor time all processes together may take from their start to the banner (I7). How long that
// is depends on what else the machine does.
const restartLimit = 2 * time.Second

// tick is the unit of times in /proc.
const tick = 10 * time.Millisecond

// spent gives the processor time of the processes of the daemon that are not in old.
func (d *server) spent(old []proc) (sum time.Duration) {
	known := make(map[int]bool)
	for _, p := range old {
		known[p.pid] = true
	}
	for _, p := range d.processes() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
		_, after, _ := strings.Cut(string(stat), ") ")
		f := strings.Fields(after)
		if err != nil || known[p.pid] || len(f) < 13 {
			continue
		}
		for _, text := range f[11:13] { // of itself, and of the system for it
			n, _ := strconv.Atoi(text)
			sum += time.Duration(n) * tick
		}
	}
	return sum
}
