package e2e

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startSigned starts a validating name server, Unbound, for the zones dane.test, which is
// signed, and plain.test, which is not. TLSA records of servers whose name begins with "bogus",
// and the address of bogus-addr, are changed after they were signed.
func startSigned(t *testing.T, signed, plain string) {
	t.Helper()
	dir := place(t)
	const head = "@ SOA ns root 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n"
	write(t, filepath.Join(dir, "dane.test"), "$ORIGIN dane.test.\n$TTL 60\n"+head+signed)
	write(t, filepath.Join(dir, "plain.test"), "$ORIGIN plain.test.\n$TTL 60\n"+head+plain)
	sign := `cd "$0" && ksk=$(ldns-keygen -a ECDSAP256SHA256 -k dane.test) && zsk=$(ldns-keygen -a ECDSAP256SHA256 dane.test) &&
		ldns-signzone dane.test "$ksk" "$zsk" && mv "$ksk.key" anchor &&
		sed -i -E '/^_25._tcp.bogus/s/(TLSA\t. . .) ..../\1 0bad/; /^bogus-addr/s/A\t127.0.0.2/A\t127.0.0.66/' dane.test.signed`
	command(t, "sh", "-c", sign, dir)
	conf := write(t, filepath.Join(dir, "unbound.conf"), fmt.Sprintf(`server:
	interface: 127.0.0.1
	do-daemonize: no
	do-ip6: no
	username: ""
	chroot: ""
	directory: "%[1]s"
	pidfile: ""
	use-syslog: no
	logfile: "%[1]s/log"
	val-log-level: 2
	module-config: "validator iterator"
	trust-anchor-file: "%[1]s/anchor"
	local-zone: "test." nodefault
auth-zone:
	name: "dane.test"
	zonefile: "%[1]s/dane.test.signed"
	for-downstream: no
	for-upstream: yes
	fallback-enabled: no
auth-zone:
	name: "plain.test"
	zonefile: "%[1]s/plain.test"
	for-downstream: no
	for-upstream: yes
	fallback-enabled: no
`, dir))
	cmd := exec.Command("unbound", "-d", "-p", "-c", conf)
	out := new(strings.Builder)
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("Unbound: %s\n%s", out, tail(string(log), 30))
		}
	})
	eventually(t, startWait, "Unbound validates", func() bool {
		text, _ := exec.Command("drill", "-D", "@127.0.0.1", "ns.dane.test").Output()
		return strings.Contains(string(text), " ad ") || strings.Contains(string(text), " ad;")
	})
}

// tlsa gives the fields of a TLSA record of the certificate in a file.
func tlsa(t *testing.T, file string, usage, selector, matching int) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	data := cert.Raw
	if selector == 1 {
		data = cert.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return fmt.Sprintf("TLSA %d %d %d %x", usage, selector, matching, data)
}

// trustedBySystem makes the authority one of those of the system for as long as the test runs.
func (a *authority) trustedBySystem() {
	a.t.Helper()
	const system = "/etc/ssl/certs/ca-certificates.crt"
	before, err := os.ReadFile(system)
	if err != nil && !os.IsNotExist(err) {
		a.t.Fatal(err)
	}
	own, err := os.ReadFile(a.cert)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(system), 0o755); err != nil {
		a.t.Fatal(err)
	}
	write(a.t, system, string(before)+"\n"+string(own))
	a.t.Cleanup(func() { _ = os.WriteFile(system, before, 0o644) })
}
