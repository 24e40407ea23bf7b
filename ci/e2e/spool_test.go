package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mount mounts a file system for the time of a test.
func mount(t *testing.T, target string, args ...string) {
	t.Helper()
	command(t, "mount", append(args, target)...)
	t.Cleanup(func() { command(t, "umount", "-l", target) })
}

// fill gives the daemon n messages for alice, with deliveries paused.
func (d *daemon) fill(n int) {
	d.t.Helper()
	for i := range n {
		submit(d.t, tester, "alice@godwit.test", fmt.Sprintf("Subject: kept\nX-Test: kept-%d\n\nKept.\n", i))
	}
}

// kept takes the messages of fill.
func kept(t *testing.T, n int) {
	t.Helper()
	seen := make(map[string]int)
	for _, text := range newMaildir("alice").wait(t, n, startWait) {
		header, _ := split(text)
		seen[field(header, "X-Test")]++
	}
	for i := range n {
		if seen[fmt.Sprintf("kept-%d", i)] != 1 {
			t.Errorf("message %d was delivered %d times", i, seen[fmt.Sprintf("kept-%d", i)])
		}
	}
}

// paused starts a daemon that does not deliver.
func (d *daemon) paused() {
	d.t.Helper()
	d.run("-P", "mda")
	d.ready()
}

func (d *daemon) resume() {
	d.t.Helper()
	if out, err := d.ctl("resume", "mda"); err != nil {
		d.t.Fatalf("resume mda: %v: %s", err, out)
	}
}

// offer offers a message and gives the first reply that refuses it, or the last.
func offer(t *testing.T, body string) string {
	t.Helper()
	c := dial(t, listen)
	defer c.conn.Close()
	c.ask("250", "EHLO client.test")
	for _, step := range []string{"MAIL FROM:<" + tester + ">", "RCPT TO:<alice@godwit.test>", "DATA"} {
		if reply := c.say("%s", step); reply[0] > '3' {
			return reply
		}
	}
	return c.say("Subject: offer\r\n\r\n%s\r\n.", body)
}

// TestSpoolReadOnly: with a spool that is read-only mail is refused for the time being; the
// daemon stays, and goes on when the spool can be written again.
func TestSpoolReadOnly(t *testing.T) {
	d := newDaemon(t, localConf)
	d.paused()
	d.fill(3)
	d.stop()
	mount(t, d.spool, "--bind", d.spool)
	command(t, "mount", "-o", "remount,ro,bind", d.spool)
	d.paused()
	for _, size := range []int{100, 200000} {
		if reply := offer(t, strings.Repeat("x\r\n", size/3)); reply[0] != '4' {
			t.Errorf("a message of %d octets: %q", size, reply)
		}
	}
	d.waitLog("warn", "read-only")
	if !answers(listen) {
		t.Error("the daemon does not answer")
	}
	command(t, "mount", "-o", "remount,rw,bind", d.spool)
	eventually(t, startWait, "mail is taken again", func() bool {
		return strings.HasPrefix(offer(t, "again"), "250")
	})
	d.resume()
	newMaildir("alice").wait(t, 4, startWait)
	d.drained(startWait)
}

// TestSpoolFull: a full disk refuses mail for the time being, and loses none. What is in the
// queue is delivered meanwhile.
func TestSpoolFull(t *testing.T) {
	d := newDaemon(t, localConf)
	if err := os.Mkdir(d.spool, 0o711); err != nil {
		t.Fatal(err)
	}
	mount(t, d.spool, "-t", "tmpfs", "-o", "size=2m,mode=711", "tmpfs")
	d.paused()
	open := make(map[string]bool) // messages that were taken
	take := func(size int) bool {
		id := fmt.Sprintf("full-%d", len(open))
		reply := offer(t, id+strings.Repeat("\r\ny", size/3))
		if strings.HasPrefix(reply, "250") {
			open[id] = true
			return true
		}
		if !strings.HasPrefix(reply, "452") {
			t.Errorf("a full disk: %q", reply)
		}
		return false
	}
	for _, size := range []int{30000, 100000, 10} {
		for n := 0; take(size); n++ {
			if n > 500 {
				t.Fatalf("messages of %d octets are always taken", size)
			}
		}
	}
	t.Logf("%d messages were taken", len(open))
	if !answers(listen) {
		t.Error("the daemon does not answer")
	}
	d.resume()
	box := newMaildir("alice")
	eventually(t, startWait, "all are delivered from the full disk", func() bool {
		for _, text := range box.take() {
			_, body := split(text)
			id, _, _ := strings.Cut(string(body), "\n")
			delete(open, id)
		}
		return len(open) == 0
	})
	command(t, "mount", "-o", "remount,size=64m", d.spool)
	eventually(t, startWait, "mail is taken again", func() bool { return take(10) })
	box.wait(t, 1, startWait)
	d.drained(startWait)
}

