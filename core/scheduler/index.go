package scheduler

import (
	"slices"

	"github.com/godwit-mta/godwit/core/envelope"
)

// chunkSize is the number of ids in a full chunk of the index, chunkStep by how many a chunk grows: with half as
// many as there could be, room for all of them would cost more than the ids.
const (
	chunkSize = 512
	chunkStep = 64
)

// index finds the slot of an id and walks the ids in order. It is a sorted list of sorted
// chunks: 12 octets for an id, and an insertion moves one chunk's ids at most.
type index struct {
	chunks []*chunk      // none is empty
	lasts  []envelope.ID // the last id of each, together, so that a search touches few pages
	len    int
}

// chunk has an id and its slot at the same position of two lists.
type chunk struct {
	ids   []envelope.ID
	slots []uint32
}

func newChunk(n int) *chunk {
	return &chunk{ids: make([]envelope.ID, 0, n), slots: make([]uint32, 0, n)}
}

// grown gives a list with room for one more.
func grown[T any](list []T) []T {
	if len(list) < cap(list) {
		return list
	}
	return append(make([]T, 0, len(list)+chunkStep), list...)
}

func (c *chunk) last() envelope.ID { return c.ids[len(c.ids)-1] }

// find gives the chunk in which id is or belongs, the position in it, and whether it is there.
func (x *index) find(id envelope.ID) (i, j int, found bool) {
	i, _ = slices.BinarySearch(x.lasts, id)
	if i == len(x.chunks) {
		return i, 0, false
	}
	j, found = slices.BinarySearch(x.chunks[i].ids, id)
	return i, j, found
}

func (x *index) get(id envelope.ID) (uint32, bool) {
	i, j, found := x.find(id)
	if !found {
		return 0, false
	}
	return x.chunks[i].slots[j], true
}

// around gives the ids around a position that find gave for one that is not there,
// 0 when there is none.
func (x *index) around(i, j int) (before, after envelope.ID) {
	if i < len(x.chunks) {
		after = x.chunks[i].ids[j]
	}
	switch {
	case j > 0:
		before = x.chunks[i].ids[j-1]
	case i > 0:
		before = x.lasts[i-1]
	}
	return before, after
}

// insert adds an id that is not there yet at the position that find gave for it.
func (x *index) insert(i, j int, id envelope.ID, slot uint32) {
	switch {
	case i == len(x.chunks) && (i == 0 || len(x.chunks[i-1].ids) == chunkSize):
		// Ids that come in order fill their chunks instead of leaving halves behind.
		x.chunks = append(x.chunks, newChunk(chunkStep))
		x.lasts = append(x.lasts, id)
	case i == len(x.chunks):
		i--
		j = len(x.chunks[i].ids)
	case len(x.chunks[i].ids) == chunkSize:
		x.split(i)
		if half := len(x.chunks[i].ids); j > half {
			i, j = i+1, j-half
		}
	}
	c := x.chunks[i]
	c.ids = slices.Insert(grown(c.ids), j, id)
	c.slots = slices.Insert(grown(c.slots), j, slot)
	x.lasts[i] = c.last()
	x.len++
}

func (x *index) split(i int) {
	const half = chunkSize / 2
	full := x.chunks[i]
	left, right := newChunk(half+chunkStep), newChunk(half+chunkStep)
	left.ids, left.slots = append(left.ids, full.ids[:half]...), append(left.slots, full.slots[:half]...)
	right.ids, right.slots = append(right.ids, full.ids[half:]...), append(right.slots, full.slots[half:]...)
	x.chunks[i] = left
	x.chunks = slices.Insert(x.chunks, i+1, right)
	x.lasts = slices.Insert(x.lasts, i, left.last())
}

// remove takes an id out, and joins chunks that have become small.
func (x *index) remove(id envelope.ID) {
	i, j, found := x.find(id)
	if !found {
		return
	}
	c := x.chunks[i]
	c.ids = slices.Delete(c.ids, j, j+1)
	c.slots = slices.Delete(c.slots, j, j+1)
	x.len--
	if i+1 < len(x.chunks) && len(c.ids)+len(x.chunks[i+1].ids) <= chunkSize/2 {
		next := x.chunks[i+1]
		c.ids = append(c.ids, next.ids...)
		c.slots = append(c.slots, next.slots...)
		x.chunks = slices.Delete(x.chunks, i+1, i+2)
		x.lasts = slices.Delete(x.lasts, i+1, i+2)
	}
	if len(c.ids) == 0 {
		x.chunks = slices.Delete(x.chunks, i, i+1)
		x.lasts = slices.Delete(x.lasts, i, i+1)
		return
	}
	x.lasts[i] = c.last()
}

// ascend calls f for the ids from first to last, in order, until f gives false. The index
// must not change meanwhile.
func (x *index) ascend(first, last envelope.ID, f func(id envelope.ID, slot uint32) bool) {
	i, j, _ := x.find(first)
	for ; i < len(x.chunks); i, j = i+1, 0 {
		c := x.chunks[i]
		for ; j < len(c.ids); j++ {
			if c.ids[j] > last || !f(c.ids[j], c.slots[j]) {
				return
			}
		}
	}
}
