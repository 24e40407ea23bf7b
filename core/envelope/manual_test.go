package envelope

import (
	"os"
	"strings"
	"testing"
)

// TestManual reads the example of smtpd.queue(5), which also names every field.
func TestManual(t *testing.T) {
	page, err := os.ReadFile("../../packaging/man/smtpd.queue.5")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), ".Bd -literal\n")
	example, _, _ = strings.Cut(example, ".Ed\n")
	e, err := Parse(1<<32+1, []byte(example))
	if err != nil || e.Other != "" {
		t.Fatalf("%+v, %v", e, err)
	}
	if text, err := e.AppendText(nil); err != nil || string(text) != example {
		t.Errorf("%v, written as\n%s", err, text)
	}
	all := full()
	all.Other, all.Remote, all.Notice = "", "mx", 7
	text, err := all.AppendText(nil)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		field, _, _ := strings.Cut(line, ":")
		if !strings.Contains(string(page), ".It Li "+field+"\n") && !strings.Contains(string(page), field+" , ") && !strings.Contains(string(page), ", "+field+"\n") {
			t.Errorf("%s is not in the manual", field)
		}
	}
}
