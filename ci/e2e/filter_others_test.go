package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/godwit-mta/godwit/ci/e2e/testdns"
)

// otherFilter gives the command of a filter that others made for OpenSMTPD. run.sh has unpacked them.
func otherFilter(t *testing.T, name, args string) string {
	t.Helper()
	root := filepath.Join(top(), name)
	path := filepath.Join(root, "usr/libexec/opensmtpd/filter-"+name)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("run.sh could not get it: %v", err)
	}
	libs, _ := filepath.Glob(filepath.Join(top(), "libopensmtpd", "usr/lib/*"))
	return fmt.Sprintf("/usr/bin/env LD_LIBRARY_PATH=%s %s %s", strings.Join(libs, ":"), path, args)
}

// dkimVerify reads a message and checks its signature with the key in its argument.
const dkimVerify = `
import sys, dkim
record = b"v=DKIM1; k=rsa; p=" + open(sys.argv[1], "rb").read().replace(b"\n", b"")
text = sys.stdin.buffer.read().replace(b"\n", b"\r\n")
sys.exit(0 if dkim.verify(text, dnsfunc=lambda name, timeout=5: record) else 1)
`

// TestFilterDKIM: what filter-dkimsign signs is what is delivered: nothing that is signed is
// changed after it, for small messages and large ones.
func TestFilterDKIM(t *testing.T) {
	d := newDaemon(t, "filter sign proc-exec \""+otherFilter(t, "dkimsign", "-d client.test -s sel -k DIR/key.pem")+"\"\n"+
		"listen on 127.0.0.1 filter sign\naction a maildir\nmatch from any for domain godwit.test action a\n")
	key := filepath.Join(d.dir, "key.pem")
	command(t, "openssl", "genrsa", "-out", key, "2048")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	public := command(t, "openssl", "rsa", "-in", key, "-pubout")
	var lines []string
	for l := range strings.Lines(public) {
		if !strings.HasPrefix(l, "-") && !strings.HasPrefix(l, "writing") {
			lines = append(lines, l)
		}
	}
	write(t, filepath.Join(d.dir, "public"), strings.Join(lines, ""))
	d.start()
	for name, body := range map[string]string{"small": "hello\n..dot\n\n", "large": strings.Repeat("0123456789 and so on\n", 100000)} {
		submit(t, tester, "alice@godwit.test", "From: <"+tester+">\nSubject: "+name+"\n\n"+body)
		d.drained(startWait)
		text := newMaildir("alice").wait(t, 1, startWait)[0]
		_, text, _ = bytes.Cut(text, []byte("Delivered-To: alice@godwit.test\n"))
		if !bytes.Contains(text, []byte("DKIM-Signature: ")) {
			t.Fatalf("%s: not signed: %.500q", name, text)
		}
		cmd := exec.Command(python, "-c", dkimVerify, filepath.Join(d.dir, "public"))
		cmd.Stdin = bytes.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: the signature is not valid: %v %s\n%.800s", name, err, out, text)
		}
	}
}

// TestFilterRspamd: what rspamd, of which there is only the answer here, says comes to the client and
// into the message.
func TestFilterRspamd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:11333")
	if err != nil {
		t.Fatal(err)
	}
	var answer atomic.Value
	var asked atomic.Int64
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked.Add(1)
		_, _ = io.WriteString(w, answer.Load().(string))
	})}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	d := start(t, "filter rspamd proc-exec \""+otherFilter(t, "rspamd", "")+"\"\n"+
		"listen on 127.0.0.1 filter rspamd\naction a maildir\nmatch from any for domain godwit.test action a\n")
	for _, c := range []struct{ said, code, has string }{
		{`{"score":0,"required_score":15,"action":"no action","symbols":{}}`, "", "Subject: x"},
		{`{"score":7,"required_score":15,"action":"add header","symbols":{"S":{"score":7}}}`, "", "X-Spam: yes"},
		{`{"score":8,"required_score":15,"action":"rewrite subject","subject":"***SPAM***","symbols":{}}`, "", "Subject: ***SPAM***"},
		{`{"score":20,"required_score":15,"action":"reject","symbols":{}}`, "550", ""},
		{`{"score":9,"required_score":15,"action":"soft reject","symbols":{}}`, "451", ""},
	} {
		answer.Store(c.said)
		before := asked.Load()
		verb, got := tryMail(t)
		if !strings.HasPrefix(got, c.code) || (verb == "") != (c.code == "") || asked.Load() != before+1 {
			t.Errorf("%s: %s %s", c.said, verb, got)
		}
		if c.code != "" {
			continue
		}
		d.drained(startWait)
		if text := string(newMaildir("alice").wait(t, 1, startWait)[0]); !strings.Contains(text, c.has) {
			t.Errorf("%s: no %q in %q", c.said, c.has, text)
		}
	}
}

// TestFilterSenderscore: a filter that asks the DNS refuses clients of ill repute.
func TestFilterSenderscore(t *testing.T) {
	dns, err := testdns.Start("127.0.0.1:53", "2.0.0.127.score.senderscore.com. A 127.0.4.10\n3.0.0.127.score.senderscore.com. A 127.0.4.99\n")
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	start(t, "filter score proc-exec \""+otherFilter(t, "senderscore", "-blockBelow 50 -blockPhase connect")+"\"\n"+
		"listen on 127.0.0.1 filter score\naction a maildir\nmatch from any for domain godwit.test action a\n")
	for from, want := range map[string]string{"127.0.0.2": "5", "127.0.0.3": "2"} {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).Dial("tcp", listen)
		if err != nil {
			t.Fatal(err)
		}
		line := newClient(t, conn).reply()
		if !strings.HasPrefix(line, want) {
			t.Errorf("%s: %s", from, line)
		}
		conn.Close()
	}
}
