package bdb

// Types of items of hash tables.
const (
	hashItem      = 1
	hashDuplicate = 2
	hashOffPage   = 3
	hashOffDup    = 4
)

// readHash reads all pages that hold items, in the order of the file. Pages that are not
// in use say so.
func readHash(file *file, each func(key, value []byte) error) error {
	f, _, err := openPages(file, 7, 10)
	if err != nil {
		return err
	}
	for n := uint32(1); n < f.pages; n++ {
		p, err := f.page(n)
		if err != nil {
			return err
		}
		if p[pageType] == typeHash || p[pageType] == typeOldHash {
			if err := f.hashPage(p, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// hashPage reads keys and values by turns, which lie one below the other from the end of
// the page on.
func (f *pages) hashPage(p []byte, each func(key, value []byte) error) error {
	list, err := f.items(p)
	if err != nil {
		return err
	}
	if len(list)%2 != 0 {
		return damaged("a key without a value")
	}
	var pair [2][]byte
	end := len(p)
	for i, off := range list {
		if off >= end {
			return damaged("an item at %d", off)
		}
		if pair[i%2], err = f.hashItem(p[off:end]); err != nil {
			return err
		}
		end = off
		if i%2 == 1 {
			if err := each(pair[0], pair[1]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *pages) hashItem(item []byte) ([]byte, error) {
	switch item[0] {
	case hashItem:
		return item[1:], nil
	case hashDuplicate: // length, octets, length, for each
		if len(item) < 3 || 3+f.u16(item, 1) > len(item) {
			return nil, damaged("a list of values")
		}
		return item[3 : 3+f.u16(item, 1)], nil
	case hashOffPage:
		if len(item) < 12 {
			return nil, damaged("a reference of %d octets", len(item))
		}
		return f.overflow(f.u32(item, 4), f.u32(item, 8))
	case hashOffDup:
		return nil, unknown("many values of one key")
	}
	return nil, unknown("an item of type %d", item[0])
}