// TestSpoolLimits: a message that would not fit is refused by its announced size, and everything when the
// inodes of the file system run out.
func TestSpoolLimits(t *testing.T) {
	d := newDaemon(t, localConf)
	if err := os.Mkdir(d.spool, 0o711); err != nil {
		t.Fatal(err)
	}
	mount(t, d.spool, "-t", "tmpfs", "-o", "size=4m,nr_inodes=400,mode=711", "tmpfs")
	d.start()
	c := dial(t, listen)
	defer c.conn.Close()
	c.ask("250", "EHLO client.test")
	for size, want := range map[int]string{2 << 20: "250", 4 << 20: "452 4.3.1", 100: "250"} {
		c.ask(want, "MAIL FROM:<%s> SIZE=%d", tester, size)
		c.say("RSET")
	}
	var files []string
	for n := range 390 {
		files = append(files, write(t, filepath.Join(d.spool, fmt.Sprint("used", n)), ""))
	}
	eventually(t, startWait, "mail is refused", func() bool { return strings.HasPrefix(offer(t, "refused"), "452 4.3.1") })
	c.ask("452 4.3.1", "MAIL FROM:<%s>", tester) // others are told before they send it
	for _, name := range files {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, startWait, "mail is taken again", func() bool { return strings.HasPrefix(offer(t, "again"), "250") })
	c.ask("250", "MAIL FROM:<%s>", tester)
}

// TestSpoolRefused: with a spool that cannot be used the daemon does not start, and one
// line says why.
func TestSpoolRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, d *daemon)
		want  string
	}{
		{"owned by somebody else", func(t *testing.T, d *daemon) { chown(t, d.spool, 7013) }, "owned by user 7013"},
		{"journal owned by somebody else", func(t *testing.T, d *daemon) { chown(t, d.spool+"/journal", 7013) }, "owned by user 7013"},
		{"writable by all", func(t *testing.T, d *daemon) {
			if err := os.Chmod(d.spool, 0o777); err != nil {
				t.Fatal(err)
			}
		}, "writable"},
		{"a file", func(t *testing.T, d *daemon) {
			if err := os.RemoveAll(d.spool); err != nil {
				t.Fatal(err)
			}
			write(t, d.spool, "")
		}, "not a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := start(t, localConf)
			d.stop()
			if err := os.Remove(d.log); err != nil {
				t.Fatal(err)
			}
			tt.spoil(t, d)
			refused(t, d, tt.want)
		})
	}
}

// TestSpoolShared starts a second daemon on a spool that is in use, kills the first one's queue, whose
// successor takes the lock again, and then all of it: the spool is free at once.
func TestSpoolShared(t *testing.T) {
	first := start(t, localConf)
	second := newDaemon(t, strings.Replace(localConf, "listen on 127.0.0.1", "listen on 127.0.0.1 port 2525", 1))
	second.spool, second.addr = first.spool, "127.0.0.1:2525"
	pid, err := os.ReadFile(filepath.Join(first.spool, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	refuses := func() {
		t.Helper()
		second.run()
		<-second.exited
		if code := second.cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("exit status %d, want 1", code)
		}
	}
	refuses()
	second.waitLog("spool is in use by process " + strings.TrimSpace(string(pid)))
	first.crash("queue")
	first.waitLog("lost process: ")
	first.ready()
	refuses()
	first.crash("all")
	second.start()
	second.stop()
}

// refused checks that the daemon does not start and says why: to whoever started it, and
// in one line of the log, which comes out at the same place here.
func refused(t *testing.T, d *daemon, want string) {
	t.Helper()
	var fatal []string
	text := d.refuses()
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "fatal: ") {
			fatal = append(fatal, strings.TrimSpace(line))
		}
	}
	if len(fatal) != 1 || strings.Count(text, want) != 2 {
		t.Errorf("says %q, want %q twice and one line of the log", text, want)
	}
	t.Log(fatal)
}

