package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// filterProgramName is the name under which run.sh links this test binary where the daemon
// looks for filters.
const filterProgramName = "filter-test"

func isFilterProgram() bool {
	exe, err := os.Executable()
	return err == nil && filepath.Base(exe) == filterProgramName
}

// filterProgram is a filter that hears of everything and decides as its arguments say: PHASE=ANSWER,
// where die, hang and garbage are answers too. Of data-line the answer is a line that it adds before
// the first one; late=yes gives one message at a time back after its end. log=FILE is where it keeps what it hears.
func filterProgram() int {
	answers := make(map[string]string)
	for _, arg := range os.Args[1:] {
		phase, answer, _ := strings.Cut(arg, "=")
		answers[phase] = answer
	}
	fmt.Fprintf(os.Stderr, "argv=%q uid=%d gid=%d groups=%s files=%s env=%q\n",
		os.Args, os.Getuid(), os.Getgid(), groups(), openFiles(), os.Environ())
	log, _ := os.OpenFile(answers["log"], os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	in := bufio.NewReader(os.Stdin)
	out := bufio.NewWriter(os.Stdout)
	begun := make(map[string]bool) // messages, by token
	var late bytes.Buffer
	for {
		if in.Buffered() == 0 {
			_ = out.Flush()
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return 0
		}
		line = strings.TrimSuffix(line, "\n")
		_, _ = fmt.Fprintln(log, line)
		if line == "config|ready" {
			register(out)
		}
		f := strings.SplitN(line, "|", 8)
		if f[0] != "filter" {
			continue
		}
		switch answer := answers[f[4]]; {
		case answer == "die":
			return 3
		case answer == "hang":
			continue
		case answer == "garbage":
			fmt.Fprintf(out, "no such|%s\nfilter-result|%s|0123456789abcdef|proceed\n\nfilter-result|x\n", f[5], f[5])
			fallthrough
		case answer == "" && f[4] != "data-line":
			fmt.Fprintf(out, "filter-result|%s|%s|proceed\n", f[5], f[6])
		case f[4] == "data-line" && answers["late"] != "":
			if late.WriteString("filter-dataline|" + f[5] + "|" + f[6] + "|" + f[7] + "\n"); f[7] == "." {
				_, _ = late.WriteTo(out)
			}
		case f[4] == "data-line":
			if !begun[f[6]] && answer != "" {
				fmt.Fprintf(out, "filter-dataline|%s|%s|%s\n", f[5], f[6], answer)
			}
			begun[f[6]] = true
			fmt.Fprintf(out, "filter-dataline|%s|%s|%s\n", f[5], f[6], f[7])
		default:
			fmt.Fprintf(out, "filter-result|%s|%s|%s\n", f[5], f[6], answer)
		}
	}
}

func register(out *bufio.Writer) {
	fmt.Fprintf(out, "register|report|smtp-in|*\n")
	for _, phase := range strings.Fields("connect helo ehlo starttls auth mail-from rcpt-to data data-line commit rset quit noop help wiz") {
		fmt.Fprintf(out, "register|filter|smtp-in|%s\n", phase)
	}
	fmt.Fprintf(out, "register|ready\n")
	_ = out.Flush()
}
