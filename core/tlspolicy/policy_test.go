package tlspolicy

import (
	"crypto/tls"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"testing"
)

func TestProtocols(t *testing.T) {
	const v10, v11, v12, v13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	for _, tt := range []struct {
		in       string
		min, max uint16
		wrong    string
	}{
		{"tlsv1.2,tlsv1.3", v12, v13, ""}, {"tlsv1.3:tlsv1.2", v12, v13, ""}, {"TLSv1.3", v13, v13, ""}, {"tlsv1.2", v12, v12, ""},
		{"secure", v12, v13, ""}, {"default", v12, v13, ""}, {"all", v12, v13, ""}, {"legacy", v12, v13, ""}, {"tlsv1", v12, v13, ""},
		{"tlsv1.0, tlsv1.1, tlsv1.2", v10, v12, ""}, {"tlsv1.1,secure", v11, v13, ""},
		{"!tlsv1.2", v13, v13, ""}, {"all,!tlsv1.3", v12, v12, ""}, {"!tlsv1.1", v12, v13, ""},
		{"tlsv1.0,tlsv1.2", 0, 0, "cannot be left out"}, {"tlsv1.1,tlsv1.3", 0, 0, "cannot be left out"},
		{"!all", 0, 0, "no version"}, {"tlsv1.2,!tlsv1.2", 0, 0, "no version"}, {",", 0, 0, "no version"}, {" ", 0, 0, "unknown word"},
		{"tlsv1.4", 0, 0, `unknown word "tlsv1.4"`}, {"sslv3", 0, 0, "unknown word"}, {"tlsv1.2 tlsv1.3", 0, 0, "unknown word"},
	} {
		p, err := Parse(tt.in, "")
		if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) || p.min != tt.min || p.max != tt.max {
			t.Errorf("%q: %x to %x, %v", tt.in, p.min, p.max, err)
		}
	}
}

