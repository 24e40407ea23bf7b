package filter

import (
	"strconv"
	"time"
)

// Protocol is the version that is spoken.
const Protocol = "0.7"

// appendHead begins a line: the stream, the version, the time, the subsystem, the event or
// the phase, the session, and of requests the token.
func appendHead(b []byte, kind string, now time.Time, s Subsystem, word string, session, token uint64) []byte {
	b = append(append(append(append(b, kind...), '|'), Protocol...), '|')
	b = strconv.AppendInt(b, now.Unix(), 10)
	micro := now.Nanosecond() / 1000
	b = append(b, '.')
	for div := 100000; div > 0; div /= 10 {
		b = append(b, byte('0'+micro/div%10))
	}
	b = append(append(append(append(append(b, '|'), s.String()...), '|'), word...), '|')
	b = appendHex(b, session)
	if token != 0 {
		b = appendHex(append(b, '|'), token)
	}
	return b
}

func appendHex(b []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return b
}

// appendFields ends a line. No field but the last has a bar, and none a control character that could
// end the line: two lines would come out of one.
func appendFields(b []byte, fields []string) []byte {
	for i, f := range fields {
		b = append(b, '|')
		for j := 0; j < len(f); j++ {
			ch := f[j]
			if ch == '\n' || ch == '\r' || ch == 0 || ch == '|' && i < len(fields)-1 {
				ch = '?'
			}
			b = append(b, ch)
		}
	}
	return append(b, '\n')
}
