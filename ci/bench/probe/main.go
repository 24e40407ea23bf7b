// Probe measures a mail server from outside: when it answers, how long a command is silent and
// how long it takes, how many messages it accepts, and what reading a spool costs anybody.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const usage = `usage: probe banner address          seconds until the banner
       probe command word ...        seconds until the first line and until the end, lines, processor time
       probe accept address n c      messages a second, n of 4 KiB over c sessions
       probe read directory          seconds in which two goroutines read all envelopes of a spool`

func main() {
	text, err := probe(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
	fmt.Println(text)
}

func probe(args []string) (string, error) {
	switch {
	case len(args) == 2 && args[0] == "banner":
		return banner(args[1])
	case len(args) > 1 && args[0] == "command":
		return command(args[1:])
	case len(args) == 4 && args[0] == "accept":
		n, err := strconv.Atoi(args[2])
		c, err2 := strconv.Atoi(args[3])
		if err = errors.Join(err, err2); err != nil {
			return "", err
		}
		return accept(args[1], n, c)
	case len(args) == 2 && args[0] == "read":
		return read(args[1])
	}
	return "", errors.New(usage)
}

func seconds(since time.Time) string { return fmt.Sprintf("%.3f", time.Since(since).Seconds()) }

// banner connects again and again until a server is there and says something.
func banner(addr string) (string, error) {
	start := time.Now()
	for time.Since(start) < 10*time.Minute {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		_, err = bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err == nil {
			return seconds(start), nil
		}
	}
	return "", errors.New("no banner")
}

func command(args []string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return "", err
	}
	r := bufio.NewReaderSize(out, 1<<20)
	_, err = r.ReadSlice('\n')
	first, lines := seconds(start), 0
	for buf := make([]byte, 1<<20); err == nil; {
		var n int
		n, err = r.Read(buf)
		lines += bytes.Count(buf[:n], []byte{'\n'})
	}
	if err != io.EOF {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return "", err
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return fmt.Sprintf("first %s all %s lines %d, its cpu %.2f", first, seconds(start), lines+1, used.Seconds()), nil
}

// accept sends n messages over c sessions at a time, up to 100 in each.
func accept(addr string, n, c int) (string, error) {
	var left atomic.Int64
	left.Store(int64(n))
	var sessions sync.WaitGroup
	errs := make(chan error, c)
	start := time.Now()
	for range c {
		sessions.Go(func() {
			for left.Load() > 0 {
				if err := session(addr, &left); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	sessions.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return "", err
	default:
	}
	return fmt.Sprintf("%.0f", float64(n)/took.Seconds()), nil
}

func session(addr string, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	if err := say(c, r, "", "EHLO client.bench.test\r\n"); err != nil {
		return err
	}
	text := "Subject: load\r\n\r\n" + strings.Repeat("0123456789abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOP\r\n", 64)
	for range 100 {
		if left.Add(-1) < 0 {
			break
		}
		if err := say(c, r, "MAIL FROM:<load@bench.test>\r\n", "RCPT TO:<load@d0.bench.test>\r\n", "DATA\r\n", text+".\r\n"); err != nil {
			return err
		}
	}
	return say(c, r, "QUIT\r\n")
}

// say sends each text and waits for a good reply to it.
func say(c net.Conn, r *bufio.Reader, texts ...string) error {
	for _, text := range texts {
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		for more := true; more; {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) < 4 || line[0] > '3' {
				return errors.New(strings.TrimSpace(line))
			}
			more = line[3] == '-'
		}
	}
	return nil
}

// read opens what the server has to open.
func read(spool string) (string, error) {
	dirs, err := filepath.Glob(filepath.Join(spool, "queue", "*"))
	if err != nil {
		return "", err
	}
	todo := make(chan string, len(dirs))
	for _, dir := range dirs {
		todo <- dir
	}
	close(todo)
	var files atomic.Int64
	var readers sync.WaitGroup
	start := time.Now()
	for range 2 {
		readers.Go(func() {
			for dir := range todo {
				messages, _ := os.ReadDir(dir)
				for _, m := range messages {
					files.Add(readMessage(filepath.Join(dir, m.Name())))
				}
			}
		})
	}
	readers.Wait()
	return fmt.Sprintf("%s s, files %d", seconds(start), files.Load()), nil
}

func readMessage(dir string) (n int64) {
	names, _ := os.ReadDir(dir)
	for _, name := range names {
		if len(name.Name()) != 16 {
			continue
		}
		if _, err := os.ReadFile(filepath.Join(dir, name.Name())); err == nil {
			n++
		}
	}
	return n
}
