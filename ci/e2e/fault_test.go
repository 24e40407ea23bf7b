package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// inject has strace answer calls of a process with an error until the function that it gives
// is called.
func inject(t *testing.T, pid int, calls, how string) (stop func()) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "trace="+calls, "-e", "signal=none",
		"-e", "inject="+calls+":error="+how, "-p", strconv.Itoa(pid))
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), " attached") {
	}
	done := make(chan struct{})
	go func() {
		for lines.Scan() {
		}
		_ = cmd.Wait()
		close(done)
	}()
	return func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-done
	}
}

// Sizes of messages that are kept in the journal and in a file of their own, in octets.
const (
	small = 100
	large = 200000
)

// refusedFor offers messages, which have to be refused for now.
func refusedFor(t *testing.T, what string, sizes ...int) {
	t.Helper()
	for _, size := range sizes {
		if reply := offer(t, strings.Repeat("x\r\n", size/3)); reply[0] != '4' {
			t.Errorf("%s, a message of %d octets: %q", what, size, reply)
		}
	}
}

// takesAgain waits until mail is taken, and that it is delivered.
func (d *daemon) takesAgain() {
	d.t.Helper()
	eventually(d.t, startWait, "mail is taken again", func() bool { return strings.HasPrefix(offer(d.t, "again"), "250") })
}

// TestSpoolErrors: a disk that fails costs no mail and no restart. It is refused for the time
// being and the log says why; what was queued stays, and goes when the disk is well again.
func TestSpoolErrors(t *testing.T) {
	for _, tt := range []struct{ calls, how, log string }{
		{"pwrite64", "EIO", "input/output error"},
		{"pwrite64", "ENOSPC", "no space left on device"},
		{"fsync,fdatasync", "EIO", "input/output error"},
		{"fsync,fdatasync", "ENOSPC", "no space left on device"},
		{"openat", "EIO", "input/output error"},
		{"openat", "ENOSPC", "no space left on device"},
		{"openat", "EMFILE", "too many open files"},
		{"openat", "EROFS", "read-only file system"},
	} {
		t.Run(tt.calls+" "+tt.how, func(t *testing.T) {
			d := newDaemon(t, localConf)
			d.paused()
			d.fill(3)
			queue, ok := find("queue")
			if !ok {
				t.Fatal("no queue")
			}
			stop := inject(t, queue.pid, tt.calls, tt.how)
			if tt.calls != "openat" { // the journal is open
				refusedFor(t, tt.how, small)
			}
			refusedFor(t, tt.how, large)
			stop()
			t.Log(d.waitLog("warn", "queue", tt.log))
			d.takesAgain()
			d.resume()
			newMaildir("alice").wait(t, 4, startWait)
			d.drained(startWait)
			if again, _ := find("queue"); again.pid != queue.pid {
				t.Error("the queue was started again")
			}
		})
	}
}

// TestResultErrors: a delivery whose record the disk does not take is recorded when it does, and is not
// made again. No other is begun meanwhile, so that a crash brings back only what was under way.
func TestResultErrors(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%t", crash), func(t *testing.T) {
			const messages, most = 50, 10
			d := newDaemon(t, localConf)
			d.paused()
			d.fill(messages)
			queue, _ := find("queue")
			stop := inject(t, queue.pid, "fsync,fdatasync", "EIO")
			d.resume()
			t.Log(d.waitLog("warn", "results cannot be recorded, trying again", "input/output error"))
			time.Sleep(2 * time.Second) // in which the others would be delivered
			box := newMaildir("alice")
			begun := len(box.take())
			if begun == 0 || begun > most {
				t.Errorf("%d of %d messages were delivered without a record", begun, messages)
			}
			if crash {
				kill(queue.pid)
			}
			stop()
			if d.recover(false); !crash {
				d.waitLog("results can be recorded again")
			}
			d.drained(startWait)
			d.stop()
			again := begun + len(box.take()) - messages
			if again < 0 || again > begun || !crash && again > 0 {
				t.Errorf("of %d messages %d were delivered again", messages, again)
			}
			t.Logf("%d messages were delivered without a record, %d again", begun, again)
		})
	}
}

// TestFileLimit: processes that may open no more files refuse mail or let clients wait, and go on
// when they may.
func TestFileLimit(t *testing.T) {
	for _, role := range []string{"queue", "dispatcher", "lookup", "parent"} {
		t.Run(role, func(t *testing.T) {
			d := newDaemon(t, localConf)
			d.paused()
			d.fill(3)
			p, ok := find(role)
			if !ok {
				t.Fatal("no such process")
			}
			uid, _, _ := strings.Cut(p.status(t)["Uid"], " ")
			limit := func(n string) { // as the same user: root may not have the right in a container
				command(t, "setpriv", "--reuid", uid, "--regid", uid, "--clear-groups",
					"prlimit", "--pid", strconv.Itoa(p.pid), "--nofile="+n+":")
			}
			limit("3") // what is open stays open
			d.resume()
			if role == "queue" {
				for _, size := range []int{100, 200000} {
					if reply := offer(t, strings.Repeat("x\r\n", size/3)); reply[0] != '4' && size > 100 {
						t.Errorf("a message of %d octets: %q", size, reply)
					}
				}
			}
			if role == "dispatcher" {
				_ = answers(listen)
			}
			if role != "lookup" { // who has everything open that it needs
				d.waitLog("too many open files")
			}
			limit("1024")
			d.takesAgain()
			eventually(t, startWait, "all is delivered", func() bool {
				_, _ = d.ctl("schedule", "all")
				return len(d.queued()) == 0
			})
			if n := len(newMaildir("alice").take()); n < 4 {
				t.Errorf("%d messages were delivered", n)
			}
			if now, _ := find(role); now.pid != p.pid {
				t.Error("the process was started again")
			}
			t.Log(d.line("too many open files"))
		})
	}
}

