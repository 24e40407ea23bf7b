package mtasts

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// web is a web server for example.com, whose certificate its own pool trusts.
func web(t *testing.T, h http.HandlerFunc) (*Fetcher, *[]string) {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	asked := new([]string)
	return &Fetcher{
		Host: func(_ context.Context, name string) ([]netip.Addr, error) {
			*asked = append(*asked, name)
			return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
		},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			*asked = append(*asked, to.String())
			return new(net.Dialer).DialContext(ctx, "tcp", s.Listener.Addr().String())
		},
		Roots: roots,
	}, asked
}

func TestFetch(t *testing.T) {
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Write([]byte(body))
		}
	}
	raw := func(reply string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Write([]byte(reply))
			c.Close()
		}
	}
	tests := []struct {
		name  string
		serve http.HandlerFunc
		fails string
	}{
		{"good", text(good), ""},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			for _, line := range strings.SplitAfter(good, "\n") {
				w.Write([]byte(line))
				w.(http.Flusher).Flush()
			}
		}, ""},
		{"up to the end", raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + good), ""},
		{"not found", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, `"404"`},
		{"redirected", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, `"302"`},
		{"HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte(good))
		}, "text/plain"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte(good))
		}, "encoded"},
		{"no policy", text("hello: world\n"), "version"},
		{"too large", text(strings.Repeat("x: y\n", 20000)), "64 KiB"},
		{"too large, without a length", raw("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("x: y\n", 20000)), "64 KiB"},
		{"too large in a chunk", raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"), "64 KiB"},
		{"cut", raw("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + good), "EOF"},
		{"endless header", raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 100000)), "not HTTP"},
		{"not HTTP", raw("220 smtp.example ESMTP\r\n"), "not HTTP"},
		{"nothing", raw(""), "not HTTP"},
	}
	for _, tt := range tests {
		f, asked := web(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/.well-known/mta-sts.txt" || r.Method != "GET" || r.Host != "mta-sts.example.com" {
				t.Errorf("%s: %s %s%s", tt.name, r.Method, r.Host, r.URL)
			}
			tt.serve(w, r)
		})
		p, err := f.Fetch(t.Context(), "example.com")
		if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
		if got := strings.Join(*asked, " "); got != "mta-sts.example.com 192.0.2.1:443" {
			t.Errorf("%s: asked for %s", tt.name, got)
		}
	}
}

func TestFetchCertificate(t *testing.T) {
	f, _ := web(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	if _, err := f.Fetch(t.Context(), "other.test"); err == nil || !strings.Contains(err.Error(), "not mta-sts.other.test") {
		t.Errorf("certificate for another name: %v", err)
	}
	f.Roots = x509.NewCertPool()
	if _, err := f.Fetch(t.Context(), "example.com"); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("unknown authority: %v", err)
	}
}

// TestFetchEnds: a server that says nothing is given up.
func TestFetchEnds(t *testing.T) {
	release := make(chan struct{})
	f, _ := web(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f.Fetch(ctx, "example.com"); err == nil {
		t.Error("no error")
	}
}
