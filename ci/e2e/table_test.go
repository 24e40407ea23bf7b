package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/compat/signals"
	"github.com/godwit-mta/godwit/compat/user"
)

// virtualTable is the file of a table in which the address joe@DOMAIN is alice.
func virtualTable(domain, mode string) string {
	return fmt.Sprintf("register alias\nregister domain\nmode %s\nentry alias joe@%s alice\nentry domain %s\n", mode, domain, domain)
}

// rcpt asks for one recipient in a session of its own.
func rcpt(t *testing.T, addr string) string {
	t.Helper()
	c := dial(t, listen)
	defer c.conn.Close()
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", tester)
	c.send("RCPT TO:<" + addr + ">\r\n")
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * startWait)) // longer than a program may think
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Errorf("%s: no reply: %v", addr, err)
	}
	return strings.TrimSpace(line)
}

// tablePrograms counts the running programs of tables.
func tablePrograms() int { return programsNamed(tableProgramName) }

func programsNamed(name string) int {
	n := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if exe, err := os.Readlink(dir + "/exe"); err == nil && filepath.Base(exe) == name {
			n++
		}
	}
	return n
}

// TestTableMisbehaves: whatever the program of a table does wrong, its recipients get a
// temporary error, all other tables go on, and after a restart the answers are right.
func TestTableMisbehaves(t *testing.T) {
	modes := append([]string{"noval", "error", "message"}, modesThatBreak...)
	conf := "listen on 127.0.0.1\ntable good test:DIR/good\n"
	rules := "action good maildir virtual <good>\nmatch from any for domain good.test action good\n"
	for _, m := range modes {
		conf += fmt.Sprintf("table %[1]s test:DIR/%[1]s\n", m)
		rules += fmt.Sprintf("action %[1]s maildir virtual <%[1]s>\nmatch from any for domain %[1]s.test action %[1]s\n", m)
	}
	d := newDaemon(t, conf+rules)
	for _, m := range append(modes, "good") {
		write(t, filepath.Join(d.dir, m), virtualTable(m+".test", m))
		once(t, filepath.Join(d.dir, m))
	}
	d.start()

	var wg sync.WaitGroup
	for _, m := range modes {
		wg.Go(func() {
			// The first of two answers may do.
			if got := rcpt(t, "joe@"+m+".test"); !strings.HasPrefix(got, "451 ") && (m != "dup" || !strings.HasPrefix(got, "250 ")) {
				t.Errorf("%s: %s", m, got)
			}
		})
	}
	if got := rcpt(t, "joe@good.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("another table: %s", got)
	}
	wg.Wait()
	for _, m := range modes {
		if breaks(m) {
			d.waitLog(fmt.Sprintf("info: table %q: the program was started again", m))
		}
		if got := rcpt(t, "joe@"+m+".test"); !strings.HasPrefix(got, "250") {
			t.Errorf("%s, afterwards: %s", m, got)
		}
	}
	for _, m := range []string{"noval", "error", "message", "good"} {
		if line := d.line(fmt.Sprintf("table %q", m), "starting it again"); line != "" {
			t.Error(line)
		}
	}
	d.waitLog(`table "die": program exited with status 1`)
	d.waitLog("table message: its program", `no database\x1b[2J today`)
	if got := rcpt(t, "joe@good.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("another table, in the end: %s", got)
	}
}

// once has the program of a table do something wrong one time. The program runs as another
// user, who removes the mark: so the directory is theirs.
func once(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, path+".once", "")
}

