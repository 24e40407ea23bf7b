package mta

import (
	"bufio"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/godwit-mta/godwit/core/envelope"
)

func TestReadReply(t *testing.T) {
	long := strings.Repeat("x", 3000)
	tests := []struct {
		in, text string
		code     int
		class    uint8
		esc      uint16
		err      error
	}{
		{in: "250 ok\r\n", text: "250 ok", code: 250},
		{in: "250\r\n", text: "250", code: 250},
		{in: "250 2.1.5 ok\n", text: "250 2.1.5 ok", code: 250, class: 2, esc: 105},
		{in: "550-5.1.1 no such\r\n550-5.1.1 user\r\n550 5.1.1 here\r\n", text: "550 5.1.1 no such user here", code: 550, class: 5, esc: 101},
		{in: "550-a\r\n550 \r\n", text: "550 a", code: 550},
		{in: "450 5.1.1 contradicts\r\n", text: "450 5.1.1 contradicts", code: 450},
		{in: "550 5.1000.1 x\r\n", text: "550 5.1000.1 x", code: 550},
		{in: "550 5.7.1\r\n", text: "550 5.7.1", code: 550, class: 5, esc: 701},
		{in: "550 a\rb\x00c\x1b[31m\xff\xc2\x85é\r\n", text: "550 a?b?c?[31m??é", code: 550},
		{in: "354 go\r\n", text: "354 go", code: 354},
		{in: "550-a\r\n551 b\r\n", err: errReplySyntax},
		{in: "150 x\r\n", err: errReplySyntax},
		{in: "25 x\r\n", err: errReplySyntax},
		{in: "2x0 x\r\n", err: errReplySyntax},
		{in: "250_x\r\n", err: errReplySyntax},
		{in: "\r\n", err: errReplySyntax},
		{in: "250 " + long + "\r\n", err: errReplyLength},
		{in: strings.Repeat("250-x\r\n", 101), err: errReplyLength},
	}
	for _, tt := range tests {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(tt.in), maxReplyLine))
		if err != tt.err {
			t.Errorf("%.40q: %v", tt.in, err)
		}
		if err != nil {
			continue
		}
		class, esc := r.enhanced()
		if r.code != tt.code || r.text() != tt.text || class != tt.class || esc != tt.esc {
			t.Errorf("%.40q: %d %q %d %d", tt.in, r.code, r.text(), class, esc)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-a\r\n250 b\r\n"))
	f.Add([]byte("550 5.1.1 x\ny\r\n"))
	f.Add([]byte("421\xff\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		br := bufio.NewReaderSize(strings.NewReader(string(in)), maxReplyLine)
		for {
			r, err := readReply(br)
			if err != nil {
				return
			}
			text := r.text()
			if len(text) > envelope.MaxErrorLine || !utf8.ValidString(text) || envelope.CleanErrorLine(text) != text {
				t.Errorf("%q", text)
			}
			if class, code := r.enhanced(); code > 9999 || class != 0 && int(class) != r.class() {
				t.Errorf("%d %d", class, code)
			}
			parseExtensions(r.lines)
		}
	})
}
