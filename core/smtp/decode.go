package smtp

import "bytes"

// decoder turns the octets after DATA into the message: line ends become LF, the dots
// that the client stuffed are taken out (RFC 5321 section 4.5.2). Only CRLF.CRLF ends it.
// Bare CR and LF come out as line ends and are noted; whether that is allowed is not
// decided here. The outcome does not depend on how the octets are cut into pieces.
type decoder struct {
	state  state
	lines  int64 // line ends that came out
	bareCR bool
	bareLF bool
	nul    bool
	done   bool // the end was seen
	opaque bool // dots mean nothing: the size was told (RFC 3030)
}

type state uint8

const (
	lineStart state = iota // after CRLF: a dot may be the end
	inLine
	afterCR   // which is not put out yet
	bareStart // after a bare CR or LF: a dot is not the end
	dot       // at the start of a line; not put out yet
	bareDot
	dotCR // not put out yet
	bareDotCR
)

// decode reads src and writes to dst, which may be the same memory when dst begins at least
// slack octets before src. It gives the octets written and the octets used: less than
// len(src) only at the end of the message.
func (d *decoder) decode(dst, src []byte) (n, used int) {
	nul := bytes.IndexByte(src, 0) // now, because dst grows over src
	r, lf := 0, -1
	for r < len(src) && !d.done {
		if d.state != inLine && !d.edge(src[r]) {
			m, took := d.step(dst[n:], src[r])
			n, r = n+m, r+took
			continue
		}
		if lf < r {
			if lf = bytes.IndexByte(src[r:], '\n'); lf < 0 {
				lf = len(src)
			} else {
				lf += r
			}
		}
		n, r = d.run(dst, n, src, r, lf)
	}
	if nul >= 0 && nul < r {
		d.nul = true
	}
	return n, r
}

// edge reports whether c begins a run of ordinary octets in the present state.
func (d *decoder) edge(c byte) bool {
	return (d.state == lineStart || d.state == bareStart) && (c != '.' || d.opaque)
}

// finish ends a message of which the size was told. It gives the octets written: a last
// line without an end gets one.
func (d *decoder) finish(dst []byte) int {
	d.done = true
	switch d.state {
	case inLine:
	case afterCR:
		d.bareCR = true
	default:
		return 0
	}
	dst[0] = '\n'
	return 1
}

// run copies octets up to the line end at lf, or up to a CR before it.
func (d *decoder) run(dst []byte, n int, src []byte, r, lf int) (int, int) {
	cr := bytes.IndexByte(src[r:lf], '\r')
	switch {
	case cr < 0 && lf == len(src):
		n += copy(dst[n:], src[r:])
		d.state = inLine
		return n, lf
	case cr < 0:
		n += copy(dst[n:], src[r:lf])
		d.bareLF = true
		return d.endLine(dst, n, bareStart), lf + 1
	case r+cr+1 == lf && lf < len(src):
		n += copy(dst[n:], src[r:lf-1])
		return d.endLine(dst, n, lineStart), lf + 1
	}
	n += copy(dst[n:], src[r:r+cr])
	d.state = afterCR
	return n, r + cr + 1
}

func (d *decoder) endLine(dst []byte, n int, next state) int {
	dst[n] = '\n'
	d.lines++
	d.state = next
	return n + 1
}

// step looks at one octet at the edge of a line. It gives the octets written and whether
// the octet was used (1) or is to be looked at again in the new state (0).
func (d *decoder) step(dst []byte, c byte) (n, took int) {
	switch d.state {
	case lineStart:
		d.state = dot
		return 0, 1
	case bareStart:
		d.state = bareDot
		return 0, 1
	case dot, bareDot:
		return d.stepDot(dst, c)
	case afterCR:
		if c == '\n' {
			return d.endLine(dst, 0, lineStart), 1
		}
		d.bareCR = true
		return d.endLine(dst, 0, bareStart), 0
	case dotCR:
		if c == '\n' {
			d.done = true
			return 0, 1
		}
	case bareDotCR:
		if c == '\n' {
			dst[0] = '.'
			return d.endLine(dst, 1, lineStart), 1
		}
	}
	d.bareCR = true
	dst[0] = '.'
	return d.endLine(dst, 1, bareStart), 0
}

// stepDot looks at the octet after a dot that began a line: the dot stays only when the
// line has nothing else.
func (d *decoder) stepDot(dst []byte, c byte) (n, took int) {
	switch c {
	case '\r':
		if d.state == dot {
			d.state = dotCR
		} else {
			d.state = bareDotCR
		}
		return 0, 1
	case '\n':
		d.bareLF = true
		dst[0] = '.'
		return d.endLine(dst, 1, bareStart), 1
	}
	d.state = inLine
	return 0, 0
}
