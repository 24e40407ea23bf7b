package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/core/twofile"
)

func TestParseRecord(t *testing.T) {
	for record, want := range map[string]string{
		"v=TLSRPTv1; rua=mailto:a@example.org":                               "mailto:a@example.org",
		"v=TLSRPTv1;rua=mailto:a@example.org,https://example.net/x?y=z;":     "mailto:a@example.org https://example.net/x?y=z",
		"v=TLSRPTv1 ; x=y; rua = MAILTO:a@example.org , https://Example.NET": "mailto:a@example.org https://example.net/",
		"v=TLSRPTv1; rua=mailto:a%40example.org":                             "mailto:a@example.org",
		"v=TLSRPTv1; rua=mailto:a@example.org?subject=x":                     "mailto:a@example.org",
		"v=TLSRPTv1; rua=mailto:a@example.org; rua=mailto:b@example.org":     "mailto:a@example.org",
		"v=TLSRPTv1; rua=https://example.net:443/x":                          "https://example.net/x",
		"v=TLSRPTv1; rua=https://example.net/a%20b%0d%0aX: y":                "https://example.net/a%20b%0D%0AX:%20y",
		"v=TLSRPTv1": "", "v=TLSRPTv1;": "", "v=TLSRPTv1; rua=": "", "v=TLSRPTv12; rua=mailto:a@example.org": "", "rua=mailto:a@example.org": "",
		"v=TLSRPTv1; rua=http://example.net/":                                  "",
		"v=TLSRPTv1; rua=https://127.0.0.1/":                                   "",
		"v=TLSRPTv1; rua=https://[::1]/":                                       "",
		"v=TLSRPTv1; rua=https://localhost/":                                   "",
		"v=TLSRPTv1; rua=https://example.net:25/":                              "",
		"v=TLSRPTv1; rua=https://u:p@example.net/":                             "",
		"v=TLSRPTv1; rua=https://exa mple.net/":                                "",
		"v=TLSRPTv1; rua=mailto:a":                                             "",
		"v=TLSRPTv1; rua=mailto:a@b%0d%0aRCPT":                                 "",
		"v=TLSRPTv1; rua=mailto:<a@example.org>":                               "",
		"v=TLSRPTv1; rua=ftp://x,mailto:a@example.x":                           "mailto:a@example.x",
		"v=TLSRPTv1; rua=" + strings.Repeat("mailto:a@example.org,", 50):       strings.TrimSpace(strings.Repeat("mailto:a@example.org ", maxTargets)),
		"v=TLSRPTv1; rua=https://example.net/" + strings.Repeat("x", maxURI):   "",
		"v=TLSRPTv1; rua=mailto:" + strings.Repeat("x", maxURI) + "@a.example": "",
	} {
		var got []string
		for _, target := range ParseRecord([]string{"other", record}) {
			got = append(got, target.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.80q: %q, want %q", record, got, want)
		}
	}
	if got := ParseRecord([]string{"v=TLSRPTv1; rua=mailto:a@example.org", "v=TLSRPTv1; rua=mailto:b@example.org"}); got != nil {
		t.Errorf("two records: %v", got)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("v=TLSRPTv1; rua=mailto:a%40example.org,https://example.net/x?y=z;")
	f.Add("v=TLSRPTv1; rua=https://exa\x00mple.net/%zz")
	f.Fuzz(func(t *testing.T, record string) {
		targets := ParseRecord([]string{record})
		if len(targets) > maxTargets {
			t.Error("too many")
		}
		for _, target := range targets {
			if strings.ContainsFunc(target.Host+target.Path, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(target.Mail.String(), "\r\n\x00") {
				t.Errorf("%q", target)
			}
		}
	})
}

func result(domain string, failure ...string) Result {
	r := Result{Domain: domain, Policy: Policy{Type: STS, Domain: domain, Strings: []string{"version: STSv1", "mode: enforce"}, MX: []string{"*." + domain}}}
	for _, f := range failure {
		r.Failures = []Failure{{Type: f, From: "192.0.2.1", MX: "mx." + domain, Helo: "mx", To: "192.0.2.2", Reason: "because"}}
	}
	return r
}

// TestCollection: what is kept comes back, and is counted together.
func TestCollection(t *testing.T) {
	c := newCollection()
	for range 3 {
		c.add("2026-11-25", result("a.example"))
		upper := result("a.example", NoSTARTTLS)
		upper.Domain = "A.Example"
		c.add("2026-11-25", upper)
		c.add("2026-11-24", result("a.example", Expired))
	}
	c.add("2026-11-25", result("a.example", WrongName))
	c.add("2026-11-25", Result{Domain: "a.example", Policy: Policy{Type: NoPolicy, Domain: "a.example"}, Count: 7})
	for i := range 2 * maxDetails {
		r := result("b.example", Invalid)
		r.Failures[0].Helo = fmt.Sprint(i)
		c.add("2026-11-25", r)
	}
	check := func(c *collection) {
		t.Helper()
		a, b := c.days["2026-11-25"]["a.example"], c.days["2026-11-25"]["b.example"]
		if len(a) != 2 || a[0].Good != 3 || a[0].Bad != 4 || len(a[0].Details) != 2 || a[0].Details[0].Count != 3 || a[1].Good != 7 || a[1].Bad != 0 {
			t.Errorf("%+v", a)
		}
		if len(b) != 1 || b[0].Bad != 2*maxDetails || len(b[0].Details) != maxDetails {
			t.Errorf("%d failures, %d details", b[0].Bad, len(b[0].Details))
		}
		if got := c.before("2026-11-25"); !slices.Equal(got, []string{"2026-11-24"}) {
			t.Error(got)
		}
	}
	check(c)
	back := parseKept(c.text())
	check(back)
	if !bytes.Equal(back.text(), c.text()) || back.octets != c.octets {
		t.Errorf("%d octets, %d before", back.octets, c.octets)
	}
	for _, d := range []string{"2026-11-24", "2026-11-25"} {
		back.drop(d, "a.example")
		back.drop(d, "b.example")
	}
	if back.octets != 0 || len(back.days) != 0 {
		t.Errorf("%d octets left: %v", back.octets, back.days)
	}
}

// TestCollectionIsBounded: by domains, policies of a domain and octets.
func TestCollectionIsBounded(t *testing.T) {
	c := newCollection()
	long := strings.Repeat("x", 10*maxText)
	for i := range 2 * maxDomains {
		c.add("2026-11-25", Result{Domain: fmt.Sprintf("d%d.example", i), Policy: Policy{Type: NoPolicy}})
	}
	if n := c.domains(); n != maxDomains || c.lost != maxDomains {
		t.Errorf("%d domains, %d lost", n, c.lost)
	}
	for i := range 100 {
		c.add("2026-11-25", Result{Domain: "d1.example", Policy: Policy{Type: TLSA, Domain: fmt.Sprint(i)}})
	}
	if n := len(c.days["2026-11-25"]["d1.example"]); n != maxPolicies {
		t.Errorf("%d policies", n)
	}
	for i := range 500 {
		for j := range maxDetails {
			c.add("2026-11-25", Result{Domain: fmt.Sprintf("d%d.example", i), Policy: Policy{Type: NoPolicy},
				Failures: []Failure{{Type: Invalid, Reason: fmt.Sprint(j) + long, Helo: long, MX: long}}})
		}
	}
	if c.octets > maxOctets || len(c.text()) > maxKept {
		t.Errorf("%d octets, %d as text", c.octets, len(c.text()))
	}
	for _, domain := range []string{"", "a b.example", "x\n.example", strings.Repeat("a.", 200)} {
		if c.add("2026-11-25", Result{Domain: domain}) {
			t.Errorf("%q was taken", domain)
		}
	}
}

func FuzzParseKept(f *testing.F) {
	c := newCollection()
	c.add("2026-11-25", result("a.example", NoSTARTTLS))
	c.add("2026-11-24", result("a.example"))
	f.Add(c.text())
	f.Add([]byte(`{"day":"2026-11-25","domain":"x.example","policies":[null,{"good":-1,"bad":9223372036854775807,"details":[{"failed-session-count":3}]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := parseKept(text)
		if c.octets > maxOctets || c.octets < 0 || c.domains() > maxDomains {
			t.Error("over a bound")
		}
		if again := parseKept(c.text()); !reflect.DeepEqual(again.days, c.days) && len(c.days) > 0 {
			t.Errorf("%s became %s", c.text(), again.text())
		}
	})
}

// open is a report as its reader has it.
func open(t *testing.T, packed []byte) (r report) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(z)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

var example = Sender{Organization: "Example \"Inc.\"", Contact: "post@us.example", Mail: "tls@us.example", Host: "mx.us.example"}

func TestMail(t *testing.T) {
	c := newCollection()
	c.add("2026-11-25", result("a.example"))
	c.add("2026-11-25", result("a.example", NotTrusted))
	sealed, err := example.seal("2026-11-25", "a.example", c.days["2026-11-25"]["a.example"])
	if err != nil {
		t.Fatal(err)
	}
	target, _ := parseTarget("mailto:tls@a.example")
	text := example.mail(sealed, target.Mail, time.Unix(1795600000, 0))
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "tlsrpt" || m.Header.Get("TLS-Report-Domain") != "a.example" ||
		m.Header.Get("TLS-Report-Submitter") != "mx.us.example" || m.Header.Get("TLS-Required") != "No" || m.Header.Get("From") != "tls@us.example" ||
		m.Header.Get("Subject") != "Report Domain: a.example Submitter: mx.us.example Report-ID: <"+sealed.id+">" {
		t.Errorf("%v %v", m.Header, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	if _, err := parts.NextPart(); err != nil {
		t.Fatal(err)
	}
	p, err := parts.NextPart()
	if err != nil || p.Header.Get("Content-Type") != "application/tlsrpt+gzip" || p.FileName() != "mx.us.example!a.example!1795564800!1795651199.json.gz" {
		t.Fatal(err, p.Header, p.FileName())
	}
	packed, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, p))
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, packed)
	want := report{Organization: example.Organization, Contact: example.Contact, ID: sealed.id,
		Range: dateRange{"2026-11-25T00:00:00Z", "2026-11-25T23:59:59Z"},
		Policies: []about{{result("a.example").Policy, summary{1, 1},
			[]detail{{result("a.example", NotTrusted).Failures[0], 1}}}}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v\nwant %+v", r, want)
	}
	if bytes.Contains(text, []byte("\r")) || slices.ContainsFunc(bytes.Split(text, []byte("\n")), func(l []byte) bool { return len(l) > 998 }) {
		t.Errorf("%s", text)
	}
}

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{"192.0.2.1": true, "2001:db8::1": true, "127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "10.1.2.3": false,
		"192.168.1.1": false, "172.16.0.1": false, "169.254.169.254": false, "fe80::1": false, "fd00::1": false, "100.64.1.1": false,
		"0.0.0.0": false, "0.1.2.3": false, "::": false, "224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false, "ff02::1": false} {
		if public(netip.MustParseAddr(text)) != want {
			t.Error(text)
		}
	}
}

// webServer is one with a certificate of its own, which takes reports.
func webServer(t *testing.T, name string, h http.HandlerFunc) (addr string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	roots = x509.NewCertPool()
	roots.AddCert(cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), roots
}

func TestPost(t *testing.T) {
	var mu sync.Mutex
	var got []string
	addr, roots := webServer(t, "web.example", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, fmt.Sprint(r.Method, r.Host, r.URL, r.Header.Get("Content-Type"), len(body)))
		mu.Unlock()
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "https://web.example/good", http.StatusTemporaryRedirect)
		case "/fails":
			w.WriteHeader(500)
		default:
			w.WriteHeader(201)
		}
	})
	addrs := map[string][]netip.Addr{"web.example": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")}, "other.example": {netip.MustParseAddr("192.0.2.1")},
		"inside.example": {netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.0.0.1")}}
	var dialed []netip.AddrPort
	w := web{
		host: func(_ context.Context, name string) ([]netip.Addr, error) {
			if addrs[name] == nil {
				return nil, errors.New("no such host")
			}
			return addrs[name], nil
		},
		dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			dialed = append(dialed, to)
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		},
		roots: func() *x509.CertPool { return roots }}
	for uri, want := range map[string]string{"https://web.example/good?a=b": "", "https://web.example/moved": `reply is "307"`, "https://web.example/fails": `reply is "500"`,
		"https://other.example/good": "certificate", "https://inside.example/good": "no public address", "https://gone.example/": "no such host"} {
		target, ok := parseTarget(uri)
		if !ok {
			t.Fatal(uri)
		}
		err := w.post(t.Context(), target, []byte("report"))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", uri, err)
		}
	}
	slices.Sort(got)
	want := []string{"POSTweb.example/failsapplication/tlsrpt+gzip6", "POSTweb.example/good?a=bapplication/tlsrpt+gzip6", "POSTweb.example/movedapplication/tlsrpt+gzip6"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, a := range dialed {
		if a != netip.MustParseAddrPort("192.0.2.1:443") {
			t.Errorf("connected to %s", a)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n"))
	f.Add([]byte("HTTP/1.1 500\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if readStatus(bytes.NewReader(b)) == nil && !bytes.HasPrefix(b, []byte("HTTP/1.")) {
			t.Errorf("%q", b)
		}
	})
}

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

type unknown struct{}

func (unknown) Error() string { return "no such name" }
func (unknown) Exists() bool  { return false }

type silent struct{}

func (silent) Log(trace.Level, string) {}

func pair(t *testing.T, dir string) *twofile.Pair {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint(i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	return twofile.New("tls-report-1", files[0], files[1])
}

// TestReporter: results of a day are reported when it is over, once, and across a restart.
func TestReporter(t *testing.T) {
	dir := t.TempDir()
	now := &clock{now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)}
	sent := make(chan string, 100)
	var mu sync.Mutex
	fails := map[string]bool{"flaky.example": true}
	start := func() *Reporter {
		r := New(Options{Store: pair(t, dir), Log: trace.New(silent{}), Now: now.Now,
			TXT: func(_ context.Context, name string) ([]string, error) {
				mu.Lock()
				defer mu.Unlock()
				domain, ok := strings.CutPrefix(name, "_smtp._tls.")
				switch {
				case !ok || domain == "none.example":
					return nil, unknown{}
				case fails[domain]:
					return nil, errors.New("SERVFAIL")
				}
				return []string{"v=TLSRPTv1; rua=mailto:tls@" + domain}, nil
			},
			Mail: func(_ context.Context, from, to string, text []byte) error {
				_, body, _ := bytes.Cut(text, []byte("tlsrpt+gzip"))
				_, body, _ = bytes.Cut(body, []byte("\n\n"))
				packed, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body[:bytes.Index(body, []byte("\n\n"))])))
				if err != nil {
					return err
				}
				rep := open(t, packed)
				sent <- fmt.Sprintf("%s %s %s %d/%d", from, to, rep.Range.Start[:10], rep.Policies[0].Summary.Good, rep.Policies[0].Summary.Bad)
				return nil
			}})
		r.Configure(example, 0)
		return r
	}
	r := start()
	r.Add([]Result{result("a.example"), result("a.example", NoSTARTTLS), result("flaky.example"), result("none.example")})
	r.Close()
	r = start()
	r.Add([]Result{result("a.example"), {Domain: "none.example", Policy: Policy{Type: NoPolicy}}})
	if len(sent) != 0 {
		t.Errorf("%s before the day is over", <-sent)
	}
	r.Close()
	now.set(now.Now().AddDate(0, 0, 1))
	r = start()
	if got := <-sent; got != "tls@us.example tls@a.example 2026-11-25 2/1" {
		t.Error(got)
	}
	r.Add([]Result{result("a.example")})
	r.Close()
	mu.Lock()
	clear(fails)
	mu.Unlock()
	r = start() // what failed is tried again
	if got := <-sent; got != "tls@us.example tls@flaky.example 2026-11-25 1/0" {
		t.Error(got)
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) { // for that of which nobody wants to know
		r.mu.Lock()
		n := r.all.domains()
		r.mu.Unlock()
		if n == 1 {
			break
		}
	}
	r.Close()
	left := parseKept(mustLoad(t, dir))
	if len(sent) != 0 || left.domains() != 1 || left.days["2026-11-26"]["a.example"][0].Good != 1 {
		t.Errorf("%d more reports; left: %s", len(sent), left.text())
	}
	now.set(now.Now().AddDate(0, 0, maxDays+2))
	r = start() // too late
	r.Configure(Sender{}, 0)
	r.Close()
	if len(sent) != 0 {
		t.Error(<-sent)
	}
}

func mustLoad(t *testing.T, dir string) []byte {
	t.Helper()
	p := pair(t, dir)
	defer p.Close()
	text, err := p.Load(maxKept)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPlan(t *testing.T) {
	r := &Reporter{all: newCollection(), spread: 4 * time.Hour}
	now := time.Date(2026, 11, 25, 23, 59, 0, 0, time.FixedZone("", -3600)) // 00:59 of the next day in UTC
	midnight := time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	for range 100 {
		if at := r.plan(now); at.Before(midnight) || !at.Before(midnight.Add(r.spread)) {
			t.Errorf("%s", at)
		}
	}
	r.all.add("2026-11-25", result("a.example"))
	if at := r.plan(now); at.Before(now) || !at.Before(now.Add(r.spread)) {
		t.Errorf("%s", at)
	}
}