// TestTableSlow: a program that takes its time delays only who asks it.
func TestTableSlow(t *testing.T) {
	d := newDaemon(t, `
listen on 127.0.0.1
table slow test:DIR/slow
table good test:DIR/good
action slow maildir virtual <slow>
action good maildir virtual <good>
match from any for domain slow.test action slow
match from any for domain good.test action good
`)
	write(t, filepath.Join(d.dir, "slow"), virtualTable("slow.test", "hang"))
	write(t, filepath.Join(d.dir, "good"), virtualTable("good.test", "good"))
	d.start()
	once(t, filepath.Join(d.dir, "slow"))
	const n = 30
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got := rcpt(t, "joe@slow.test"); !strings.HasPrefix(got, "451") {
				t.Errorf("a table that hangs: %s", got)
			}
		})
	}
	answered := 0
	for end := time.Now().Add(2 * startWait); d.line("did not answer") == "" && time.Now().Before(end); {
		if got := rcpt(t, "joe@good.test"); !strings.HasPrefix(got, "250") {
			t.Errorf("meanwhile: %s", got)
		}
		answered++
	}
	if answered < n {
		t.Errorf("only %d others were answered while a table hung", answered)
	}
	wg.Wait()
}

// TestTableProgram: how the program is run, and that its answers are used.
func TestTableProgram(t *testing.T) {
	d := newDaemon(t, `
listen on 127.0.0.1
table t test:DIR/t
action "local" maildir virtual <t> userbase <t>
match from any mail-from <t> for domain <t> action "local"
`)
	path := write(t, filepath.Join(d.dir, "t"), "register alias\nregister domain\nregister mailaddr\nregister userinfo\n"+
		"entry alias joe|x@any.test al\nentry domain any.test\nentry mailaddr @godwit.test\nentry userinfo al 7011:7011:"+home("alice")+"\n")
	d.start()
	u, err := user.Lookup("_smtpd")
	if err != nil {
		t.Fatal(err)
	}
	d.waitLog(fmt.Sprintf(`table "t": argv=["t" %q] uid=%d gid=%d groups=[%[3]d] `, path, u.UID, u.GID))
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	if got := c.mail("bob@godwit.test", "joe|x@any.test", "Subject: program\n\nHello.\n"); !strings.HasPrefix(got, "250") {
		t.Fatal(got)
	}
	newMaildir("alice").wait(t, 1, startWait)
	c.ask("250", "MAIL FROM:<bob@elsewhere.test>")
	c.ask("550", "RCPT TO:<joe|x@any.test>")

	for _, tt := range []struct{ mode, want, log string }{
		{"ok", "command succeeded", `info: Table "t" successfully updated`},
		{"noupdate", "cannot now", `warn: table "t" not updated`},
	} {
		write(t, path, "mode "+tt.mode+"\n")
		if out, _ := d.ctl("update", "table", "t"); !strings.Contains(out, tt.want) {
			t.Errorf("update: %q", out)
		}
		d.waitLog(tt.log)
	}
	write(t, path, "register userinfo\nmode root\nentry alias joe@any.test ro\nentry domain any.test\nentry mailaddr @godwit.test\nentry userinfo ro 0:0:/root\n")
	if got := dialMail(t, "bob@godwit.test", "joe@any.test"); strings.HasPrefix(got, "250") {
		d.waitLog("not allowed to deliver to: ro")
	}
	d.stop()
	if n := tablePrograms(); n != 0 {
		t.Errorf("%d programs are left", n)
	}
}

// dialMail sends a message as far as it is taken and gives the last reply.
func dialMail(t *testing.T, from, to string) string {
	t.Helper()
	c := dial(t, listen)
	c.ask("250", "EHLO client.test")
	c.ask("250", "MAIL FROM:<%s>", from)
	if got := c.say("RCPT TO:<%s>", to); !strings.HasPrefix(got, "250") {
		return got
	}
	c.ask("354", "DATA")
	return c.say("Subject: x\r\n\r\nx\r\n.")
}

