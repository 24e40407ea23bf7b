package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// smtpctlAs runs smtpctl by another name, as its links do.
func (d *daemon) smtpctlAs(name string, args ...string) string {
	d.t.Helper()
	cmd := exec.Command(program("smtpctl"), args...)
	cmd.Args[0] = name
	cmd.Env = append(os.Environ(), "SMTPD_SOCKET="+d.sock)
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// expectRcpt checks replies: address, a blank, the beginning of the reply.
func expectRcpt(t *testing.T, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		addr, reply, _ := strings.Cut(w, " ")
		if got := rcpt(t, addr); !strings.HasPrefix(got, reply) {
			t.Errorf("%s: %s, want %s", addr, got, reply)
		}
	}
}

// TestTablesInFiles: files and databases that only root can read are served; when they
// change, they are read again without anybody asking for it; after a mistake the old
// contents stay. Postfix's databases are read as well.
func TestTablesInFiles(t *testing.T) {
	d := newDaemon(t, `
listen on 127.0.0.1
table aliases db:DIR/secret/aliases.db
table lines file:DIR/secret/lines
table hash db:DIR/secret/hash.db
table btree db:DIR/secret/btree.db
action aliases maildir alias <aliases>
action lines maildir virtual <lines>
action hash maildir virtual <hash>
action btree maildir virtual <btree>
match from any for domain aliases.test action aliases
match from any for domain lines.test action lines
match from any for domain hash.test action hash
match from any for domain btree.test action btree
`)
	secret := filepath.Join(d.dir, "secret")
	path := func(name string) string { return filepath.Join(secret, name) }
	if err := os.Mkdir(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"aliases": "one: alice\n", "lines": "one@lines.test: alice\n",
		"hash": "one@hash.test alice\n", "btree": "one@btree.test alice\n"} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, format := range []string{"hash", "btree"} {
		command(t, "postmap", format+":"+path(format))
	}
	if out := d.smtpctlAs("newaliases", "-f", d.conf); !strings.Contains(out, path("aliases")+": 1 aliases\n") ||
		!strings.Contains(out, "it reads its tables when it starts") {
		t.Errorf("newaliases without a server: %s", out)
	}
	d.start()
	expectRcpt(t, "one@aliases.test 250", "two@aliases.test 550", "one@lines.test 250", "two@lines.test 5",
		"one@hash.test 250", "two@hash.test 5", "one@btree.test 250", "two@btree.test 5")

	write(t, path("aliases"), "one: alice\ntwo: bob\n")
	if out := d.smtpctlAs("newaliases", "-f", d.conf); !strings.HasSuffix(out, ": 2 aliases\ncommand succeeded\n") {
		t.Errorf("newaliases: %s", out)
	}
	expectRcpt(t, "one@aliases.test 250", "two@aliases.test 250")

	write(t, path("lines"), "one@lines.test: alice\ntwo@lines.test: bob\n")
	write(t, path("hash"), "one@hash.test alice\ntwo@hash.test bob\n")
	d.smtpctlAs("makemap", path("hash"))
	for _, addr := range []string{"two@lines.test", "two@hash.test"} {
		eventually(t, startWait, addr+" is known", func() bool { return strings.HasPrefix(rcpt(t, addr), "250") })
	}
	write(t, path("lines"), "one@lines.test: alice\nbroken\n")
	eventually(t, startWait, "the mistake is logged", func() bool {
		rcpt(t, "two@lines.test")
		return d.line(`table "lines" keeps its old contents: `+path("lines")+":2: invalid map entry") != ""
	})
	expectRcpt(t, "two@lines.test 250")
	if out, err := d.ctl("update", "table", "lines"); err == nil {
		t.Errorf("update table takes a mistake: %s", out)
	}
}
