package bdb

// Pages of B-trees of version 1: own number, those of the pages before and after, flags, each
// 32 bits; lower and upper end of the free space, 16 bits; offsets of the items, 16 bits.
const (
	btree1Header   = 20
	btree1Internal = 1
	btree1Leaf     = 2
	btree1Overflow = 4
	btree1Types    = 0x1f
	btree1BigValue = 1
	btree1BigKey   = 2
	btree1Root     = 1 // page
	recordNumbers  = 0x10
)

// readBtree1 goes down to the first leaf and then from leaf to leaf.
func readBtree1(f *file, each func(key, value []byte) error) error {
	h, err := f.header(24)
	if err != nil {
		return err
	}
	if v := f.u32(h, 4); v != 3 {
		return unknown("B-tree of version %d", v)
	}
	if f.u32(h, 20)&recordNumbers != 0 {
		return unknown("numbered records")
	}
	if err := f.setPages(f.u32(h, 8)); err != nil {
		return err
	}
	if f.pages <= btree1Root {
		return nil
	}
	for n := uint32(btree1Root); ; {
		p, err := f.page(n)
		if err != nil {
			return err
		}
		switch f.u32(p, 12) & btree1Types {
		case btree1Internal:
			item, err := f.btree1Item(p, 0)
			if err != nil {
				return err
			}
			n = f.u32(item, 4)
			continue
		case btree1Leaf:
			if err := f.btree1Leaf(p, each); err != nil {
				return err
			}
		default:
			return damaged("page %d is of type %d", n, f.u32(p, 12))
		}
		if n = f.u32(p, 8); n == 0 {
			return nil
		}
	}
}

// btree1Item gives what a page holds from the beginning of an item on: at least its two
// numbers and flags.
func (f *file) btree1Item(p []byte, i int) ([]byte, error) {
	at := btree1Header + 2*i
	if at+2 > len(p) {
		return nil, damaged("item %d of a page", i)
	}
	off := f.u16(p, at)
	if off < btree1Header || off+9 > len(p) {
		return nil, damaged("item %d of a page at %d", i, off)
	}
	return p[off:], nil
}

func (f *file) btree1Leaf(p []byte, each func(key, value []byte) error) error {
	for i := range (f.u16(p, 16) - btree1Header) / 2 {
		item, err := f.btree1Item(p, i)
		if err != nil {
			return err
		}
		ksize, vsize, flags := int64(f.u32(item, 0)), int64(f.u32(item, 4)), item[8]
		if 9+ksize+vsize > int64(len(item)) {
			return damaged("an item of %d and %d octets", ksize, vsize)
		}
		key, value := item[9:9+ksize], item[9+ksize:9+ksize+vsize]
		if flags&btree1BigKey != 0 {
			key, err = f.btree1Big(key)
		}
		if err == nil && flags&btree1BigValue != 0 {
			value, err = f.btree1Big(value)
		}
		if err == nil {
			err = each(key, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// btree1Big collects an item that lies in pages of its own.
func (f *file) btree1Big(ref []byte) ([]byte, error) {
	if len(ref) < 8 {
		return nil, damaged("a reference of %d octets", len(ref))
	}
	n, size := f.u32(ref, 0), f.u32(ref, 4)
	if size > MaxItem {
		return nil, damaged("an item of %d octets", size)
	}
	data := make([]byte, 0, min(int64(size), f.size))
	for len(data) < int(size) {
		p, err := f.page(n)
		if err != nil {
			return nil, err
		}
		if f.u32(p, 12)&btree1Types != btree1Overflow {
			return nil, damaged("page %d is not an overflow page", n)
		}
		data = append(data, p[btree1Header:][:min(len(p)-btree1Header, int(size)-len(data))]...)
		n = f.u32(p, 8)
	}
	return data, nil
}
