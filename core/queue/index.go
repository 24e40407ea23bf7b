package queue

import (
	"slices"

	"github.com/godwit-mta/godwit/core/envelope"
)

// entry is what is known of a message of which a segment speaks. Those of which none does are
// not here: they cost nothing, and their files say all.
type entry struct {
	evps     []place
	pending  []change // unlisted: what the journal says, in its order
	seg      uint32   // segment that holds the text, inFile: none
	off      uint32   // of the text in the segment
	size     uint32   // of the text in the segment
	dir      bool     // queue/XX/MSGID may exist
	incoming bool     // incoming/MSGID may exist
	coded    bool     // the text is encoded
	unlisted bool     // its files are to be listed before anything but dir is known
	unloaded bool     // Load has still to give it, if it has not done so before
}

// place is where the text of an envelope lies.
type place struct {
	n         uint32 // lower half of the envelope's id
	seg       uint32 // inFile: in queue/XX/MSGID/EVPID
	off, size uint32
}

// change is an operation on an envelope.
type change struct {
	kind opKind
	place
}

// files gives about what a message takes in files when its text is in a segment: itself, a block for its
// directory and one for an envelope.
func (e *entry) files() int64 {
	if e == nil || e.seg == inFile {
		return 0
	}
	return int64(e.size) + 3*fsBlock
}

// spilled notes that the text of a message need not be written out any more.
func (x *index) spilled(e *entry) { x.toFiles -= e.files() }

// inFile is no segment's number.
const inFile = 0

func (e *entry) find(id envelope.ID) int {
	return slices.IndexFunc(e.evps, func(p place) bool { return p.n == uint32(id) })
}

// last gives the last operation on an envelope that waits for the files to be listed, or zero.
func (e *entry) last(n uint32) opKind {
	for i := len(e.pending) - 1; i >= 0; i-- {
		if e.pending[i].n == n {
			return e.pending[i].kind
		}
	}
	return 0
}

// index is the state that the journal and the files add up to.
type index struct {
	messages map[envelope.MessageID]*entry
	segs     map[uint32]*segment // all that are not written out yet
	doomed   []envelope.ID       // whose files can go; a whole message with the lower half zero
	toFiles  int64               // about what the texts take that lie in segments, once they are files
	recovery bool                // being built from the journal: any message may have files

	// Messages of which Load must not simply give what it read, because segments that went spoke of
	// them; nil: Load has ended. True: Load has to read the files anew. False: it has nothing to do.
	settled map[envelope.MessageID]bool
}

func newIndex() index {
	return index{messages: make(map[envelope.MessageID]*entry), segs: make(map[uint32]*segment),
		settled: make(map[envelope.MessageID]bool)}
}

// apply carries out an operation of the record at an offset of a segment; false: it
// concerns what does not exist.
func (x *index) apply(seg *segment, at int64, r *record, o op) bool {
	msg := o.id.Message()
	if o.kind == opMessage {
		seg.touch(msg, 0)
		e := &entry{dir: x.recovery, incoming: !o.inline, coded: o.coded}
		if o.inline {
			e.seg, e.off, e.size = seg.number, uint32(at)+uint32(r.bodyAt), uint32(o.size)
		}
		x.spilled(x.messages[msg])
		x.messages[msg] = e
		x.toFiles += e.files()
		return true
	}
	e := x.mention(msg)
	if e == nil {
		return false // it went
	}
	c := change{o.kind, place{uint32(o.id), seg.number, uint32(at) + o.off, o.n}}
	if e.unlisted {
		return x.postpone(seg, e, msg, c)
	}
	seg.touch(msg, 0)
	i := e.find(o.id)
	if o.kind == opRemove && i >= 0 {
		x.remove(seg, e, o.id, i)
		return true
	}
	return e.put(c, i)
}

// mention gives what is known of a message of which a segment is going to speak; nil: it is not there.
// Of one that was in files alone nothing is known yet.
func (x *index) mention(msg envelope.MessageID) *entry {
	if x.filed(msg) {
		x.messages[msg] = &entry{dir: true, unlisted: true, unloaded: !x.recovery && x.toLoad(msg)}
	}
	return x.messages[msg]
}

// mayHave notes that an operation may or may not be in a segment.
func (x *index) mayHave(seg *segment, o op) {
	if o.kind != opMessage {
		x.mention(o.id.Message())
	}
	seg.touch(o.id.Message(), 0)
}

// put carries out what does not remove; i is where the envelope is.
func (e *entry) put(c change, i int) bool {
	switch {
	case i >= 0 && c.kind != opRemove:
		e.evps[i] = c.place
	case c.kind == opAdd:
		e.evps = append(e.evps, c.place)
	default:
		return false
	}
	return true
}

// postpone keeps an operation on a message whose files were not listed yet. Only the disk knows whether it
// concerns something; false: it does not in any case.
func (x *index) postpone(seg *segment, e *entry, msg envelope.MessageID, c change) bool {
	t := touch(0)
	if x.recovery || c.kind == opRemove {
		t = touchTrim
	}
	seg.touch(msg, t)
	gone := e.last(c.n) == opRemove
	e.pending = append(e.pending, c)
	return c.kind == opAdd || !gone
}

// complete carries out what was postponed on what the files of a message hold.
func (x *index) complete(msg envelope.MessageID, e, files *entry) {
	e.evps, e.coded, e.unlisted = files.evps, files.coded, false
	for _, c := range e.pending {
		i := e.find(envelope.NewID(msg, c.n))
		if c.kind != opRemove || i < 0 {
			e.put(c, i)
			continue
		}
		if e.evps = slices.Delete(e.evps, i, i+1); len(e.evps) == 0 {
			break // the message went; what follows concerns nothing
		}
	}
	e.pending = nil
	if len(e.evps) == 0 {
		delete(x.messages, msg)
	}
}

// toLoad reports whether Load may still come to a message that is in files alone.
func (x *index) toLoad(msg envelope.MessageID) bool {
	anew, settled := x.settled[msg]
	return x.settled != nil && (anew || !settled)
}

// retired forgets a segment that was written out, and with it the messages of which no other speaks.
func (x *index) retired(seg *segment) {
	delete(x.segs, seg.number)
	for id := range seg.touched {
		e := x.messages[id]
		if x.settled != nil {
			x.settled[id] = e != nil && e.unloaded
		}
		if e != nil && !x.mentioned(id) {
			delete(x.messages, id)
		}
	}
}

// filed reports whether a message can only be in files: the journal does not speak of it.
func (x *index) filed(id envelope.MessageID) bool { return x.messages[id] == nil && !x.mentioned(id) }

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
	x.spilled(e)
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
