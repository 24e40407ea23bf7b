package queue

import (
	"slices"

	"github.com/godwit-mta/godwit/core/envelope"
)

// entry is what is known of a message. There is one for each that is queued: keep it small.
type entry struct {
	evps     []place
	seg      uint32 // segment that holds the text, inFile: none
	off      uint32 // of the text in the segment
	size     uint32 // of the text in the segment
	dir      bool   // queue/XX/MSGID may exist
	incoming bool   // incoming/MSGID may exist
	coded    bool   // the text is encoded
}

// place is where the text of an envelope lies.
type place struct {
	n         uint32 // lower half of the envelope's id
	seg       uint32 // inFile: in queue/XX/MSGID/EVPID
	off, size uint32
}

// inFile is no segment's number.
const inFile = 0

func (e *entry) find(id envelope.ID) int {
	return slices.IndexFunc(e.evps, func(p place) bool { return p.n == uint32(id) })
}

// index is the state that the journal and the files add up to.
type index struct {
	messages map[envelope.MessageID]*entry
	segs     map[uint32]*segment // all that are not written out yet
	doomed   []envelope.ID       // whose files can go; a whole message with the lower half zero
	recovery bool                // being built from the journal: any message may have files
}

// apply carries out an operation of the record at an offset of a segment; false: it
// concerns what does not exist.
func (x *index) apply(seg *segment, at int64, r *record, o op) bool {
	msg := o.id.Message()
	e := x.messages[msg]
	if o.kind == opMessage {
		seg.touch(msg, 0)
		e = &entry{dir: x.recovery, incoming: !o.inline, coded: o.coded}
		if o.inline {
			e.seg, e.off, e.size = seg.number, uint32(at)+uint32(r.bodyAt), uint32(o.size)
		}
		x.messages[msg] = e
		return true
	}
	if e == nil {
		return false
	}
	seg.touch(msg, 0)
	i := e.find(o.id)
	p := place{uint32(o.id), seg.number, uint32(at) + o.off, o.n}
	switch {
	case o.kind == opRemove && i >= 0:
		x.remove(seg, e, o.id, i)
	case o.kind == opRemove, o.kind == opUpdate && i < 0:
		return false
	case i >= 0:
		e.evps[i] = p
	default:
		e.evps = append(e.evps, p)
	}
	return true
}

// remove takes an envelope out of the index and with the last one the message.
func (x *index) remove(seg *segment, e *entry, id envelope.ID, i int) {
	msg := id.Message()
	e.evps = slices.Delete(e.evps, i, i+1)
	if len(e.evps) > 0 {
		if e.dir {
			seg.touch(msg, touchTrim)
			x.doomed = append(x.doomed, id)
		}
		return
	}
	delete(x.messages, msg)
	if e.dir || e.incoming {
		seg.touch(msg, touchGone)
		x.doomed = append(x.doomed, envelope.NewID(msg, 0))
	}
}

// mentioned reports whether a segment speaks of a message.
func (x *index) mentioned(id envelope.MessageID) bool {
	for _, seg := range x.segs {
		if _, ok := seg.touched[id]; ok {
			return true
		}
	}
	return false
}
