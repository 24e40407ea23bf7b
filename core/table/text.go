package table

import (
	"fmt"
	"hash/maphash"
	"strings"

	"github.com/godwit-mta/godwit/core/config"
)

// textStore holds entries: a text as it was read, where in it the entries lie, and an
// open hash table of them. A million lines cost 24 octets each besides their text.
type textStore struct {
	source string
	text   string
	inline bool // the text has no lines: it was made from smtpd.conf or a database
	items  []item
	slots  []uint32 // index in items + 1, or 0; their number is a power of two
	seed   maphash.Seed
}

// item says where an entry lies in the text. In a list the value is empty.
type item struct {
	key, value, end uint32
	keyLen          uint16
}

// index fills the slots. Of equal keys the last one counts; twice, when it is not nil, is
// told of each later one and of the one before it.
func (m *textStore) index(twice func(ref, before uint32)) {
	size := 2
	for size < 2*len(m.items) {
		size *= 2
	}
	m.slots = make([]uint32, size)
	m.seed = maphash.MakeSeed()
	var buf [MaxKey]byte
	for i := range m.items {
		slot, ref := m.slot(appendLower(buf[:0], m.key(uint32(i))))
		if ref != 0 && twice != nil {
			twice(uint32(i), ref-1)
		}
		m.slots[slot] = uint32(i) + 1
	}
}

// slot gives the slot of a key and what is in it.
func (m *textStore) slot(key []byte) (slot int, ref uint32) {
	mask := uint64(len(m.slots) - 1)
	for h := maphash.Bytes(m.seed, key) & mask; ; h = (h + 1) & mask {
		ref := m.slots[h]
		if ref == 0 || equalLower(m.key(ref-1), key) {
			return int(h), ref
		}
	}
}

// equalLower compares s in lower case with key.
func equalLower(s string, key []byte) bool {
	if len(s) != len(key) {
		return false
	}
	for i := range key {
		if lowerByte(s[i]) != key[i] {
			return false
		}
	}
	return true
}

func (m *textStore) key(i uint32) string {
	e := &m.items[i]
	return m.text[e.key : e.key+uint32(e.keyLen)]
}

func (m *textStore) find(key []byte) (uint32, bool, error) {
	_, ref := m.slot(key)
	return ref - 1, ref != 0, nil
}

func (m *textStore) at(ref uint32) (key, value string, err error) {
	e := &m.items[ref]
	value = m.text[e.value:e.end]
	if !m.inline {
		value = joinLines(value)
	}
	return m.key(ref), value, nil
}

func (m *textStore) next(place uint32) (ref, after uint32, found bool, err error) {
	return place, place + 1, place < uint32(len(m.items)), nil
}

func (m *textStore) where(ref uint32) string {
	if m.inline {
		return m.source
	}
	return fmt.Sprintf("%s:%d", m.source, 1+strings.Count(m.text[:m.items[ref].key], "\n"))
}

// add appends an entry to the text of a table that has no lines.
func (m *textStore) add(text *strings.Builder, key, value string) {
	at := uint32(text.Len())
	text.WriteString(key)
	text.WriteString(value)
	m.items = append(m.items, item{key: at, keyLen: uint16(len(key)), value: at + uint32(len(key)), end: uint32(text.Len())})
}

// inlineEntries keeps the entries of a table that was written in smtpd.conf. No key is
// longer than MaxKey.
func inlineEntries(source string, entries []config.Entry) *textStore {
	m := &textStore{source: source, inline: true, items: make([]item, 0, len(entries))}
	var text strings.Builder
	for _, e := range entries {
		m.add(&text, e.Key, e.Value)
	}
	m.text = text.String()
	m.index(nil)
	return m
}
