package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Where reports go to: a sink for mail, and a web server at an address that counts as public.
const (
	reportHost = "127.0.0.7"
	reportWeb  = "192.0.2.80"
)

// tlsReport is what is compared of a report (RFC 8460 section 4.4).
type tlsReport struct {
	Organization string `json:"organization-name"`
	Contact      string `json:"contact-info"`
	ID           string `json:"report-id"`
	Range        struct {
		Start string `json:"start-datetime"`
		End   string `json:"end-datetime"`
	} `json:"date-range"`
	Policies []struct {
		Policy struct {
			Type    string   `json:"policy-type"`
			Domain  string   `json:"policy-domain"`
			Strings []string `json:"policy-string"`
			MX      []string `json:"mx-host"`
		} `json:"policy"`
		Summary struct {
			Good int `json:"total-successful-session-count"`
			Bad  int `json:"total-failure-session-count"`
		} `json:"summary"`
		Details []struct {
			Type   string `json:"result-type"`
			From   string `json:"sending-mta-ip"`
			MX     string `json:"receiving-mx-hostname"`
			Helo   string `json:"receiving-mx-helo"`
			To     string `json:"receiving-ip"`
			Count  int    `json:"failed-session-count"`
			Reason string `json:"failure-reason-code"`
		} `json:"failure-details"`
	} `json:"policies"`
}

// text gives what has to be the same: policy, domain, successes, and failures with their servers.
func (r *tlsReport) text() string {
	var lines []string
	for _, p := range r.Policies {
		line := fmt.Sprintf("%s %s %d", p.Policy.Type, p.Policy.Domain, p.Summary.Good)
		for _, d := range p.Details {
			line += fmt.Sprintf(" %s %s %s %d", d.Type, d.MX, d.To, d.Count)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

func unpackReport(t *testing.T, packed io.Reader) (r tlsReport) {
	t.Helper()
	z, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// mailedReport takes the report out of a message.
func mailedReport(t *testing.T, text []byte) (domain string, r tlsReport) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	domain = m.Header.Get("TLS-Report-Domain")
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "tlsrpt" || m.Header.Get("TLS-Report-Submitter") != "mx.godwit.test" ||
		!strings.HasPrefix(m.Header.Get("Subject"), "Report Domain: "+domain+" Submitter: mx.godwit.test Report-ID: <") {
		t.Errorf("%v %v", m.Header, err)
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatalf("%v: no report in %s", err, text)
		}
		if p.Header.Get("Content-Type") == "application/tlsrpt+gzip" {
			return domain, unpackReport(t, base64.NewDecoder(base64.StdEncoding, p))
		}
	}
}

// startReportWeb starts a web server that takes reports of one path and moves all others there.
func startReportWeb(t *testing.T, ca *authority, name string) chan tlsReport {
	t.Helper()
	command(t, "ip", "addr", "add", reportWeb+"/32", "dev", "lo")
	t.Cleanup(func() { command(t, "ip", "addr", "del", reportWeb+"/32", "dev", "lo") })
	l, err := net.Listen("tcp", reportWeb+":443")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan tlsReport, 100)
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/reports" {
			http.Redirect(w, r, "https://"+name+"/reports", http.StatusTemporaryRedirect)
			return
		}
		if r.Method != "POST" || r.Header.Get("Content-Type") != "application/tlsrpt+gzip" {
			t.Errorf("%s of %s", r.Method, r.Header.Get("Content-Type"))
		}
		got <- unpackReport(t, r.Body)
	})}
	go func() { _ = s.Serve(tls.NewListener(l, ca.server(name))) }()
	t.Cleanup(func() { s.Close() })
	return got
}

// yesterday lets what a daemon has kept of today be of the day before.
func (d *daemon) yesterday() {
	d.t.Helper()
	now := time.Now().UTC()
	for _, name := range []string{"tls-report.0", "tls-report.1"} {
		path := filepath.Join(d.spool, name)
		all, err := os.ReadFile(path)
		if err != nil {
			d.t.Fatal(err)
		}
		head, body, _ := bytes.Cut(all, []byte("\n"))
		if len(body) == 0 {
			continue
		}
		body = bytes.ReplaceAll(body, []byte(now.Format(time.DateOnly)), []byte(now.AddDate(0, 0, -1).Format(time.DateOnly)))
		fields := strings.Fields(string(head))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			d.t.Fatal(err)
		}
		fmt.Fprintf(f, "%s %s %x\n%s", fields[0], fields[1], sha256.Sum256(body), body)
		f.Close()
	}
}

