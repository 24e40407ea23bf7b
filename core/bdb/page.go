package bdb

// Pages of the versions from 2 on: log number, 8 octets; own number and those of the pages
// before and after, 32 bits; number of items and where they begin, 16 bits; level and type,
// 8 bits; offsets of the items, 16 bits.
const (
	pageNext   = 16
	pageItems  = 20
	pageFree   = 22
	pageType   = 25
	pageHeader = 26
)

// Types of pages.
const (
	typeOldHash  = 2
	typeInternal = 3
	typeLeaf     = 5
	typeOverflow = 7
	typeHash     = 13
)

// Places in the first page.
const (
	metaVersion  = 16
	metaPageSize = 20
	metaEncrypt  = 24
	metaFlags    = 26
	metaRoot     = 88
	metaSize     = 92
	hasChecksum  = 1
)

// pages are those of a file of a version from 2 on.
type pages struct {
	*file
	header int // octets before the offsets
}

// openPages reads the first page.
func openPages(f *file, oldest, newest uint32) (*pages, []byte, error) {
	h, err := f.header(metaSize)
	if err != nil {
		return nil, nil, err
	}
	if v := f.u32(h, metaVersion); v < oldest || v > newest {
		return nil, nil, unknown("version %d", v)
	}
	if h[metaEncrypt] != 0 {
		return nil, nil, unknown("encrypted")
	}
	p := &pages{file: f, header: pageHeader}
	if h[metaFlags]&hasChecksum != 0 {
		p.header += 6
	}
	return p, h, f.setPages(f.u32(h, metaPageSize))
}

// items gives the offsets of the items of a page.
func (f *pages) items(p []byte) ([]int, error) {
	n := f.u16(p, pageItems)
	if f.header+2*n > len(p) {
		return nil, damaged("%d items in a page", n)
	}
	list := make([]int, n)
	for i := range list {
		list[i] = f.u16(p, f.header+2*i)
		if list[i] < f.header+2*n || list[i] >= len(p) {
			return nil, damaged("an item at %d", list[i])
		}
	}
	return list, nil
}

// overflow collects an item that lies in pages of its own.
func (f *pages) overflow(n, size uint32) ([]byte, error) {
	if size > MaxItem {
		return nil, damaged("an item of %d octets", size)
	}
	data := make([]byte, 0, min(int64(size), f.size))
	for len(data) < int(size) {
		p, err := f.page(n)
		if err != nil {
			return nil, err
		}
		have := f.u16(p, pageFree) // in these pages, their octets
		if p[pageType] != typeOverflow || have == 0 || have > len(p)-f.header || len(data)+have > int(size) {
			return nil, damaged("page %d is not a page of a long item", n)
		}
		data = append(data, p[f.header:f.header+have]...)
		n = f.u32(p, pageNext)
	}
	return data, nil
}
