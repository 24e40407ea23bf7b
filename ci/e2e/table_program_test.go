package e2e

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/compat/signals"
)

// tableProgramName is the name under which run.sh links this test binary where the daemon
// looks for the programs of tables.
const tableProgramName = "table-test"

// isTableProgram reports whether the daemon runs this binary to serve a table.
func isTableProgram() bool {
	exe, err := os.Executable()
	return err == nil && filepath.Base(exe) == tableProgramName
}

// tableProgram serves a table from the file in its argument. The file has lines
//
//	register SERVICE
//	entry SERVICE KEY VALUE
//	mode MODE
//
// and is read again for each request. A mode is something that programs do wrong. It is
// what OpenSMTPD was tried with, and is done once: as long as there is a file of the same
// name with ".once" after it, which goes first.
func tableProgram() int {
	path := os.Args[len(os.Args)-1]
	fmt.Fprintf(os.Stderr, "argv=%q uid=%d gid=%d groups=%s files=%s env=%q\n",
		os.Args, os.Getuid(), os.Getgid(), groups(), openFiles(), os.Environ())
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() && in.Text() != "config|ready" {
	}
	f := readTableFile(path)
	if f.mode == "stubborn" {
		signals.Ignore(signals.Terminate)
	}
	for _, s := range f.register {
		fmt.Printf("register|%s\n", s)
	}
	switch f.mode {
	case "exit":
		return 3
	case "unready":
		forever()
	}
	fmt.Println("register|ready")
	for in.Scan() {
		answerTable(readTableFile(path), in.Text(), os.Remove(path+".once") == nil)
	}
	if f.mode == "stubborn" {
		forever()
	}
	return 0
}

func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

func groups() string {
	g, _ := os.Getgroups()
	return fmt.Sprint(g)
}

// openFiles gives the numbers of the descriptors that the program was started with.
func openFiles() string {
	dirs, _ := os.ReadDir("/proc/self/fd")
	var names []string
	for _, d := range dirs {
		target, err := os.Readlink("/proc/self/fd/" + d.Name())
		if err == nil && !strings.HasPrefix(target, "/proc/") && !strings.HasPrefix(target, "anon_inode:") {
			names = append(names, d.Name()+":"+target)
		}
	}
	return strings.Join(names, ",")
}

// tableFile is what the file of a table holds.
type tableFile struct {
	mode     string
	register []string
	entries  map[string]string // "SERVICE KEY" -> value
}

func readTableFile(path string) *tableFile {
	f := &tableFile{entries: make(map[string]string)}
	text, err := os.ReadFile(path)
	if err != nil {
		f.mode = "error"
	}
	for line := range strings.Lines(string(text)) {
		w := strings.SplitN(strings.TrimSpace(line), " ", 4)
		switch {
		case w[0] == "mode":
			f.mode = w[1]
		case w[0] == "register":
			f.register = append(f.register, w[1])
		case w[0] == "entry":
			f.entries[w[1]+" "+w[2]] = strings.Join(w[3:], "")
		}
	}
	return f
}

// answerTable answers a request, wrongly if wrong.
func answerTable(f *tableFile, line string, wrong bool) {
	w := strings.SplitN(line, "|", 8)
	verb, key := w[4], ""
	if verb == "update" {
		fmt.Printf("update-result|%s|%s\n", w[5], map[bool]string{false: "ok", true: "error|cannot now"}[f.mode == "noupdate"])
		return
	}
	service, id := w[5], w[6]
	if verb != "fetch" {
		key = w[7]
	}
	right := "not-found"
	if value, ok := f.entries[service+" "+key]; ok && verb == "check" {
		right = "found"
	} else if ok {
		right = "found|" + value
	}
	if wrong && misbehave(f.mode, verb, id, right) {
		return
	}
	fmt.Printf("%s-result|%s|%s\n", verb, id, right)
}

// misbehave does what the mode says; false leaves the right answer to be given.
func misbehave(mode, verb, id, right string) bool {
	switch mode {
	case "die":
		os.Exit(1)
	case "hang":
		forever()
	case "garbage":
		fmt.Println("what?")
	case "wrongid":
		fmt.Printf("%s-result|0badc0de0|%s\n", verb, right)
	case "verb":
		fmt.Printf("update-result|%s|%s\n", id, right)
	case "blank":
		fmt.Println()
	case "dup":
		fmt.Printf("%[1]s-result|%[2]s|%[3]s\n%[1]s-result|%[2]s|%[3]s\n", verb, id, right)
	case "long":
		fmt.Printf("%s-result|%s|found|%s\n", verb, id, strings.Repeat("x", 1<<20))
	case "half":
		fmt.Printf("%s-result|%s", verb, id)
		os.Exit(0)
	case "flood":
		for range 1 << 16 {
			fmt.Printf("%s-result|ffffffff|found|x\n", verb)
		}
	case "noval":
		fmt.Printf("%s-result|%s|found\n", "lookup", id)
	case "error":
		fmt.Printf("%s-result|%s|error\n", verb, id)
	case "message":
		fmt.Printf("%s-result|%s|error|no database\x1b[2J today\n", verb, id)
	case "slow":
		time.Sleep(2 * time.Second)
		return false
	default:
		return false
	}
	return true
}

// modesThatBreak end a program; after the others it goes on.
var modesThatBreak = []string{"die", "hang", "garbage", "wrongid", "verb", "blank", "dup", "long", "half", "flood"}

func breaks(mode string) bool { return slices.Contains(modesThatBreak, mode) }
