package table

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/config"
)

const million = 1_000_000

// bigFile writes a virtual table of a million lines.
func bigFile(b *testing.B) string {
	b.Helper()
	var text strings.Builder
	for i := range million {
		fmt.Fprintf(&text, "user%d@example%d.org\tmailbox%d\n", i, i%1000, i)
	}
	path := filepath.Join(b.TempDir(), "virtual")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

func bigSet(b *testing.B, backend, path string, services ...Service) *Set {
	b.Helper()
	set, err := NewSet([]config.Table{{Name: "t", Backend: backend, Path: path}}, Sources{Facts: Facts{SubAddrDelim: "+"}})
	for _, s := range services {
		if err == nil {
			err = set.Prepare("t", s)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
	return set
}

// BenchmarkLoad reads a table of a million lines and tells what it keeps of memory.
func BenchmarkLoad(b *testing.B) {
	path := bigFile(b)
	var before, after runtime.MemStats
	var set *Set
	for b.Loop() {
		set = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		set = bigSet(b, "file", path, Alias)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-kept")
	runtime.KeepAlive(set)
}

// BenchmarkLookup asks for many keys, so that they are not all in the processor's cache.
func BenchmarkLookup(b *testing.B) {
	path := bigFile(b)
	set := bigSet(b, "file", path, Alias, MailAddr, Domain, NetAddr)
	keys := make([]string, 100_000)
	for i := range keys {
		n := i * 7919 % million
		keys[i] = fmt.Sprintf("User%d@example%d.org", n, n%1000)
	}
	for _, service := range []Service{Alias, MailAddr, Domain} {
		b.Run(service.String(), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, ok, _ := set.Lookup(b.Context(), "t", service, keys[i%len(keys)]); !ok {
					b.Fatal("not found")
				}
			}
		})
		b.Run(service.String()+"-missing", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, ok, _ := set.Lookup(b.Context(), "t", service, keys[i%len(keys)]+".net"); ok {
					b.Fatal("found")
				}
			}
		})
	}
}

// BenchmarkNetworks asks a million networks of many lengths.
func BenchmarkNetworks(b *testing.B) {
	var text strings.Builder
	for i := range million {
		fmt.Fprintf(&text, "%d.%d.%d.0/%d\n", 11+i>>16, i>>8&255, i&255, 24+i%9)
	}
	path := filepath.Join(b.TempDir(), "nets")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	set := bigSet(b, "file", path, NetAddr)
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("%d.%d.%d.%d", 11+i*7919%million>>16, i&255, i>>8&255, i&255)
		if _, err := set.Match(b.Context(), "t", NetAddr, key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDatabase asks a database that stays in its file.
func BenchmarkDatabase(b *testing.B) {
	var entries strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&entries, "user%d@example.org=mailbox%d;", i, i)
	}
	path := filepath.Join(b.TempDir(), "t.db")
	makeDB(b, path, entries.String())
	set := bigSet(b, "db", path, Alias)
	for i := 0; b.Loop(); i++ {
		if _, ok, _ := set.Lookup(b.Context(), "t", Alias, fmt.Sprintf("user%d@example.org", i*7919%200_000)); !ok {
			b.Fatal("not found")
		}
	}
}
