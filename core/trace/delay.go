package trace

import (
	"strconv"
	"time"
)

// Delay writes d in whole seconds as delays stand in the log: 1d2h3m4s, without the parts
// that are zero; 0s when nothing is left.
func Delay(d time.Duration) string {
	var b []byte
	for _, unit := range [...]struct {
		length time.Duration
		letter byte
	}{{24 * time.Hour, 'd'}, {time.Hour, 'h'}, {time.Minute, 'm'}, {time.Second, 's'}} {
		if n := d / unit.length; n > 0 {
			b = append(strconv.AppendInt(b, int64(n), 10), unit.letter)
			d -= n * unit.length
		}
	}
	if len(b) == 0 {
		return "0s"
	}
	return string(b)
}
