package torture

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// serveTable is the program of a table of aliases: lines of a key and a value.
func serveTable() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() && in.Text() != "config|ready" {
	}
	fmt.Println("register|alias")
	fmt.Println("register|ready")
	for in.Scan() {
		w := strings.SplitN(in.Text(), "|", 8)
		if len(w) < 8 {
			fmt.Printf("%s-result|%s|error\n", w[4], w[len(w)-1])
			continue
		}
		result := "not-found"
		text, _ := os.ReadFile(os.Args[len(os.Args)-1])
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == w[7] && w[4] == "lookup" {
				result = "found|" + value
			}
		}
		fmt.Printf("%s-result|%s|%s\n", w[4], w[6], result)
	}
}