// TestSpoolBroken: a file system that finds an error in itself becomes read-only while
// the daemon runs. Mail is refused; everything is there when it has been repaired.
func TestSpoolBroken(t *testing.T) {
	d := newDaemon(t, localConf)
	if err := os.Mkdir(d.spool, 0o711); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(d.dir, "image")
	command(t, "truncate", "-s", "64M", image)
	command(t, "mkfs.ext4", "-q", image)
	mount(t, d.spool, "-o", "loop,errors=remount-ro", image)
	if err := os.Chmod(d.spool, 0o711); err != nil {
		t.Fatal(err)
	}
	d.paused()
	d.fill(5)
	device := strings.TrimSpace(command(t, "findmnt", "-n", "-o", "SOURCE", d.spool))
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0); err != nil {
		t.Skip(err)
	}
	refusedFor(t, "read-only", small, large)
	t.Log(d.waitLog("warn", "queue", "read-only file system"))
	d.resume()
	t.Log(d.waitLog("no delivery is begun meanwhile", "read-only file system"))
	if !answers(listen) {
		t.Error("the daemon does not answer")
	}
	d.stop()
	first := len(newMaildir("alice").take())
	if first > 3 {
		t.Errorf("%d of 5 messages were delivered, although that cannot be written down", first)
	}
	command(t, "umount", d.spool)
	if out, err := exec.Command("e2fsck", "-fy", image).CombinedOutput(); err != nil && !strings.Contains(string(out), "MODIFIED") {
		t.Fatalf("%v\n%s", err, out)
	}
	command(t, "mount", "-o", "loop", image, d.spool)
	d.start()
	kept(t, 5) // the first ones again: they were never recorded
	d.takesAgain()
	newMaildir("alice").wait(t, 1, startWait)
	d.drained(startWait)
}

// TestSpoolRestored: a spool that was copied while the daemon worked with it can be put back. What was
// delivered since comes again, nothing is lost, and no copy is half a message.
func TestSpoolRestored(t *testing.T) {
	startDNS(t)
	s := startSink(t, sinkAddr, nil)
	d := newDaemon(t, crashConf)
	d.paused()
	d.fill(5)
	d.stop() // they are in files now
	d.paused()
	p := newPromises()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { keepSending(p, stop); close(done) }()
	relayed := 0
	eventually(t, startWait, "mail comes and goes", func() bool { relayed += len(s.take()); return relayed > 50 })
	early := p.left() // in the journal, some of it for alice and bob, who get nothing yet
	backup := filepath.Join(d.dir, "backup")
	out, err := exec.Command("cp", "-a", d.spool, backup).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "No such file") { // what went meanwhile
		t.Fatalf("%v\n%s", err, out)
	}
	close(stop)
	<-done
	d.resume()
	d.drained(time.Minute)
	d.stop()
	boxes := []*maildir{newMaildir("alice"), newMaildir("bob")}
	for _, box := range boxes {
		box.take()
	}
	s.take()

	command(t, "rm", "-rf", d.spool)
	command(t, "mv", backup, d.spool)
	d.start()
	d.drained(time.Minute)
	seen := make(map[string]bool)
	for i, rcpt := range []string{"alice@godwit.test", "bob@godwit.test"} {
		for _, text := range boxes[i].take() {
			header, _ := split(text)
			id := field(header, "X-Test")
			if strings.HasPrefix(id, "crash-") {
				p.arrived(text, rcpt)
			}
			seen[id+" "+rcpt] = true
		}
	}
	for i := range 5 {
		if !seen["kept-"+strconv.Itoa(i)+" alice@godwit.test"] {
			t.Errorf("message %d, which was in the backup, did not come again", i)
		}
	}
	for _, key := range early {
		if strings.HasSuffix(key, "@godwit.test") && !seen[key] {
			t.Errorf("%s, which was in the backup, did not come again", key)
		}
	}
	if len(p.broken) > 0 {
		t.Errorf("damaged: %v", p.broken)
	}
	t.Logf("%d came again; %s", len(seen), d.line("journal"))
	if aside, _ := filepath.Glob(filepath.Join(d.spool, "corrupt", "*")); len(aside) > 0 {
		t.Errorf("corrupt: %v", aside)
	}
}
