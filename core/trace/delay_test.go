package trace

import (
	"testing"
	"time"
)

func TestDelay(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"},
		{-time.Minute, "0s"},
		{999 * time.Millisecond, "0s"},
		{time.Second, "1s"},
		{10*time.Second + 900*time.Millisecond, "10s"},
		{time.Minute, "1m"},
		{time.Hour + 5*time.Second, "1h5s"},
		{26*time.Hour + 3*time.Minute + 4*time.Second, "1d2h3m4s"},
		{400 * 24 * time.Hour, "400d"},
	}
	for _, tt := range tests {
		if got := Delay(tt.d); got != tt.want {
			t.Errorf("Delay(%v) = %q, want %q", tt.d, got, tt.want)
		}
	}
}
