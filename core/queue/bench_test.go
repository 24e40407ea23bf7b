package queue

import (
	"bytes"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// BenchmarkCommit commits messages of 4 KiB that are removed before they are written out.
func BenchmarkCommit(b *testing.B) {
	body := bytes.Repeat([]byte("0123456789abcde\n"), 256)
	for _, clients := range []int{1, 10, 100} {
		b.Run(fmt.Sprint("c", clients), func(b *testing.B) {
			s, err := OpenFS(b.TempDir(), Options{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			done := make(chan error, clients)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			for range clients {
				go func() {
					var err error
					for err == nil && left.Add(-1) >= 0 {
						err = commitOne(s, body)
					}
					done <- err
				}()
			}
			for range clients {
				if err := <-done; err != nil {
					b.Error(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			b.StopTimer()
			s.Halt()
		})
	}
}

func commitOne(s Store, body []byte) error {
	ids, err := s.Reserve(1)
	if err != nil {
		return err
	}
	return s.Commit(&Message{ID: ids[0], Body: body, Envelopes: []*envelope.Envelope{testEnvelope(0, 1)}})
}

// BenchmarkLoad opens and loads 100 000 envelopes, and tells what one costs in memory.
func BenchmarkLoad(b *testing.B) {
	const messages = 100000
	for _, kind := range []string{"journal", "files"} {
		b.Run(kind, func(b *testing.B) {
			dir := b.TempDir()
			s := fill(b, dir, messages, kind == "files")
			defer s.Halt()
			for b.Loop() {
				before := heap()
				d, err := openDisk(dir)
				if err != nil {
					b.Fatal(err)
				}
				// not open: nothing is to be written out here
				s := &FS{disk: d, now: s.now, index: newIndex()}
				if err := s.SetEncoding(Encoding{}); err != nil {
					b.Fatal(err)
				}
				if _, err := s.recover(); err != nil {
					b.Fatal(err)
				}
				n := 0
				if err := s.Load(func(*envelope.Envelope) error { n++; return nil }); err != nil || n != messages {
					b.Fatal(n, err)
				}
				b.StopTimer()
				b.ReportMetric(float64(heap()-before)/messages, "B/envelope")
				s.closeSegments()
				d.Close()
				b.StartTimer()
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func fill(b *testing.B, dir string, messages int, out bool) *FS {
	s, err := OpenFS(dir, Options{SegmentSize: 1 << 30}, nil)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan error, 100)
	for range cap(done) {
		go func() {
			var err error
			for range messages / cap(done) {
				if err == nil {
					err = commitOne(s, []byte("text\n"))
				}
			}
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	if out {
		if err := s.flush(); err != nil {
			b.Fatal(err)
		}
	}
	return s
}