func chown(t *testing.T, path string, uid int) {
	t.Helper()
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

// TestStartRefused: other reasons not to start.
func TestStartRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:2510")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, tt := range map[string]struct{ conf, want string }{
		"port in use":   {localConf + "listen on 127.0.0.1 port 2510\n", "address already in use"},
		"missing table": {localConf + "table people file:/nonexistent/people\nmatch from src <people> for any reject\n", "/nonexistent/people"},
		"syntax":        {localConf + "frobnicate\n", "smtpd.conf:6:1"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, newDaemon(t, tt.conf), tt.want)
		})
	}
	t.Run("already running", func(t *testing.T) {
		d := start(t, localConf)
		out, err := exec.Command(program("smtpd"), "-d", "-f", d.conf, "-S", d.spool+"2", "-s", d.sock).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "already listening") {
			t.Errorf("%v: %s", err, out)
		}
		d.alive()
	})
}

// TestJournalTail: what a crash left half written is cut off, and what stands before it is
// delivered.
func TestJournalTail(t *testing.T) {
	for name, garbage := range map[string]string{
		"octets":        "\x00\xff\x00\xffgarbage\n\x00",
		"zeros":         strings.Repeat("\x00", 4096),
		"half a record": "",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t, localConf)
			d.paused()
			d.fill(5)
			d.crash("all")
			<-d.exited
			d.ended()
			segments, _ := filepath.Glob(filepath.Join(d.spool, "journal", "*"))
			if len(segments) == 0 {
				t.Fatal("no journal")
			}
			last := segments[len(segments)-1]
			text, err := os.ReadFile(last)
			if err != nil {
				t.Fatal(err)
			}
			tail := []byte(garbage)
			if garbage == "" {
				tail = text[:len(text)/9] // the beginning of the segment again, cut within a record
			}
			f, err := os.OpenFile(last, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(tail); err != nil {
				t.Fatal(err)
			}
			f.Close()
			d.start()
			kept(t, 5)
			d.drained(startWait)
			if name != "zeros" { // which is room for records to come
				d.waitLog("journal", "octets of unfinished records")
			}
		})
	}
}

// TestJournalDamage: a record that was changed costs no other, and the segment is kept.
func TestJournalDamage(t *testing.T) {
	d := newDaemon(t, localConf)
	d.paused()
	d.fill(5)
	d.crash("all")
	<-d.exited
	d.ended()
	segments, _ := filepath.Glob(filepath.Join(d.spool, "journal", "*"))
	for _, path := range segments {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("kept-2"), []byte("kept-?")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.paused()
	t.Log(d.waitLog("warn", "journal", "damaged"))
	d.resume()
	seen := make(map[string]bool)
	for _, text := range newMaildir("alice").wait(t, 4, startWait) {
		header, _ := split(text)
		seen[field(header, "X-Test")] = true
	}
	for _, i := range []int{0, 1, 3, 4} {
		if !seen[fmt.Sprintf("kept-%d", i)] {
			t.Errorf("message %d was not delivered", i)
		}
	}
	d.drained(startWait)
	d.stop()
	if kept, _ := filepath.Glob(filepath.Join(d.spool, "corrupt", "*")); len(kept) == 0 {
		t.Error("the segment was not kept")
	}
}

// TestBadEnvelope: an envelope that cannot be read is put aside with the reason; everything
// else is delivered.
func TestBadEnvelope(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"nonsense": func(path string) error { return os.WriteFile(path, []byte("\x00\x01 nonsense\n"), 0o600) },
		"empty":    func(path string) error { return os.Truncate(path, 0) },
		"cut": func(path string) error {
			st, err := os.Stat(path)
			if err == nil {
				err = os.Truncate(path, st.Size()/2)
			}
			return err
		},
		// What is not even a file that can be read stays where it is.
		"directory": func(path string) error {
			if err := os.Remove(path); err != nil {
				return err
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				return err
			}
			return os.Chown(path, 7002, 7002)
		},
		"of somebody else": func(path string) error { return os.Chown(path, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDaemon(t, localConf)
			d.paused()
			submit(t, tester, "bob@godwit.test", "Subject: spoiled\n\nSpoiled.\n")
			id := strings.Split(d.queued()[0], "|")[0]
			d.fill(3)
			d.stop()
			path := filepath.Join(d.spool, "queue", id[:2], id[:8], id)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			d.start()
			kept(t, 3)
			d.drained(startWait)
			t.Log(d.waitLog("warn", id[:8]))
			aside, _ := filepath.Glob(filepath.Join(d.spool, "corrupt", "*"))
			stays := name == "of somebody else" || name == "directory"
			if _, err := os.Stat(path); (err == nil) != stays || err != nil && len(aside) == 0 {
				t.Errorf("the envelope: %v; put aside: %v", err, aside)
			}
			if list := newMaildir("bob").take(); len(list) > 0 {
				t.Errorf("delivered: %q", list)
			}
			d.alive()
		})
	}
}
