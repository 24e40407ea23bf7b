package program

import (
	"errors"
	"strings"
	"testing"
)

func TestParseAnswer(t *testing.T) {
	for line, want := range map[string]string{
		"commit-result|7|ok":                     "",
		"body-result|8|ok|12":                    "",
		"body-result|8|not-found":                ErrNotFound.Error(),
		"commit-result|9|error|no-space|disk|1":  `the program answered the error no-space: "disk|1"`,
		"commit-result|9|error|exists":           "the program answered the error exists",
		"commit-result|9|error|strange|x":        "refused",
		"commit-result|9|error":                  "refused",
		"commit-result|9|not-found|x":            "refused",
		"commit-result|09|ok":                    "refused",
		"commit-result|-1|ok":                    "refused",
		"commit-result|99999999999999999999|ok":  "refused",
		"commit-result|1":                        "refused",
		"commit|1|ok":                            "refused",
		"":                                       "refused",
		"commit-result|1|OK":                     "refused",
		"Traceback (most recent call last):|a|b": "refused",
	} {
		a, err := parseAnswer(line)
		got := ""
		switch {
		case err != nil:
			got = "refused"
		case a.err != nil:
			got = a.err.Error()
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	_, err := parseAnswer(strings.Repeat("x", 5000))
	if err == nil || len(err.Error()) > 2*maxText {
		t.Errorf("%d octets of what is foreign", len(err.Error()))
	}
}

func FuzzAnswer(f *testing.F) {
	for _, line := range []string{"a-result|1|ok|2", "a-result|1|error|size|x", "a-result|1|not-found", "|||"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, err := parseAnswer(line)
		if (a == nil) == (err == nil) {
			t.Fatal("neither an answer nor an error")
		}
		if a == nil || a.err != nil {
			return
		}
		var n int64
		if err := a.Expect(&n); err == nil && (n < 0 || len(a.Fields) != 1) {
			t.Errorf("%q gives %d", line, n)
		}
	})
}

// TestFields reads the numbers that an answer must have.
func TestFields(t *testing.T) {
	for field, good := range map[string]bool{"0": true, "12": true, "": false, "-1": false, "+1": false, "01": false, "9223372036854775808": false} {
		_, err := ParseNumber(field)
		if (err == nil) != good {
			t.Errorf("%q: %v", field, err)
		}
	}
	if err := (&Answer{Fields: []string{"1"}}).Expect(); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("a field too many: %v", err)
	}
}
