package queue

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/godwit-mta/godwit/compat/diskfree"
)

// What a power cut may leave is made here. The model is as cruel as POSIX allows, and no crueller:
//
//   - A file's contents since its last sync come back in pieces, each as it was then, as it is
//     now or as it was between; its length is any that it had. A piece within the length that was not
//     written holds zeros or, for hard fates, what another file left there. Hard fates also tear a piece.
//   - Names that were made, changed or removed since the last sync of their directory are there or
//     not, each for itself. A rename takes place in both directories or in none.
//   - What was synced is there.

// sector is the smallest piece in which a file is written, pieces the most that one is cut into.
const (
	sector = 512
	pieces = 6
)

// fate decides what a power cut leaves: choose(n) gives one of the numbers below n, 0 for what was
// durable and n-1 for what was there last.
type fate struct {
	choose func(n int) int
	hard   bool
}

// durable makes a rename durable of which one half is, and what happened before to the same names.
func (d *memDisk) durable(m *move) {
	i := slices.Index(d.moves, m)
	if m == nil || i < 0 {
		return
	}
	d.moves = slices.Delete(d.moves, i, i+1)
	for _, half := range [...]struct {
		dir  *node
		name string
	}{{m.from, m.oldName}, {m.to, m.newName}} {
		d.settle(half.dir, half.name, m)
	}
}

// settle makes what happened to a name durable, up to a rename.
func (d *memDisk) settle(dir *node, name string, last *move) {
	var left []event
	var earlier []*move
	done := false
	for _, e := range dir.events {
		if done || e.name != name {
			left = append(left, e)
			continue
		}
		if e.n == nil {
			delete(dir.safe, name)
		} else {
			dir.safe[name] = e.n
		}
		if done = e.move == last; !done {
			earlier = append(earlier, e.move)
		}
	}
	if !done {
		return // the directory was synced just now
	}
	dir.events = left
	for _, m := range earlier {
		d.durable(m)
	}
}

// cutter makes a disk as a power cut leaves it.
type cutter struct {
	fate
	kept   map[*move]bool
	copies map[*node]*node
}

// crashed gives what is found after the power cut, when keep decides for everything that was not
// synced whether it is there.
func (d *memDisk) crashed(keep func() bool) *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.after(fate{choose: func(n int) int {
		if keep() {
			return n - 1
		}
		return 0
	}})
}

// after gives the disk that is found after a power cut at this moment.
func (d *memDisk) after(f fate) *memDisk {
	c := cutter{fate: f, copies: make(map[*node]*node)}
	if len(d.moves) > 0 {
		c.kept = make(map[*move]bool, len(d.moves))
		for i, m := range slices.Backward(d.moves) {
			c.kept[m] = c.forced(m, d.moves[i+1:]) || f.choose(2) == 1
		}
	}
	return &memDisk{top: c.survive(d.top), free: plenty, shared: d.shared, enc: d.enc, ahead: d.ahead, cache: d.cache, inodes: d.inodes}
}

var plenty = diskfree.Space{Blocks: 100, Inodes: 100, Free: math.MaxInt64, Size: math.MaxInt64} // never changed

// forced reports whether a rename took place because a later one of the same name did.
func (c *cutter) forced(m *move, later []*move) bool {
	for _, l := range later {
		if !c.kept[l] {
			continue
		}
		for _, a := range [...]event{{m.oldName, m.from, nil}, {m.newName, m.to, nil}} {
			for _, b := range [...]event{{l.oldName, l.from, nil}, {l.newName, l.to, nil}} {
				if a == b {
					return true
				}
			}
		}
	}
	return false
}

func (c *cutter) survive(n *node) *node {
	if done := c.copies[n]; done != nil {
		return done
	}
	after := &node{inode: n.inode, change: n.change}
	c.copies[n] = after
	if n.names == nil {
		after.data = c.contents(n)
		return after
	}
	names := n.names
	if len(n.events) > 0 {
		names = c.names(n)
	}
	after.names = make(map[string]*node, len(names)+1)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		after.names[name] = c.survive(names[name])
	}
	return after
}

// names decides which names are there: for each the events up to some moment took place.
func (c *cutter) names(dir *node) map[string]*node {
	names := maps.Clone(dir.safe)
	seen := make(map[string]bool, len(dir.events))
	for i, first := range dir.events {
		if seen[first.name] {
			continue
		}
		seen[first.name] = true
		var chain []event
		for _, e := range dir.events[i:] {
			if e.name == first.name {
				chain = append(chain, e)
			}
		}
		if n := c.prefix(chain); n > 0 {
			if names[first.name] = chain[n-1].n; chain[n-1].n == nil {
				delete(names, first.name)
			}
		}
	}
	return names
}