// TestTableRefused: a program that cannot be used is an error at start that says why.
func TestTableRefused(t *testing.T) {
	for file, want := range map[string]string{
		"register alias\nmode exit\n": `table "t": the program closed its output during the handshake`,
		"":                            `table "t": the program serves nothing`,
		"register nosuch\n":           `table "t": the program serves "nosuch", which does not exist`,
		"register userinfo\nregister mailaddrmap\n":    `table "t": its program does not serve alias, only userinfo, mailaddrmap`,
		"register alias\nregister userinfo\nmode ok\n": "",
	} {
		d := newDaemon(t, "table t test:DIR/t\nlisten on 127.0.0.1\naction \"local\" maildir virtual <t>\nmatch for any action \"local\"\n")
		write(t, filepath.Join(d.dir, "t"), file)
		if want == "" {
			d.start()
			d.stop()
		} else if got := d.refuses(); !strings.Contains(got, d.conf+":") || !strings.Contains(got, want) {
			t.Errorf("%q: %s", file, got)
		}
	}
	d := newDaemon(t, "table t nosuch:/etc/passwd\nlisten on 127.0.0.1\naction \"local\" maildir virtual <t>\nmatch for any action \"local\"\n")
	if got := d.refuses(); !strings.Contains(got, "there is no program "+filepath.Join(libexec(), "table-nosuch")) {
		t.Errorf("no program: %s", got)
	}
	if n := tablePrograms(); n != 0 {
		t.Errorf("%d programs are left", n)
	}
}

// TestTableReload: a reload starts the programs anew, sessions from before keep theirs, and
// one that cannot be started leaves everything as it is.
func TestTableReload(t *testing.T) {
	conf := "listen on 127.0.0.1\ntable t test:DIR/FILE\naction \"local\" maildir virtual <t>\nmatch from any for domain any.test action \"local\"\n"
	d := newDaemon(t, strings.ReplaceAll(conf, "FILE", "one"))
	conf = strings.ReplaceAll(conf, "DIR", d.dir)
	write(t, filepath.Join(d.dir, "one"), "register alias\nentry alias one@any.test alice\n")
	write(t, filepath.Join(d.dir, "two"), "register alias\nentry alias two@any.test alice\n")
	write(t, filepath.Join(d.dir, "bad"), "register nosuch\n")
	d.start()
	old := dial(t, listen)
	old.ask("250", "EHLO client.test")
	old.ask("250", "MAIL FROM:<%s>", tester)

	d.reload(strings.ReplaceAll(conf, "FILE", "bad"), "configuration not reloaded")
	d.waitLog(`serves "nosuch", which does not exist`)
	old.ask("250", "RCPT TO:<one@any.test>")
	d.reload(strings.ReplaceAll(conf, "FILE", "two"), "configuration reloaded")
	old.ask("250", "RCPT TO:<one@any.test>")
	if got := rcpt(t, "one@any.test"); !strings.HasPrefix(got, "524") {
		t.Errorf("a new session: %s", got)
	}
	if got := rcpt(t, "two@any.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("a new session: %s", got)
	}
	kill(mustFind(t, "lookup").pid) // everything starts again, the programs too
	d.waitLog("lost process")
	eventually(t, startWait, "answers", func() bool { return answers(listen) })
	if got := rcpt(t, "two@any.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("after lookup was killed: %s", got)
	}
	eventually(t, startWait, "one program", func() bool { return tablePrograms() == 1 })
}

func mustFind(t *testing.T, role string) proc {
	t.Helper()
	p, ok := find(role)
	if !ok {
		t.Fatalf("no %s", role)
	}
	return p
}

// TestTableStubborn: a program that does not want to end is killed.
func TestTableStubborn(t *testing.T) {
	d := newDaemon(t, "table t test:DIR/t\nlisten on 127.0.0.1\naction \"local\" maildir virtual <t>\nmatch for any action \"local\"\n")
	write(t, filepath.Join(d.dir, "t"), "register alias\nmode stubborn\n")
	d.start()
	d.signal(signals.Terminate)
	d.ended()
	if n := tablePrograms(); n != 0 {
		t.Errorf("%d programs are left", n)
	}
}

// TestTableOnlyForRoot: lookup may not read the file, the parent opens it, and no other.
func TestTableOnlyForRoot(t *testing.T) {
	d := newDaemon(t, `
table v file:DIR/v
listen on 127.0.0.1
action "local" maildir virtual <v>
match from any for domain any.test action "local"
`)
	path := write(t, filepath.Join(d.dir, "v"), "joe@any.test alice\n")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	d.start()
	if got := rcpt(t, "joe@any.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("joe: %s", got)
	}
	write(t, path, "jim@any.test alice\n")
	if out, err := d.ctl("update", "table", "v"); err != nil {
		t.Errorf("update: %s", out)
	}
	if got := rcpt(t, "jim@any.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("jim: %s", got)
	}
}

