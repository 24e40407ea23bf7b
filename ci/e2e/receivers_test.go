package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where receivers that are not Postfix listen.
const (
	chasquidHost  = "127.0.0.8"
	opensmtpdHost = "127.0.0.9"
	behindHost    = "127.0.0.10" // the sink that OpenSMTPD gives its mail to
)

// receiver is a mail server of others that takes mail for some domains.
type receiver struct {
	name, host string
	taken      func() int // messages so far
}

// boxFor makes a maildir for a user.
func boxFor(t *testing.T, dir string, user int) *maildir {
	t.Helper()
	m := &maildir{dir: filepath.Join(dir, "box")}
	for _, sub := range []string{"", "cur", "new", "tmp"} {
		path := filepath.Join(m.dir, sub)
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, user, user); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// background runs a server until the test ends, and shows what it said when that failed.
func background(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	out, err := os.Create(filepath.Join(place(t), "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if out.Close(); t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s:\n%s", path, tail(string(text), 30))
		}
	})
	if !within(startWait, func() bool { return answers(addr) }) {
		t.Fatalf("%s does not answer at %s", path, addr)
	}
}

// unpacked gives the path of a program that run.sh unpacked.
func unpacked(t *testing.T, path string) string {
	t.Helper()
	path = filepath.Join(top(), path)
	if _, err := os.Stat(path); err != nil {
		lacking(t, "run.sh could not get it: ", err)
	}
	return path
}

// startEximTLS starts Exim, which reads its key as its own user.
func startEximTLS(t *testing.T, cert, key string, _ []string) *receiver {
	own := filepath.Join(place(t), "key")
	command(t, "install", "-m", "600", "-o", "7004", "-g", "7004", key, own)
	e := startExim(t, "tls_advertise_hosts = *", "tls_certificate = "+cert, "tls_privatekey = "+own)
	n := 0
	return &receiver{"exim", "127.0.0.5", func() int { n += len(e.box.take()); return n }}
}

// startChasquid starts chasquid, whose users are aliases of a command.
func startChasquid(t *testing.T, cert, key string, domains []string) *receiver {
	t.Helper()
	path := unpacked(t, "chasquid/usr/bin/chasquid")
	dir := place(t)
	box := boxFor(t, dir, 0)
	deliver := write(t, filepath.Join(dir, "deliver"), "#!/bin/sh\nf=$(mktemp "+box.dir+"/tmp/XXXXXXXX) && cat > $f && mv $f "+box.dir+"/new/\n")
	if err := os.Chmod(deliver, 0o755); err != nil {
		t.Fatal(err)
	}
	certs := filepath.Join(dir, "certs/mx.chasquid.test")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	command(t, "cp", cert, filepath.Join(certs, "fullchain.pem"))
	command(t, "cp", key, filepath.Join(certs, "privkey.pem"))
	for _, d := range domains {
		if err := os.MkdirAll(filepath.Join(dir, "domains", d), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "domains", d, "aliases"), "u: | "+deliver+"\n")
	}
	write(t, filepath.Join(dir, "chasquid.conf"), fmt.Sprintf(`hostname: "mx.chasquid.test"
smtp_address: "%[2]s:25"
submission_address: "%[2]s:587"
submission_over_tls_address: "%[2]s:465"
mail_delivery_agent_bin: "/bin/false"
data_dir: "%[1]s/data"
mail_log_path: "%[1]s/mail.log"
`, dir, chasquidHost))
	background(t, chasquidHost+":25", path, "-config_dir="+dir)
	n := 0
	return &receiver{"chasquid", chasquidHost, func() int { n += len(box.take()); return n }}
}

// startOpenSMTPD starts OpenSMTPD in a root of its own, which run.sh made. It relays what it takes to a sink.
func startOpenSMTPD(t *testing.T, cert, key string, domains []string) *receiver {
	t.Helper()
	unpacked(t, "opensmtpd/usr/sbin/smtpd")
	root := filepath.Join(top(), "opensmtpd")
	for _, d := range []string{"/var/lib/opensmtpd/empty", "/var/spool/smtpd", "/var/run", "/run"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o711); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"/etc", "/dev"} {
		command(t, "mount", "--bind", d, root+d)
		t.Cleanup(func() { command(t, "umount", "-l", root+d) })
	}
	command(t, "install", "-m", "644", cert, filepath.Join(root, "tmp/cert"))
	command(t, "install", "-m", "600", key, filepath.Join(root, "tmp/key"))
	write(t, filepath.Join(root, "tmp/smtpd.conf"), fmt.Sprintf(`pki mx.opensmtpd.test cert "/tmp/cert"
pki mx.opensmtpd.test key "/tmp/key"
listen on %s hostname mx.opensmtpd.test tls pki mx.opensmtpd.test
action "in" relay host smtp://%s
match from any for domain { %s } action "in"
`, opensmtpdHost, behindHost, strings.Join(domains, ", ")))
	behind := startSink(t, behindHost+":25", nil)
	background(t, opensmtpdHost+":25", "/usr/sbin/chroot", root, "/usr/sbin/smtpd", "-d", "-f", "/tmp/smtpd.conf")
	n := 0
	return &receiver{"opensmtpd", opensmtpdHost, func() int { n += len(behind.take()); return n }}
}