// prefix gives how many events of one name took place; the renames among them are decided.
func (c *cutter) prefix(chain []event) int {
	low, high := 0, len(chain)
	for i, e := range chain {
		switch {
		case e.move == nil:
		case c.kept[e.move]:
			low = i + 1
		default:
			high = min(high, i)
		}
	}
	return low + c.pick(high-low+1)
}

func (c *cutter) pick(n int) int {
	if n < 2 {
		return 0
	}
	return c.choose(n)
}

// contents mixes what was synced with what was not.
func (c *cutter) contents(n *node) []byte {
	now := n.contents()
	now = now[:len(now):len(now)] // it is shared
	if len(n.past) == 0 {
		return now
	}
	versions := append(slices.Clone(n.past), now)
	var sizes []int
	most := 0
	for _, v := range versions {
		if len(sizes) == 0 || !slices.Contains(sizes, len(v)) || len(v) == len(now) {
			sizes = append(sizes, len(v))
		}
		most = max(most, len(v))
	}
	size := sizes[c.pick(len(sizes))]
	b := make([]byte, size)
	step := sector * max(1, (most/sector+pieces-1)/pieces)
	for at := 0; at < size; at += step {
		c.piece(b[at:min(at+step, size)], versions, at)
	}
	return b
}

// piece fills b with one of the versions of it.
func (c *cutter) piece(b []byte, versions [][]byte, at int) {
	var choices [][]byte
	for _, v := range versions {
		v = v[min(at, len(v)):min(at+len(b), len(v))]
		if len(choices) == 0 || !bytes.Equal(v, choices[len(choices)-1]) {
			choices = append(choices, v)
		}
	}
	i := c.pick(len(choices))
	if c.hard && len(choices) > 1 {
		for n := range b {
			b[n] = "From: somebody else\n"[n%20]
		}
		if i > 0 && c.choose(4) == 0 { // torn
			copy(b, choices[i-1])
			copy(b, choices[i][:c.choose(len(choices[i])+1)])
			return
		}
	}
	copy(b, choices[i])
}

// odometer counts through all choices.
type odometer struct {
	at, of []int
	i      int
}

func (o *odometer) choose(n int) int {
	if o.i == len(o.at) {
		o.at, o.of = append(o.at, 0), append(o.of, n)
	}
	o.i++
	return o.at[o.i-1]
}

// next goes on; false: all were made.
func (o *odometer) next() bool {
	for o.i = 0; len(o.at) > 0; {
		last := len(o.at) - 1
		if o.at[last]++; o.at[last] < o.of[last] {
			return true
		}
		o.at, o.of = o.at[:last], o.of[:last]
	}
	return false
}

// outcomes calls use with what a power cut now may leave: with everything as long as that is at most
// limit disks, otherwise with so many of it, the extremes and those next to them first.
func (d *memDisk) outcomes(limit int, r *rand.Rand, use func(*memDisk)) (all bool) {
	var choices []int // of the last disk, how many there were
	all = true
	use(d.after(fate{choose: func(n int) int { choices = append(choices, n); return n - 1 }}))
	product := 1
	for _, n := range choices {
		product = min(product*n, limit+1)
	}
	if product == 1 {
		return true
	}
	hard := min(limit/8, 2*len(choices))
	for range hard {
		use(d.after(fate{choose: r.IntN, hard: true}))
	}
	if product <= limit {
		o := &odometer{}
		for more := true; more; more = o.next() {
			use(d.after(fate{choose: o.choose}))
		}
		return true
	}
	d.sampled(limit-hard-1, len(choices), r, use)
	return false
}

// sampled makes n disks: nothing kept, one change not kept, one kept, and at random.
func (d *memDisk) sampled(n, choices int, r *rand.Rand, use func(*memDisk)) {
	use(d.after(fate{choose: func(int) int { return 0 }}))
	for i := range min(n-1, 2*choices) {
		odd, at := i/2, 0
		use(d.after(fate{choose: func(n int) int {
			at++
			if (at-1 == odd) == (i%2 == 0) {
				return n - 1
			}
			return 0
		}}))
	}
	for range n - 1 - 2*choices {
		bias := r.IntN(4)
		use(d.after(fate{choose: func(n int) int {
			switch {
			case bias == 0 && r.IntN(8) > 0:
				return 0
			case bias == 1 && r.IntN(8) > 0:
				return n - 1
			}
			return r.IntN(n)
		}}))
	}
}
