package filterkit_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/godwit-mta/godwit/core/filterkit"
)

// A filter for outgoing mail that takes fields out of the header which only concern this site. Here the server is
// a text; a program gives Run its standard input and output.
func Example() {
	var f filterkit.Filter
	f.Out.Lines(func(s *filterkit.Session, line string, out *filterkit.Output) {
		type position struct{ body, inside bool }
		at, _ := s.Tx.State.(position)
		switch {
		case out.End:
			return
		case at.body:
		case line == "":
			at.body = true
		case line[0] != ' ' && line[0] != '\t':
			at.inside = strings.HasPrefix(strings.ToLower(line), "x-internal-")
		}
		s.Tx.State = at
		if at.body || !at.inside {
			out.Write(line)
		}
	})
	server := "config|subsystem|smtp-out\nconfig|decide|smtp-out\nconfig|ready\n"
	for _, line := range []string{"Subject: x", "X-Internal-Ticket: 1", " 2", "", "X-Internal-Text: stays", "."} {
		server += "filter|0.7|1.0|smtp-out|data-line|0123456789abcdef|1|" + line + "\n"
	}
	if err := f.Run(context.Background(), strings.NewReader(server), linesOf(os.Stdout)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Subject: x
	//
	// X-Internal-Text: stays
	// .
}

// linesOf shows the lines of messages alone.
func linesOf(w *os.File) writer { return writer{w} }

type writer struct{ w *os.File }

func (w writer) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if text, ok := strings.CutPrefix(line, "filter-dataline|0123456789abcdef|1|"); ok {
			fmt.Fprint(w.w, text)
		}
	}
	return len(p), nil
}