// TestTLSReport relays under several policies, some of which fail, and compares the reports of
// the day after, which a restart divides from it.
func TestTLSReport(t *testing.T) {
	enforce := policyFile{text: policyText("enforce", "*.dane.test")}
	noTLS := "TLS required but not supported"
	cases := []struct {
		policyCase
		mx     string
		policy policyFile
		rua    string
		report string // with GOOD, CLEAR and FOREIGN for servers; "": none
	}{
		{policyCase{domain: "good.plain.test", want: ok}, "good", enforce, "mailto:r@report.test", "sts good.plain.test 1"},
		{policyCase{domain: "clear.plain.test", want: noTLS}, "clear", enforce, "mailto:r@report.test", "sts clear.plain.test 0 starttls-not-supported CLEAR 1"},
		{policyCase{domain: "foreign.plain.test", want: "certificate not valid"}, "foreign", enforce, "mailto:r@report.test",
			"sts foreign.plain.test 0 certificate-not-trusted FOREIGN 1"},
		{policyCase{domain: "testing.plain.test", want: ok}, "foreign", policyFile{text: policyText("testing", "*.dane.test")}, "mailto:r@report.test",
			"sts testing.plain.test 0 certificate-not-trusted FOREIGN 1"},
		{policyCase{domain: "broken.plain.test", want: ok}, "good", policyFile{text: "what?"}, "mailto:r@report.test", "sts broken.plain.test 0 sts-policy-invalid GOOD 1"},
		{policyCase{domain: "lost.plain.test", want: ok}, "good", policyFile{status: 404}, "mailto:r@report.test", "sts lost.plain.test 0 sts-policy-fetch-error GOOD 1"},
		{policyCase{domain: "wrongweb.plain.test", want: ok}, "good", policyFile{stranger: true, text: enforce.text}, "mailto:r@report.test",
			"sts wrongweb.plain.test 0 sts-webpki-invalid GOOD 1"},
		{policyCase{domain: "right.dane.test", want: ok}, "tlsa", policyFile{}, "mailto:r@report.test", "tlsa tlsa.dane.test 1"},
		{policyCase{domain: "wrong.dane.test", want: "DANE: TLS handshake failed"}, "tlsawrong", policyFile{}, "mailto:r@report.test",
			"tlsa tlsawrong.dane.test 0 validation-failure tlsawrong.dane.test " + postfixHost + " 1"},
		{policyCase{domain: "bogus.dane.test", want: "SERVFAIL"}, "bogus-tlsa", policyFile{}, "mailto:r@report.test",
			"tlsa bogus-tlsa.dane.test 0 dnssec-invalid bogus-tlsa.dane.test " + postfixHost + " 1"},
		{policyCase{domain: "open.plain.test", want: ok}, "clear", policyFile{}, "mailto:r@report.test", "no-policy-found open.plain.test 0 starttls-not-supported CLEAR 1"},
		{policyCase{domain: "web.plain.test", want: ok}, "good", enforce, "https://reports.plain.test/reports", "sts web.plain.test 1"},
		{policyCase{domain: "moved.plain.test", want: ok}, "good", enforce, "https://reports.plain.test/elsewhere", ""},
		{policyCase{domain: "inside.plain.test", want: ok}, "good", enforce, "https://inside.plain.test/reports", ""},
		{policyCase{domain: "unasked.plain.test", want: ok}, "good", enforce, "", ""},
		{policyCase{domain: "twice.plain.test", want: ok}, "good", enforce, "ftp://x,mailto:r@report.test,https://reports.plain.test/reports", "sts twice.plain.test 1"},
	}
	zones := map[string]*strings.Builder{"dane": {}, "plain": {}}
	files := make(map[string]policyFile)
	var list []policyCase
	for _, c := range cases {
		name, zone, _ := strings.Cut(strings.TrimSuffix(c.domain, ".test"), ".")
		fmt.Fprintf(zones[zone], "%s MX 10 %s.dane.test.\n", name, c.mx)
		if c.policy != (policyFile{}) {
			fmt.Fprintf(zones[zone], "mta-sts.%s A %s\n_mta-sts.%s TXT \"v=STSv1; id=1;\"\n", name, stsHost, name)
			files[c.domain] = c.policy
		}
		if c.rua != "" {
			fmt.Fprintf(zones[zone], "_smtp._tls.%s TXT \"v=TLSRPTv1; rua=%s\"\n", name, c.rua)
		}
		list = append(list, c.policyCase)
	}
	// Reports about the delivery of reports would go there, too.
	fmt.Fprintf(zones["plain"], "reports A %s\ninside A %s\nreportbox MX 10 mx.reportbox\nmx.reportbox A %s\n_smtp._tls.reportbox TXT \"v=TLSRPTv1; rua=mailto:r@reportbox.plain.test\"\n",
		reportWeb, stsHost, reportHost)
	servers := newPolicyServers(t, list)
	startPolicies(t, servers.ca, files)
	fmt.Fprintf(zones["dane"], "good A %[1]s\nclear A %[2]s\nforeign A %[3]s\ntlsa A %[1]s\n_25._tcp.tlsa %[4]s\ntlsawrong A %[1]s\n_25._tcp.tlsawrong %[5]s\nbogus-tlsa A %[1]s\n_25._tcp.bogus-tlsa %[4]s\n",
		postfixHost, clearHost, foreignHost, tlsa(t, servers.cert, 3, 1, 1), tlsa(t, servers.ca.cert, 3, 1, 1))
	plain := strings.ReplaceAll(zones["plain"].String(), "r@report.test", "r@reportbox.plain.test")
	startSigned(t, strings.ReplaceAll(zones["dane"].String(), "r@report.test", "r@reportbox.plain.test"), plain)
	box := startSink(t, reportHost+":25", nil)
	posted := startReportWeb(t, servers.ca, "reports.plain.test")
	d := runPolicies(t, `mta dane
mta sts
mta tls-report "Test Inc." contact people@godwit.test sender reports@godwit.test spread 0s
action "reports" relay
match from local for domain "reportbox.plain.test" action "reports"`, list)
	if t.Failed() {
		return
	}
	d.stop()
	d.yesterday()
	d.start()
	want := make(map[string]string)
	hosts := strings.NewReplacer("GOOD", "good.dane.test "+postfixHost, "CLEAR", "clear.dane.test "+clearHost, "FOREIGN", "foreign.dane.test "+foreignHost)
	mails, posts := 0, 0
	for _, c := range cases {
		if want[c.domain] = hosts.Replace(c.report); c.report == "" {
			continue
		}
		if strings.Contains(c.rua, "mailto") {
			mails++
		}
		if strings.Contains(c.rua, "https") {
			posts++
		}
	}
	check := func(domain string, r *tlsReport) {
		day := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly)
		if r.text() != want[domain] || r.Organization != "Test Inc." || r.Contact != "people@godwit.test" || r.ID == "" ||
			r.Range.Start != day+"T00:00:00Z" || r.Range.End != day+"T23:59:59Z" {
			t.Errorf("%s: %s\nwant %s\n%+v", domain, r.text(), want[domain], r)
		}
		for _, p := range r.Policies {
			for _, f := range p.Details {
				if f.Type == "certificate-not-trusted" && (f.From == "" || f.Helo == "" || f.Reason == "") {
					t.Errorf("%s: %+v", domain, f)
				}
			}
			if p.Policy.Type == "sts" && p.Summary.Good > 0 && (!slices.Contains(p.Policy.Strings, "mode: enforce") || !slices.Contains(p.Policy.MX, "*.dane.test")) {
				t.Errorf("%s: %+v", domain, p.Policy)
			}
		}
	}
	seen := make(map[string]bool)
	for _, m := range box.wait(t, mails) {
		domain, r := mailedReport(t, m.text)
		if check(domain, &r); m.from != "reports@godwit.test" || seen[domain] {
			t.Errorf("%s: from %s, twice: %t", domain, m.from, seen[domain])
		}
		seen[domain] = true
	}
	for range posts {
		r := <-posted
		check(r.Policies[0].Policy.Domain, &r)
	}
	d.waitLog("tls-report: domain=moved.plain.test", `reply is \"307\", not 2xx`)
	d.waitLog("tls-report: domain=inside.plain.test", "no public address")
	d.stop()
	// What failed waits, and of the delivery of reports nothing was counted.
	var left []string
	for _, name := range []string{"tls-report.0", "tls-report.1"} {
		text, _ := os.ReadFile(filepath.Join(d.spool, name))
		left = append(left, string(text))
	}
	slices.SortFunc(left, func(a, b string) int {
		return strings.Compare(strings.Fields(b + " - 0")[1], strings.Fields(a + " - 0")[1])
	})
	if strings.Contains(left[0], "reportbox") || strings.Contains(left[0], "good.plain.test") || !strings.Contains(left[0], "moved.plain.test") ||
		!strings.Contains(left[0], "inside.plain.test") || len(posted) > 0 || len(box.take()) > 0 {
		t.Errorf("%d posts, left: %s", len(posted), left[0])
	}
}
