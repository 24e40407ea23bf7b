package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
)

// stsHost is where the policies of all domains are.
const stsHost = "127.0.0.5"

// policyFile is what a web server answers for a domain.
type policyFile struct {
	status   int // 0: 200
	kind     string
	text     string
	stranger bool // with the certificate of another name
}

// startPolicies starts a web server with the policies of domains.
func startPolicies(t *testing.T, ca *authority, files map[string]policyFile) *http.Server {
	t.Helper()
	wrong := ca.server("www.example.test")
	good := make(map[string]*tls.Config)
	for domain := range files {
		good["mta-sts."+domain] = ca.server("mta-sts." + domain)
	}
	config := &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if files[strings.TrimPrefix(h.ServerName, "mta-sts.")].stranger || good[h.ServerName] == nil {
			return wrong, nil
		}
		return good[h.ServerName], nil
	}}
	l, err := net.Listen("tcp", stsHost+":443")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := files[strings.TrimPrefix(r.Host, "mta-sts.")]
		switch {
		case r.URL.Path != "/.well-known/mta-sts.txt":
			http.NotFound(w, r)
			return
		case f.status/100 == 3:
			http.Redirect(w, r, "https://mta-sts.good.plain.test/.well-known/mta-sts.txt", f.status)
			return
		}
		if w.Header().Set("Content-Type", "text/plain"); f.kind != "" {
			w.Header().Set("Content-Type", f.kind)
		}
		if f.status != 0 {
			w.WriteHeader(f.status)
		}
		_, _ = io.WriteString(w, f.text)
	})}
	go func() { _ = s.Serve(tls.NewListener(l, config)) }()
	t.Cleanup(func() { s.Close() })
	return s
}

func policyText(mode string, mx ...string) string {
	text := "version: STSv1\r\nmode: " + mode + "\r\nmax_age: 86400\r\n"
	for _, name := range mx {
		text += "mx: " + name + "\r\n"
	}
	return text
}