// libexec is where the daemon under test looks for programs.
func libexec() string { return filepath.Join(top(), "libexec") }

// TestRealTablePrograms: the table programs of the OpenSMTPD project, built from Debian's
// sources, unmodified.
func TestRealTablePrograms(t *testing.T) {
	for _, name := range []string{"table-passwd", "table-sqlite"} {
		if _, err := os.Stat(filepath.Join(libexec(), name)); err != nil {
			lacking(t, name, " could not be built: ", err)
		}
	}
	d := newDaemon(t, `
table users passwd:DIR/users
table sql sqlite:DIR/sqlite.conf
listen on 127.0.0.1
action "passwd" maildir userbase <users>
action "sql" maildir virtual <sql> userbase <sql>
match from any for domain passwd.test action "passwd"
match from any for domain <sql> action "sql"
`)
	write(t, filepath.Join(d.dir, "users"), "al:*:7011:7011::"+home("alice")+":/bin/sh\n")
	base := filepath.Join(d.dir, "base")
	cmd := exec.Command("sqlite3", base)
	cmd.Stdin = strings.NewReader(`
create table aliases(k, v); insert into aliases values('joe@sql.test', 'al, bo'), ('@all.sql.test', 'bo');
create table domains(k); insert into domains values('sql.test'), ('all.sql.test');
create table users(k, u, g, h);
insert into users values('al', 7011, 7011, '` + home("alice") + `'), ('bo', 7012, 7012, '` + home("bob") + `');
`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	write(t, filepath.Join(d.dir, "sqlite.conf"), "dbpath "+base+"\nquery_alias SELECT v FROM aliases WHERE k=?;\n"+
		"query_domain SELECT k FROM domains WHERE k=?;\nquery_userinfo SELECT u, g, h FROM users WHERE k=?;\n")
	d.start()
	for addr, want := range map[string]string{
		"al@passwd.test": "250", "no@passwd.test": "550", "joe@sql.test": "250", "joe+tag@sql.test": "250",
		"no@sql.test": "524", "x@all.sql.test": "250", "x@elsewhere.test": "550",
	} {
		if got := rcpt(t, addr); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	dialMail(t, tester, "al@passwd.test")
	newMaildir("alice").wait(t, 1, startWait)
	dialMail(t, tester, "joe@sql.test")
	newMaildir("alice").wait(t, 1, startWait)
	newMaildir("bob").wait(t, 1, startWait)
	for _, name := range []string{"users", "sql"} {
		if out, err := d.ctl("update", "table", name); err != nil {
			t.Errorf("update %s: %s", name, out)
		}
	}
}

// TestTableAuth: passwords are compared with what a program of others says, or by a program
// that does it itself and gets them as they were sent.
func TestTableAuth(t *testing.T) {
	ca := newAuthority(t)
	conf := filepath.Join(ca.dir, "users")
	plain := func(password string) string {
		return "AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00ann\x00"+password))
	}
	hash := strings.Fields(encrypt(t, "ann", "Ann|PW"))[1]
	for name, text := range map[string]string{
		"passwd": "ann:" + hash + ":7011:7011::" + home("alice") + ":/bin/sh\n",
		"test":   "register auth\nregister credentials\nentry auth ann:Ann|PW\n",
	} {
		if _, err := os.Stat(filepath.Join(libexec(), "table-"+name)); err != nil {
			t.Logf("no table-%s: %v", name, err)
			continue
		}
		d := startAuth(t, ca, name+":"+write(t, conf, text))
		c := dial(t, "127.0.0.1:587")
		c.ask("250", "EHLO client.test")
		c.startTLS(ca.client("mx.godwit.test"))
		c.ask("250", "EHLO client.test")
		c.ask("535", "%s", plain("wrong"))
		c.ask("535", "%s", plain("ann|pw"))
		c.ask("235", "%s", plain("Ann|PW"))
		c.ask("221", "QUIT")
		d.stop()
	}
}