// names gives what a policy allows by OpenSSL's names.
func names(p Policy) string {
	var out []string
	for _, s := range suites() {
		if slices.Contains(p.suites, s.id) {
			out = append(out, s.name)
		}
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

func TestCiphers(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
		{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"},
		{"DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-CHACHA20-POLY1305,CAMELLIA256-SHA DHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"},
		{"AESGCM+ECDHE+aRSA", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384"},
		{"TLSv1.3:TLSv1.2+AEAD+ECDHE:TLSv1.2+AEAD+DHE:!ECDSA", "ECDHE-RSA-AES128-GCM-SHA256 ECDHE-RSA-AES256-GCM-SHA384 ECDHE-RSA-CHACHA20-POLY1305"},
		{"kRSA:-AES128:!SHA1:AES128-SHA:!SHA256:+HIGH:@STRENGTH:@SECLEVEL=1", "AES256-GCM-SHA384"},
		{"kRSA+AES:-AES:AES128-SHA", "AES128-SHA"},
		{"!AES:AES256-SHA:RC4-SHA:DES-CBC3-SHA", "DES-CBC3-SHA RC4-SHA"},
		{"high:!anull:!ecdhe:!3des", "AES128-GCM-SHA256 AES128-SHA AES128-SHA256 AES256-GCM-SHA384 AES256-SHA"},
		{"MEDIUM:!ECDHE", "DES-CBC3-SHA RC4-SHA"},
		{"TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"},
	} {
		p, err := Parse("", tt.in)
		if got := names(p); err != nil || got != tt.want {
			t.Errorf("%q: %s, %v, want %s", tt.in, got, err, tt.want)
		}
	}
	for _, word := range []string{"default", "secure", "compat"} {
		if p, err := Parse("", word); err != nil || names(p) != names(must(t, "HIGH:!aNULL")) {
			t.Errorf("%q: %s, %v", word, names(p), err)
		}
	}
	if legacy, all := names(must(t, "legacy")), names(must(t, "all")); legacy != all || !strings.Contains(all, "RC4-SHA") {
		t.Errorf("legacy %s, all %s", legacy, all)
	}
}

func must(t *testing.T, ciphers string) Policy {
	p, err := Parse("", ciphers)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBadCiphers(t *testing.T) {
	for in, want := range map[string]string{
		"HIHG": `unknown word "HIHG"`, "HIGH:!aNUL": `unknown word "aNUL"`, "HIGH:ECDHE-RSA-AES128-GCM-SHA25": "unknown word", "!": "unknown word",
		"@STRONG": "unknown command", "DHE-RSA-AES256-SHA": "none that can be used", "!HIGH": "none that can be used", ":": "none that can be used",
		"HIGH:!ALL": "none that can be used", strings.Repeat("HIGH:", maxWords+1): "more than 200 words", "HIGH+": "unknown word",
	} {
		if p, err := Parse("", in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %s, %v, want %s", in, names(p), err, want)
		}
	}
	if _, err := Parse("tlsv1.2", "TLS_AES_128_GCM_SHA256"); err == nil || !strings.Contains(err.Error(), "excludes") {
		t.Errorf("suites of TLS 1.3 with TLS 1.2: %v", err)
	}
}

func TestApply(t *testing.T) {
	for _, tt := range []struct {
		protocols, ciphers string
		min, max           uint16
		suites             int
	}{
		{"", "", tls.VersionTLS12, 0, 0},
		{"tlsv1.1,tlsv1.2", "AES128-SHA", tls.VersionTLS11, tls.VersionTLS12, 1},
		{"", "AES128-SHA:ECDHE-RSA-AES128-SHA", tls.VersionTLS12, 0, 2},
		{"", "AEAD-AES128-GCM-SHA256", tls.VersionTLS13, 0, 0},
		{"secure", "TLSv1.3", tls.VersionTLS13, tls.VersionTLS13, 0},
	} {
		p, err := Parse(tt.protocols, tt.ciphers)
		if err != nil {
			t.Fatal(err)
		}
		var c tls.Config
		p.Apply(&c)
		if c.MinVersion != tt.min || c.MaxVersion != tt.max || len(c.CipherSuites) != tt.suites {
			t.Errorf("%q %q: %x to %x, %d suites", tt.protocols, tt.ciphers, c.MinVersion, c.MaxVersion, len(c.CipherSuites))
		}
	}
}

// Where OpenSSL is installed, a list chooses the same of the suites that both have.
func TestCiphersOfOpenSSL(t *testing.T) {
	openssl := func(list string) ([]string, bool) {
		out, err := exec.Command("openssl", "ciphers", "-tls1_2", list+":@SECLEVEL=0").Output()
		return strings.Split(strings.TrimSpace(string(out)), ":"), err == nil
	}
	common, ok := openssl("ALL")
	if !ok {
		t.Skip("there is no openssl(1)")
	}
	for _, list := range []string{"ALL", "HIGH", "HIGH:!aNULL:!MD5", "MEDIUM:HIGH", "kRSA", "RSA", "aRSA", "ECDHE", "kEECDH+AESGCM", "ECDSA", "AES128", "AES256:!SHA",
		"AESGCM:CHACHA20", "SHA1+HIGH", "SHA256", "SHA384:SHA256", "TLSv1.2", "TLSv1", "SSLv3", "DEFAULT", "HIGH:-AES128:ECDHE-RSA-AES128-SHA:!kRSA",
		"EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH", "ALL:!EXP:!LOW:!SSLv2:!RC4", "CHACHA20", "FIPS:!CAMELLIA"} {
		theirs, ok := openssl(list)
		p, err := Parse("", list)
		if !ok || err != nil {
			t.Errorf("%q: openssl %t, %v", list, ok, err)
			continue
		}
		for _, s := range suites() {
			if slices.Contains(common, s.name) && slices.Contains(theirs, s.name) != slices.Contains(p.suites, s.id) {
				t.Errorf("%q: %s: openssl has it: %t", list, s.name, slices.Contains(theirs, s.name))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"HIGH:!aNULL", "tlsv1.2,!tlsv1.3", "AESGCM+ECDHE@STRENGTH", "secure", "TLS_AES_256_GCM_SHA384"} {
		f.Add(s, s)
	}
	f.Add("tlsv1.2", "AES128-SHA")
	f.Fuzz(func(t *testing.T, protocols, ciphers string) {
		p, err := Parse(protocols, ciphers)
		if err != nil {
			return
		}
		if p.min != 0 && p.max != 0 && p.min > p.max {
			t.Errorf("%q %q: from %x to %x", protocols, ciphers, p.min, p.max)
		}
		if ciphers != "" && len(p.suites) == 0 && p.min != tls.VersionTLS13 {
			t.Errorf("%q: nothing is left", ciphers)
		}
	})
}
