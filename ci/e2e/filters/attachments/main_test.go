package main

import (
	"slices"
	"strings"
	"testing"
)

func TestFiles(t *testing.T) {
	const part = "--b\nContent-Type: text/plain; name=x.txt\n\nx\n--b\nContent-Disposition: attachment; filename*=utf-8''%C3%A4.EXE\n\ny\n--b--\n"
	for _, c := range []struct {
		text string
		want []string
		ok   bool
	}{
		{"Subject: a\n\nbody", nil, true},
		{"Content-Disposition: attachment; filename=a.exe\n\nbody", []string{"a.exe"}, true},
		{"Content-Type: x/y; name=a.exe\nContent-Disposition: inline; filename=b.js\n\nbody", []string{"b.js"}, true},
		{"Content-Type: multipart/mixed; boundary=b\n\n" + part, []string{"x.txt", "ä.EXE"}, true},
		{"Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: multipart/mixed; boundary=b\n\n" + part + "--c--\n",
			[]string{"x.txt", "ä.EXE"}, true},
		{"Content-Type: multipart/mixed; boundary=b\n\n" + part[:60], nil, false},
		{"Content-Type: nonsense;;;=\n\nbody", nil, true},
		{"no header", nil, false},
		{strings.Repeat("Content-Type: multipart/mixed; boundary=b\n\n--b\n", maxDepth+2), nil, false},
	} {
		got, err := files([]byte(c.text))
		if !slices.Equal(got, c.want) || (err == nil) != c.ok {
			t.Errorf("%.60q: %q, %v", c.text, got, err)
		}
	}
}
