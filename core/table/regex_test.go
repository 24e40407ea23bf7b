package table

import (
	"regexp"
	"strings"
	"testing"
)

// What RE2 takes as it is still means the same after it was translated.
func FuzzRegex(f *testing.F) {
	for _, s := range []string{`^a[[:upper:]]\S+$`, `a**`, `{,3}`, `[[.-.]]`, `[[:<:]]x`, `\<a\>`, `[]a\]`, `[^]-a]`, `(a|b)*?c`, `\`, `[`} {
		f.Add(s, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		re, err := compile(pattern)
		if err != nil || strings.ContainsAny(pattern, "\\[{") || strings.HasPrefix(pattern, "(?i)") {
			return
		}
		plain, err := regexp.Compile("(?is)" + pattern)
		if err != nil {
			return // a** and its like
		}
		if re.MatchString(text) != plain.MatchString(text) {
			t.Errorf("%q: %q was made of it", pattern, re)
		}
	})
}
