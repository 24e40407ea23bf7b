package scheduler

import "github.com/godwit-mta/godwit/core/envelope"

// entry is what is kept of an envelope: 40 octets. Links and positions share two fields,
// because an entry is in one place only.
type entry struct {
	id      envelope.ID
	due     int64  // pending, ready: when it is to be tried; inflight: since when; nanoseconds
	expires int64  // nanoseconds; due never exceeds it
	group   uint32 // number of the group
	next    uint32 // pending: position in the heap; ready: next in line; free: next free slot
	prev    uint32 // ready: previous in line
	state   State
	flags   flags
	reason  Reason
}

type flags uint8

const (
	suspended flags = 1 << iota
	doomed          // removed while in flight
	unreached       // the last attempt did not get as far as the destination
)

// none is no slot.
const none = ^uint32(0)

// slabSize is the number of entries that are allocated together.
const slabSize = 1024

// arena holds the entries in slabs, so that growing copies nothing.
type arena struct {
	slabs []*[slabSize]entry
	free  uint32 // first of the free slots
}

func (a *arena) at(slot uint32) *entry { return &a.slabs[slot/slabSize][slot%slabSize] }

func (a *arena) alloc() uint32 {
	if a.free == none {
		first := uint32(len(a.slabs) * slabSize)
		a.slabs = append(a.slabs, new([slabSize]entry))
		for i := uint32(slabSize); i > 0; i-- {
			a.release(first + i - 1)
		}
	}
	slot := a.free
	a.free = a.at(slot).next
	return slot
}

func (a *arena) release(slot uint32) {
	*a.at(slot) = entry{next: a.free}
	a.free = slot
}

// less orders the heap by time. Equal times are ordered by id, so that the recipients of
// a message that are due together also come together.
func (s *Scheduler) less(a, b uint32) bool {
	x, y := s.at(a), s.at(b)
	return x.due < y.due || x.due == y.due && x.id < y.id
}

func (s *Scheduler) place(i int, slot uint32) {
	s.heap[i] = slot
	s.at(slot).next = uint32(i)
}

func (s *Scheduler) push(slot uint32) {
	s.heap = append(s.heap, slot)
	s.up(len(s.heap)-1, slot)
}

func (s *Scheduler) up(i int, slot uint32) {
	for i > 0 {
		parent := (i - 1) / 2
		if !s.less(slot, s.heap[parent]) {
			break
		}
		s.place(i, s.heap[parent])
		i = parent
	}
	s.place(i, slot)
}

func (s *Scheduler) down(i int, slot uint32) {
	for {
		child := 2*i + 1
		if child >= len(s.heap) {
			break
		}
		if child+1 < len(s.heap) && s.less(s.heap[child+1], s.heap[child]) {
			child++
		}
		if !s.less(s.heap[child], slot) {
			break
		}
		s.place(i, s.heap[child])
		i = child
	}
	s.place(i, slot)
}

// unheap takes the entry at position i out of the heap.
func (s *Scheduler) unheap(i int) {
	last := len(s.heap) - 1
	moved := s.heap[last]
	s.heap = s.heap[:last]
	if i == last {
		return
	}
	if i > 0 && s.less(moved, s.heap[(i-1)/2]) {
		s.up(i, moved)
	} else {
		s.down(i, moved)
	}
}
