package e2e

import (
	"encoding/csv"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// proxiedConf has listeners behind a proxy. Only mail of one client is taken.
const proxiedConf = `
pki mx.godwit.test cert "CERT" key "KEY"
listen on 127.0.0.1
listen on 127.0.0.1 port 2501 proxy-v2 tls pki mx.godwit.test
listen on 127.0.0.1 port 2502 smtps proxy-v2 pki mx.godwit.test
action "local" maildir
match from src "127.0.0.9" for domain "godwit.test" action "local"
`

// haproxyConf passes connections on with each version of the protocol, and asks the servers
// with it whether they are alive.
const haproxyConf = `
global
	stats socket DIR/haproxy.sock mode 600
defaults
	mode tcp
	timeout connect 5s
	timeout client 30s
	timeout server 30s
	timeout check 5s
listen one
	bind 127.0.0.8:25
	option smtpchk EHLO haproxy.test
	server mx 127.0.0.1:2501 send-proxy check check-send-proxy inter 200
listen two
	bind 127.0.0.8:26
	option smtpchk EHLO haproxy.test
	server mx 127.0.0.1:2501 send-proxy-v2 check check-send-proxy inter 200
listen secure
	bind 127.0.0.8:465
	server mx 127.0.0.1:2502 send-proxy-v2 check inter 200
listen none
	bind 127.0.0.8:27
	server mx 127.0.0.1:2501
`

// startHAProxy starts it and gives the function that asks it what it thinks of its servers.
func startHAProxy(t *testing.T, dir string) func(name string) string {
	t.Helper()
	conf := write(t, filepath.Join(dir, "haproxy.cfg"), strings.ReplaceAll(haproxyConf, "DIR", dir))
	cmd := exec.Command("haproxy", "-db", "-f", conf)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("HAProxy:\n%s", said.String())
		}
	})
	ask := func(name string) string { return haproxyStatus(filepath.Join(dir, "haproxy.sock"), name) }
	eventually(t, startWait, "HAProxy has asked its servers", func() bool {
		return strings.HasPrefix(ask("one"), "L7") && strings.HasPrefix(ask("two"), "L7")
	})
	return ask
}

// haproxyStatus gives the result of the last check, such as L7OK.
func haproxyStatus(socket, name string) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(talkWait))
	_, _ = io.WriteString(conn, "show stat\n")
	rows, err := csv.NewReader(conn).ReadAll()
	if err != nil || len(rows) == 0 {
		return ""
	}
	for _, row := range rows[1:] {
		if row[0] != name || row[1] != "mx" {
			continue
		}
		for i, column := range rows[0] {
			if column == "check_status" {
				return strings.TrimPrefix(row[i], "* ") // a check is under way
			}
		}
	}
	return ""
}

// TestHAProxy: mail that comes through a proxy that many run.
func TestHAProxy(t *testing.T) {
	startDNS(t)
	ca := newAuthority(t)
	cert, key := ca.issue(ca.dir, "mx.godwit.test")
	d := start(t, strings.NewReplacer("CERT", cert, "KEY", key).Replace(proxiedConf))
	status := startHAProxy(t, d.dir)
	for _, name := range []string{"one", "two"} {
		if got := status(name); got != "L7OK" {
			t.Errorf("HAProxy on server %s: %s", name, got)
		}
	}
	box := newMaildir("alice")
	args := []string{"--silent", "3", "--from", tester, "--to", "alice@godwit.test", "--local-interface", "127.0.0.9"}
	for name, more := range map[string][]string{
		"version 1":          {"--server", "127.0.0.8:25"},
		"version 2":          {"--server", "127.0.0.8:26"},
		"version 1 and TLS":  {"--server", "127.0.0.8:25", "--tls"},
		"version 2 and TLS":  {"--server", "127.0.0.8:26", "--tls"},
		"version 2 on smtps": {"--server", "127.0.0.8:465", "--tls-on-connect"},
	} {
		t.Run(name, func(t *testing.T) {
			command(t, "swaks", append(args, more...)...)
			header, _ := split(box.wait(t, 1, startWait)[0])
			if got := field(header, "Received"); !strings.Contains(got, "[127.0.0.9])") {
				t.Errorf("Received: %s", got)
			}
		})
	}
	d.waitLog("smtp connected address=127.0.0.9 ")
	d.waitLog("smtp event=proxy address=127.0.0.1 version=1")
	d.waitLog("smtp event=proxy address=127.0.0.1 version=2")

	// The rule is about the client, not about the proxy.
	other := append([]string{}, args[:len(args)-1]...)
	out, err := exec.Command("swaks", append(other, "127.0.0.10", "--server", "127.0.0.8:26")...).CombinedOutput()
	if err == nil {
		t.Errorf("mail of another client is taken:\n%s", out)
	}
	// A proxy that does not say it gets nothing at all.
	conn, err := net.Dial("tcp", "127.0.0.8:27")
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, conn)
	c.send("EHLO client.test\r\n")
	if got, err := c.read(); err == nil || got != "" {
		t.Errorf("a connection without a header is answered: %q", got)
	}
	d.waitLog("smtp event=closed address=127.0.0.1", "no header of the PROXY protocol")
}
