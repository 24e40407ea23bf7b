package bdb

// Types of items of B-trees. The upper bit says that an item was deleted.
const (
	btreeItem      = 1
	btreeDuplicate = 2
	btreeOverflow  = 3
	btreeDeleted   = 0x80
)

// Flags of B-trees in the first page.
const (
	metaTreeFlags = 48
	treeRecno     = 0x08 // records have numbers instead of keys
)

// readBtree goes down to the first leaf and then from leaf to leaf.
func readBtree(file *file, each func(key, value []byte) error) error {
	f, h, err := openPages(file, 9, 10)
	if err != nil {
		return err
	}
	if f.u32(h, metaTreeFlags)&treeRecno != 0 {
		return unknown("numbered records")
	}
	for n := f.u32(h, metaRoot); ; {
		p, err := f.page(n)
		if err != nil {
			return err
		}
		list, err := f.items(p)
		if err != nil {
			return err
		}
		switch {
		case p[pageType] == typeInternal && len(list) > 0:
			if list[0]+12 > len(p) {
				return damaged("an item at %d", list[0])
			}
			n = f.u32(p, list[0]+4)
			continue
		case p[pageType] == typeLeaf:
			if err := f.btreeLeaf(p, list, each); err != nil {
				return err
			}
		default:
			return damaged("page %d is of type %d", n, p[pageType])
		}
		if n = f.u32(p, pageNext); n == 0 {
			return nil
		}
	}
}

// btreeLeaf reads keys and values by turns. Values of one key share the key.
func (f *pages) btreeLeaf(p []byte, list []int, each func(key, value []byte) error) error {
	if len(list)%2 != 0 {
		return damaged("a key without a value")
	}
	for i := 0; i < len(list); i += 2 {
		key, _, err := f.btreeItem(p[list[i]:])
		if err != nil {
			return err
		}
		value, deleted, err := f.btreeItem(p[list[i+1]:])
		if err != nil {
			return err
		}
		if deleted {
			continue
		}
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (f *pages) btreeItem(item []byte) (data []byte, deleted bool, err error) {
	if len(item) < 3 {
		return nil, false, damaged("an item of %d octets", len(item))
	}
	deleted = item[2]&btreeDeleted != 0
	switch item[2] &^ btreeDeleted {
	case btreeItem:
		size := f.u16(item, 0)
		if 3+size > len(item) {
			return nil, false, damaged("an item of %d octets", size)
		}
		return item[3 : 3+size], deleted, nil
	case btreeOverflow:
		if len(item) < 12 {
			return nil, false, damaged("a reference of %d octets", len(item))
		}
		data, err = f.overflow(f.u32(item, 4), f.u32(item, 8))
		return data, deleted, err
	case btreeDuplicate:
		return nil, false, unknown("many values of one key")
	}
	return nil, false, unknown("an item of type %d", item[2])
}
