package filterkit

import (
	"bufio"
	"strings"
	"sync"
)

// output is where the sessions write their lines.
type output struct {
	failed func(error)

	mu sync.Mutex
	w  *bufio.Writer
}

// print writes a line in parts that have no line end.
func (o *output) print(parts ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range parts {
		o.w.WriteString(p) // flush has the error
	}
	o.w.WriteByte('\n')
}

func (o *output) flush() {
	o.mu.Lock()
	err := o.w.Flush()
	o.mu.Unlock()
	if err != nil {
		o.failed(err)
	}
}

// Output takes the lines of a message that go on.
type Output struct {
	// End says that the last line was there: more lines can still be added.
	End bool
	// Answer is what Commit will be answered, if it is not Proceed.
	Answer Answer

	out    *output
	prefix string // of each line
}

// Write adds a line. A line feed in it makes two of them.
func (o *Output) Write(text string) {
	for l := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(l, ".") {
			o.out.print(o.prefix, ".", l)
		} else {
			o.out.print(o.prefix, l)
		}
	}
}

func (o *Output) finish() { o.out.print(o.prefix, ".") }
