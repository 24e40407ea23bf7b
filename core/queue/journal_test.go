package queue

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

const testNonce = 0x0123456789abcdef

func testSegment(data []byte) *segment {
	return &segment{number: 7, nonce: testNonce, f: &memFile{d: newMemDisk(), n: &node{data: data}},
		touched: make(map[envelope.MessageID]touch)}
}

// testRecords writes records, the last two in one go.
func testRecords(n int) (data []byte, ends []int) {
	seg := testSegment(nil)
	batch := 0
	for i := range n {
		r := newRecord(0)
		id := envelope.MessageID(i + 1)
		body := bytes.Repeat([]byte{byte('a' + i)}, 700*i)
		r.message(id, int64(len(body)), true, false)
		r.envelope(opAdd, envelope.NewID(id, 1), fmt.Appendf(nil, "text %d\n", i))
		r.envelope(opUpdate, envelope.NewID(id, 1), []byte("new text\n"))
		r.remove(envelope.NewID(id, 2))
		r.finish(body)
		if i < n-1 {
			batch = len(data)
		}
		r.header(seg, int64(batch))
		data = append(data, r.buf...)
		ends = append(ends, len(data))
	}
	return data, ends
}

// scanned gives the messages that a scan finds.
func scanned(t testing.TB, data []byte) (found []int, seg *segment) {
	t.Helper()
	seg = testSegment(data)
	err := seg.scan(func(at int64, r *record) error {
		found = append(found, int(r.ops[0].id.Message()))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found, seg
}

func TestTornTail(t *testing.T) {
	data, ends := testRecords(4)
	for n := range len(data) + 1 {
		want := 0
		for want < len(ends) && ends[want] <= n {
			want++
		}
		for name, torn := range map[string][]byte{
			"cut": data[:n], "zeros": append(bytes.Clone(data[:n]), make([]byte, len(data)-n)...),
		} {
			found, seg := scanned(t, torn)
			if len(found) != want || seg.damaged {
				t.Fatalf("%s at %d of %d: %d records, damaged %t; want %d", name, n, len(data), len(found), seg.damaged, want)
			}
			if left := bytes.TrimRight(torn[seg.size:], "\x00"); seg.torn != int64(len(left)) { // zeros are room for more
				t.Fatalf("%s at %d: %d octets are good and %d torn of %d", name, n, seg.size, seg.torn, len(torn))
			}
		}
	}
}

func TestDamage(t *testing.T) {
	data, ends := testRecords(5)
	starts := append([]int{0}, ends...)
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 0x20
		which := 0
		for ends[which] <= i {
			which++
		}
		found, seg := scanned(t, bad)
		// the last two were written together: nothing tells that they had been synced
		damaged, want := which < 3, 4
		if !damaged {
			want = which
		}
		if len(found) != want || seg.damaged != damaged {
			t.Fatalf("octet %d of record %d (from %d): found %v, damaged %t", i, which, starts[which], found, seg.damaged)
		}
		for _, id := range found {
			if id == which+1 {
				t.Fatalf("octet %d: a bad record was taken", i)
			}
		}
	}
}

// TestForgedRecord damages a message whose text looks like a record.
func TestForgedRecord(t *testing.T) {
	seg := testSegment(nil)
	forged := newRecord(0)
	forged.message(666, 0, true, false)
	forged.envelope(opAdd, envelope.NewID(666, 1), []byte("mda-exec: evil\n"))
	forged.finish(nil)
	liar := *seg
	liar.nonce++
	forged.header(&liar, 500)
	var data []byte
	for id := range envelope.MessageID(3) {
		r := newRecord(0)
		r.message(id+1, int64(len(forged.buf)), true, false)
		r.finish(forged.buf)
		r.header(seg, int64(len(data)))
		data = append(data, r.buf...)
	}
	data[0] = '!'
	found, got := scanned(t, data)
	if fmt.Sprint(found) != "[2 3]" || !got.damaged {
		t.Errorf("found %v, damaged %t", found, got.damaged)
	}
}

func TestSegmentName(t *testing.T) {
	seg := testSegment(nil)
	name := "0000000007-0123456789abcdef"
	if got, ok := parseSegmentName(name); !ok || got.number != 7 || got.nonce != testNonce || seg.name() != "journal/"+name {
		t.Errorf("%+v, %t; %s", got, ok, seg.name())
	}
	for _, bad := range []string{"", "0000000000-0123456789abcdef", "4294967296-0123456789abcdef", "0000000007-0123456789ABCDEF",
		"0000000007+0123456789abcdef", "000000000x-0123456789abcdef", "0000000007-0123456789abcdef.tmp", "0000000007--123456789abcdef"} {
		if _, ok := parseSegmentName(bad); ok {
			t.Errorf("%q is taken for a segment", bad)
		}
	}
}

// TestDamagedStore damages a segment with mail in it: what is whole is kept, and so is the segment.
func TestDamagedStore(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	var all []*Message
	for range 4 {
		all = append(all, commit(t, s, []byte("body\n"), 1))
	}
	after := d.crashed(func() bool { return false })
	for _, n := range after.top.names[journalDir].names {
		n.data[10] ^= 1
	}
	s = openMem(t, after)
	if got := loads(t, s); len(got) != 3 {
		t.Errorf("%d envelopes", len(got))
	}
	for _, m := range all[1:] {
		has(t, s, m, []byte("body\n"))
	}
	closeStore(t, s)
	if names, _ := after.ReadDir(journalDir); len(names) != 0 {
		t.Errorf("journal holds %v", names)
	}
	if names, _ := after.ReadDir(corruptDir); len(names) != 1 {
		t.Errorf("corrupt holds %v", names)
	}
}

// FuzzJournal reads anything as a segment.
func FuzzJournal(f *testing.F) {
	data, _ := testRecords(3)
	f.Add(data)
	f.Add(data[:len(data)-5])
	f.Add(append([]byte("rubbish\n"), data...))
	f.Fuzz(func(t *testing.T, data []byte) {
		seg := testSegment(data)
		end := int64(0)
		err := seg.scan(func(at int64, r *record) error {
			if at < end {
				t.Fatalf("record at %d begins before %d", at, end)
			}
			end = at + int64(len(r.buf)+r.body)
			raw := data[at:end]
			crc := crc32.Update(crc32.Checksum(raw[headerLen:], castagnoli), castagnoli, raw[:headerLen-9])
			if string(raw[headerLen-9:headerLen]) != fmt.Sprintf("%08x\n", crc) {
				t.Fatalf("record at %d has a wrong checksum", at)
			}
			for _, o := range r.ops {
				if int(o.off)+int(o.n) > len(r.buf) || o.id.Message() == 0 {
					t.Fatalf("operation leads out of the record: %+v", o)
				}
			}
			return nil
		})
		if err != nil || seg.size != end {
			t.Fatalf("size %d, last record ends at %d, %v", seg.size, end, err)
		}
	})
}

// FuzzOperations reads anything as the operations of a record whose checksum is good.
func FuzzOperations(f *testing.F) {
	r := newRecord(0)
	r.message(1, 9, false, false)
	r.envelope(opAdd, 1<<32+1, []byte("a: b\n"))
	r.remove(1<<32 + 2)
	f.Add(string(r.buf[headerLen:]))
	f.Add("add 0000000100000001 99999999999\n")
	f.Add("message 00000001 -1 inline\n")
	f.Fuzz(func(t *testing.T, text string) {
		ops, err := parseOps([]byte(text), 9)
		if err != nil {
			return
		}
		again := newRecord(0)
		for _, o := range ops {
			switch o.kind {
			case opMessage:
				again.message(o.id.Message(), o.size, o.inline, o.coded)
			case opRemove:
				again.remove(o.id)
			default:
				at := int(o.off) - headerLen
				again.envelope(o.kind, o.id, []byte(text[at:at+int(o.n)]))
			}
		}
		list, err := parseOps(again.buf[headerLen:], 9)
		if err != nil || len(list) != len(ops) {
			t.Fatalf("%d operations became %d: %v", len(ops), len(list), err)
		}
	})
}

// TestUnknownOperation reads a whole record of another version: the others are taken, and the
// segment is kept.
func TestUnknownOperation(t *testing.T) {
	for which := range 3 {
		var data []byte
		for i := range 3 {
			r := newRecord(0)
			r.message(envelope.MessageID(i+1), 4, true, false)
			if i == which {
				r.buf = append(r.buf, "freeze 0000000100000001\n"...)
			}
			r.finish([]byte("text"))
			r.header(testSegment(nil), int64(len(data)))
			data = append(data, r.buf...)
		}
		found, seg := scanned(t, data)
		if len(found) != 2 || !seg.damaged || seg.torn != 0 {
			t.Errorf("record %d: found %v, damaged %t, torn %d", which, found, seg.damaged, seg.torn)
		}
	}
}

// TestUnreadSegment reads from a disk that gives the beginning only: with no record the scan fails, otherwise the
// rest is damage.
func TestUnreadSegment(t *testing.T) {
	data, ends := testRecords(2)
	for len(data) < 3*windowSize {
		data = append(data, 0)
	}
	for good, want := range map[int64]int64{0: -1, 1: -1, windowSize: 2 * windowSize, 3*windowSize - badBlock: badBlock} {
		seg := testSegment(data)
		seg.f = &failing{seg.f, good, 1 << 40}
		found := 0
		err := seg.scan(func(int64, *record) error { found++; return nil })
		switch {
		case want < 0 && !errors.Is(err, errFault):
			t.Errorf("%d octets are read: %v, %d records up to %d", good, err, found, ends[1])
		case want >= 0 && (err != nil || found != 2 || !seg.damaged || seg.unread != want):
			t.Errorf("%d octets are read: %v, %d records, damaged %t, %d unread", good, err, found, seg.damaged, seg.unread)
		}
	}
	data = append(data, make([]byte, maxBad*badBlock)...)
	seg := testSegment(data)
	seg.f = &failing{seg.f, windowSize, 1 << 40}
	if err := seg.scan(func(int64, *record) error { return nil }); !errors.Is(err, errFault) {
		t.Errorf("a disk that gives nothing: %v", err)
	}
}

// TestBadSector has one block of a segment that cannot be read: what lies before and behind it is found, and the
// segment is kept.
func TestBadSector(t *testing.T) {
	data, ends := testRecords(40)
	for _, block := range []int64{0, 1, 20, (int64(len(data)) - 1) / badBlock} {
		seg := testSegment(data)
		seg.f = &failing{seg.f, block * badBlock, (block + 1) * badBlock}
		var want, got []int64
		begin := int64(0)
		for _, end := range ends {
			if int64(end) <= block*badBlock || begin >= (block+1)*badBlock {
				want = append(want, begin)
			}
			begin = int64(end)
		}
		err := seg.scan(func(at int64, _ *record) error { got = append(got, at); return nil })
		if err != nil || !slices.Equal(got, want) || !seg.damaged || seg.torn > 0 && block < 20 || seg.unread != badBlock {
			t.Errorf("block %d: %v, %d records of %d, damaged %t, %d torn, %d unread", block, err, len(got), len(want), seg.damaged, seg.torn, seg.unread)
		}
	}
}

// failing is a file of which a part cannot be read.
type failing struct {
	file
	bad, good int64 // from the one up to the other
}

func (f *failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.bad && off < f.good {
		return 0, errFault
	}
	return f.file.ReadAt(b, off)
}

// TestUnreadStore refuses to start from a segment that cannot be read, and loses nothing.
func TestUnreadStore(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	m := commit(t, s, []byte("body\n"), 1)
	after := d.crashed(func() bool { return false })
	names, err := after.ReadDir(journalDir)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	after.refuse("readat", journalDir+"/"+names[0], errFault)
	if s, err := open(after, Options{}, nil); err == nil {
		s.Close()
		t.Fatal("opened")
	}
	after.refuse("", "", nil)
	s = openMem(t, after)
	loads(t, s)
	has(t, s, m, []byte("body\n"))
}

// TestSegmentLeft cannot make a segment durable and cannot remove it: the next has another number.
func TestSegmentLeft(t *testing.T) {
	d := newMemDisk()
	s := openMem(t, d)
	m := &Message{ID: reserve(t, s), Body: []byte("x"), Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}}
	d.failAt, d.err, d.sticky = d.step+2, errFault, true
	if err := s.Commit(m); !errors.Is(err, errFault) {
		t.Fatalf("Commit: %v", err)
	}
	d.failAt = 0
	if names, _ := d.ReadDir(journalDir); len(names) != 1 {
		t.Fatalf("journal holds %v", names)
	}
	if err := s.Commit(m); err != nil {
		t.Fatal(err)
	}
	s = openMem(t, d.crashed(func() bool { return true }))
	loads(t, s)
	has(t, s, m, []byte("x"))
}
