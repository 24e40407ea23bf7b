package fdpass

import (
	"io"
	"testing"
)

func TestTryWriteDoesNotWait(t *testing.T) {
	a, b := pair(t)
	sent := 0
	for full := false; !full; { // until the socket takes no more
		n, err := TryWrite(a, make([]byte, 100000))
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		full = n == 0
	}
	if got, err := io.ReadFull(b, make([]byte, sent)); err != nil || got != sent {
		t.Fatalf("%d of %d octets came: %v", got, sent, err)
	}
	b.Close()
	for {
		if _, err := TryWrite(a, []byte("x")); err != nil {
			return // nobody is there to read
		}
	}
}