// TestSTS relays by the MTA-STS policies of domains, and by TLSA records where there are both.
func TestSTS(t *testing.T) {
	const (
		noTLS    = "MTA-STS: TLS required but not supported by remote host"
		notValid = "MTA-STS: TLS handshake failed: certificate not valid"
	)
	to := func(host string) string { return "MX 10 " + host + ".dane.test." }
	enforce := func(mx ...string) policyFile { return policyFile{text: policyText("enforce", mx...)} }
	trying := func(mx string) policyFile { return policyFile{text: policyText("testing", mx)} }
	sites := []struct {
		policyCase
		mx     string
		policy policyFile
		record string // "": the usual one
	}{
		{policyCase{domain: "good.plain.test", want: ok, logged: "policy=mta-sts host=good.dane.test"}, "good", enforce("good.dane.test"), ""},
		{policyCase{domain: "wild.plain.test", want: ok, logged: "policy=mta-sts host=good.dane.test"}, "good", enforce("x.test", "*.dane.test"), ""},
		{policyCase{domain: "other.plain.test", want: "MTA-STS: server is not one of those that the policy names: good.dane.test"}, "good", enforce("other.dane.test"), ""},
		{policyCase{domain: "foreign.plain.test", want: notValid}, "foreign", enforce("foreign.dane.test"), ""},
		{policyCase{domain: "name.plain.test", want: notValid}, "mx.deep", enforce("mx.deep.dane.test"), ""},
		{policyCase{domain: "clear.plain.test", want: noTLS}, "clear", enforce("clear.dane.test"), ""},
		{policyCase{domain: "second.plain.test", want: ok, logged: "policy=mta-sts host=good.dane.test"}, "foreign", enforce("good.dane.test"), ""},
		{policyCase{domain: "tryforeign.plain.test", want: ok, logged: "policy=mta-sts-testing host=foreign.dane.test & would fail: x509: certificate signed by unknown"},
			"foreign", trying("foreign.dane.test"), ""},
		{policyCase{domain: "tryclear.plain.test", want: ok, logged: "policy=mta-sts-testing host=clear.dane.test & would fail: no TLS"}, "clear", trying("clear.dane.test"), ""},
		{policyCase{domain: "tryother.plain.test", want: ok, logged: "policy=mta-sts-testing host=good.dane.test & would fail: server is not one"}, "good", trying("x.test"), ""},
		{policyCase{domain: "none.plain.test", want: ok}, "clear", policyFile{text: policyText("none")}, ""},
		{policyCase{domain: "norecord.plain.test", want: ok, logged: "policy=none host=clear.dane.test & no policy of norecord.plain.test"},
			"clear", enforce("x.test"), "TXT \"nothing\""},
		{policyCase{domain: "records.plain.test", want: ok}, "clear", enforce("x.test"), "TXT \"v=STSv1; id=1;\"\n_mta-sts.records TXT \"v=STSv1; id=2;\""},
		{policyCase{domain: "notfound.plain.test", want: ok, logged: "mta-sts: domain=notfound.plain.test fetching failed"}, "clear", policyFile{status: 404}, ""},
		{policyCase{domain: "moved.plain.test", want: ok, logged: "mta-sts: domain=moved.plain.test fetching failed & not 200"}, "clear", policyFile{status: 302}, ""},
		{policyCase{domain: "html.plain.test", want: ok, logged: "domain=html.plain.test fetching failed & text/plain"}, "clear",
			policyFile{kind: "text/html", text: policyText("enforce", "x.test")}, ""},
		{policyCase{domain: "broken.plain.test", want: ok, logged: "domain=broken.plain.test fetching failed & no valid mode"}, "clear", policyFile{text: policyText("force", "x.test")}, ""},
		{policyCase{domain: "large.plain.test", want: ok, logged: "domain=large.plain.test fetching failed & 64 KiB"}, "clear",
			policyFile{text: policyText("enforce", "x.test") + strings.Repeat("x: y\n", 20000)}, ""},
		{policyCase{domain: "wrongweb.plain.test", want: ok, logged: "domain=wrongweb.plain.test fetching failed & not mta-sts.wrongweb"}, "clear",
			policyFile{stranger: true, text: policyText("enforce", "x.test")}, ""},
		{policyCase{domain: "exception.plain.test", relay: "tls no-verify", want: ok}, "foreign", enforce("x.test"), ""},
		{policyCase{domain: "dane.dane.test", want: ok, logged: "policy=dane host=tlsa.dane.test"}, "tlsa", enforce("x.test"), ""},
		{policyCase{domain: "danewrong.dane.test", want: "DANE: TLS handshake failed"}, "tlsawrong", enforce("tlsawrong.dane.test"), ""},
		{policyCase{domain: "nodane.dane.test", want: noTLS}, "clear", enforce("clear.dane.test"), ""},
	}
	zones := map[string]*strings.Builder{"dane": {}, "plain": {}}
	files := make(map[string]policyFile)
	var cases []policyCase
	for _, s := range sites {
		name, zone, _ := strings.Cut(strings.TrimSuffix(s.domain, ".test"), ".")
		if s.record == "" {
			s.record = "TXT \"v=STSv1; id=20261125;\""
		}
		fmt.Fprintf(zones[zone], "%s %s\nmta-sts.%s A %s\n_mta-sts.%s %s\n", name, to(s.mx), name, stsHost, name, s.record)
		cases, files[s.domain] = append(cases, s.policyCase), s.policy
	}
	zones["plain"].WriteString("second MX 20 good.dane.test.\n")
	servers := newPolicyServers(t, cases)
	web := startPolicies(t, servers.ca, files)
	fmt.Fprintf(zones["dane"], "good A %[1]s\nmx.deep A %[1]s\nclear A %[2]s\nforeign A %[3]s\ntlsa A %[1]s\n_25._tcp.tlsa %[4]s\ntlsawrong A %[1]s\n_25._tcp.tlsawrong %[5]s\n",
		postfixHost, clearHost, foreignHost, tlsa(t, servers.cert, 3, 1, 1), tlsa(t, servers.ca.cert, 3, 1, 1))
	startSigned(t, zones["dane"].String(), zones["plain"].String())
	d := runPolicies(t, "mta dane\nmta sts", cases)
	wantClear := 0
	for _, s := range sites {
		if s.mx == "clear" && s.want == ok {
			wantClear++
		}
	}
	if got := servers.clear.take(); len(got) != wantClear {
		t.Errorf("%d messages in clear, want %d", len(got), wantClear)
	}
	// What was known counts after a restart, although the web server has gone.
	d.stop()
	web.Close()
	d.start()
	submit(t, tester, "again@clear.plain.test", "Subject: policy\n\nHello.\n")
	submit(t, tester, "again@good.plain.test", "Subject: policy\n\nHello.\n")
	d.waitLog("to=<again@clear.plain.test>", noTLS)
	d.waitLog("to=<again@good.plain.test>", ok)
	d.waitLog("policy=mta-sts host=good.dane.test")
	if line := d.line("mta-sts: domain=good.plain.test fetching failed"); line != "" {
		t.Errorf("it was fetched again: %s", line)
	}
}