// receiverCases are what is tried with each receiver R, which has a certificate for *.dane.test.
var receiverCases = []policyCase{
	{domain: "right-R.dane.test", want: ok, logged: "policy=dane host=mx-right-R.dane.test"},
	{domain: "sha512-R.dane.test", want: ok, logged: "policy=dane host=mx-sha512-R.dane.test"},
	{domain: "anchor-R.dane.test", want: ok, logged: "policy=dane host=mx-anchor-R.dane.test"},
	{domain: "wrong-R.dane.test", want: "DANE: TLS handshake failed: certificate not valid: certificate matches none of"},
	{domain: "none-R.dane.test", want: ok, logged: "policy=none host=mx-none-R.dane.test"},
	{domain: "bogus-R.dane.test", want: "DANE: TLS policy unknown: TLSA records of bogus-R.dane.test"},
	{domain: "sts-R.plain.test", want: ok, logged: "policy=mta-sts host=mx-none-R.dane.test"},
	{domain: "stsname-R.plain.test", want: "MTA-STS: TLS handshake failed: certificate not valid"},
	{domain: "stsother-R.plain.test", want: "MTA-STS: server is not one of those that the policy names"},
	{domain: "tls-R.plain.test", relay: "tls", want: ok},
	{domain: "tlsname-R.plain.test", relay: "tls", want: notValid},
}

const notValid = "certificate not valid"

const receiverDANE = `
right-R MX 10 mx-right-R
mx-right-R A HOST
_25._tcp.mx-right-R EE
sha512-R MX 10 mx-sha512-R
mx-sha512-R A HOST
_25._tcp.mx-sha512-R SHA512
anchor-R MX 10 mx-anchor-R
mx-anchor-R A HOST
_25._tcp.mx-anchor-R ANCHOR
wrong-R MX 10 mx-wrong-R
mx-wrong-R A HOST
_25._tcp.mx-wrong-R WRONG
none-R MX 10 mx-none-R
mx-none-R A HOST
bogus-R A HOST
_25._tcp.bogus-R EE
mx.deep-R A HOST
`

const receiverPlain = `
sts-R MX 10 mx-none-R.dane.test.
stsname-R MX 10 mx.deep-R.dane.test.
stsother-R MX 10 mx-none-R.dane.test.
tls-R MX 10 mx-none-R.dane.test.
tlsname-R MX 10 mx.deep-R.dane.test.
`

// TestReceivers relays by the policies of domains to mail servers other than Postfix, with right,
// wrong, missing and bogus records and right and wrong names.
func TestReceivers(t *testing.T) {
	for _, r := range []struct {
		name, host string
		start      func(t *testing.T, cert, key string, domains []string) *receiver
	}{
		{"exim", "127.0.0.5", startEximTLS},
		{"chasquid", chasquidHost, startChasquid},
		{"opensmtpd", opensmtpdHost, startOpenSMTPD},
	} {
		t.Run(r.name, func(t *testing.T) {
			ca := newAuthority(t)
			ca.trustedBySystem()
			cert, key := ca.issue(ca.dir, "*.dane.test")
			chain := filepath.Join(ca.dir, "chain.pem")
			command(t, "sh", "-c", `cat "$0" "$1" > "$2"`, cert, ca.cert, chain)
			var cases []policyCase
			var domains []string
			named := strings.NewReplacer("-R", "-"+r.name)
			good := 0
			for _, c := range receiverCases {
				c.domain, c.want, c.logged = named.Replace(c.domain), named.Replace(c.want), named.Replace(c.logged)
				cases, domains = append(cases, c), append(domains, c.domain)
				if c.want == ok {
					good++
				}
			}
			zone := strings.NewReplacer("-R", "-"+r.name, "HOST", r.host, "EE", tlsa(t, chain, 3, 1, 1), "SHA512", tlsa(t, chain, 3, 0, 2),
				"ANCHOR", tlsa(t, ca.cert, 2, 1, 1), "WRONG", tlsa(t, ca.cert, 3, 1, 1))
			plain := zone.Replace(receiverPlain)
			files := make(map[string]policyFile)
			for name, mx := range map[string]string{"sts-": "*.dane.test", "stsname-": "*.deep-" + r.name + ".dane.test", "stsother-": "x.test"} {
				name += r.name
				files[name+".plain.test"] = policyFile{text: policyText("enforce", mx)}
				plain += fmt.Sprintf("mta-sts.%[1]s A %[2]s\n_mta-sts.%[1]s TXT \"v=STSv1; id=1;\"\n", name, stsHost)
			}
			startSigned(t, zone.Replace(receiverDANE), plain)
			startPolicies(t, ca, files)
			server := r.start(t, chain, key, domains)
			runPolicies(t, "mta dane\nmta sts", cases)
			if n := 0; !within(startWait, func() bool { n = server.taken(); return n >= good }) || n > good {
				t.Errorf("%s has %d messages, want %d", r.name, n, good)
			}
		})
	}
}
