package filter

import (
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	for text, want := range map[string]string{
		"550 no":                          "550 . no",
		"550 5.7.1 no | pipes":            "550 5.7.1 no | pipes",
		"550 4.7.1 other class":           "550 . 4.7.1 other class",
		"421 bye":                         "421 . bye",
		"550":                             "550 . ",
		"550 5.7.1":                       "550 5.7.1 ",
		"451 4.7.01 x":                    "451 . 4.7.01 x",
		"250 fine":                        "refused",
		"354 go on":                       "refused",
		"":                                "refused",
		"no":                              "refused",
		"5500 x":                          "refused",
		"-50 x":                           "refused",
		"599 x":                           "refused",
		"550-x":                           "refused",
		"554 " + strings.Repeat("x", 9e3): "554 . " + strings.Repeat("x", maxReply-4),
	} {
		r, ok := ParseReply(text)
		got := "refused"
		if ok {
			code := "."
			if r.EnhancedCode[0] > 0 {
				code = strings.Trim(strings.ReplaceAll(sprint(r.EnhancedCode), " ", "."), "[]")
			}
			got = sprint(r.Code) + " " + code + " " + r.Message
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
