package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// server is what is measured.
type server struct {
	addr string
	pid  int
}

// tick is the unit of processor time in /proc.
const tick = 10 * time.Millisecond

// processes gives the server's process and all that come from it.
func (s *server) processes() []int {
	if s.pid == 0 {
		return nil
	}
	parents := make(map[int]int)
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		if f := stat(file); f != nil {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			parents[pid], _ = strconv.Atoi(f[1])
		}
	}
	list := []int{s.pid}
	for i := 0; i < len(list); i++ {
		for pid, parent := range parents {
			if parent == list[i] {
				list = append(list, pid)
			}
		}
	}
	return list
}

// stat gives the fields of /proc/PID/stat behind the name, which may have blanks in it.
func stat(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	_, rest, ok := bytes.Cut(text, []byte(") "))
	if f := strings.Fields(string(rest)); ok && len(f) > 12 {
		return f
	}
	return nil
}

// pss gives the memory of all processes in KiB, pages that they share counted once.
func (s *server) pss() (kib int) {
	for _, pid := range s.processes() {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.Atoi(f[1])
				kib += n
			}
		}
	}
	return kib
}

// cpu gives the processor time that all processes used.
func (s *server) cpu() (used time.Duration) {
	for _, pid := range s.processes() {
		if f := stat(fmt.Sprintf("/proc/%d/stat", pid)); f != nil {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			used += time.Duration(user+system) * tick
		}
	}
	return used
}

// settle waits until the server does nothing any more.
func (s *server) settle() {
	for quiet, before := 0, s.cpu(); quiet < 3; {
		time.Sleep(300 * time.Millisecond)
		now := s.cpu()
		if now-before > 2*tick {
			quiet = -1
		}
		quiet, before = quiet+1, now
	}
}
