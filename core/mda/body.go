package mda

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxHeader is how much of a message is searched for header fields, in octets.
const maxHeader = 1 << 20

// facts are what the header of a message says to the delivery.
type facts struct {
	loop bool // it was delivered to this recipient before
	junk bool // a filter marked it as spam
}

// scan reads the header of the message. Field names and values are compared without regard
// to case; fields that are folded are not ours.
func (a *Agent) scan(j *Job) (facts, error) {
	var f facts
	a.reader.Reset(io.NewSectionReader(j.Body, 0, min(j.Size, maxHeader)))
	dest := j.Dest.String()
	whole := true // the buffer holds the beginning of a line
	for {
		line, err := a.reader.ReadSlice('\n')
		if err == nil && whole && len(bytes.TrimRight(line, "\r\n")) == 0 {
			return f, nil
		}
		if whole && !errors.Is(err, bufio.ErrBufferFull) {
			f.add(line, dest)
		}
		whole = err == nil
		switch {
		case errors.Is(err, io.EOF):
			return f, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return f, err
		}
	}
}

func (f *facts) add(line []byte, dest string) {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if !ok {
		return
	}
	is := func(s string) bool { return len(name) == len(s) && strings.EqualFold(string(name), s) }
	switch {
	case is("Delivered-To"):
		f.loop = f.loop || dest != "" && strings.EqualFold(string(bytes.TrimSpace(value)), dest)
	case is("X-Spam"), is("X-Spam-Flag"):
		f.junk = f.junk || strings.EqualFold(string(bytes.TrimSpace(value)), "yes")
	}
}

// trace fields that stand before the message: RFC 5321 section 4.4 asks the final delivery
// for Return-Path. A null reverse-path has none, as OpenSMTPD's users know it.
func (j *Job) prefix() string {
	if j.traced {
		return ""
	}
	var b strings.Builder
	if !j.Sender.Null() {
		b.WriteString("Return-Path: <" + j.Sender.String() + ">\n")
	}
	b.WriteString("Delivered-To: " + j.Rcpt.String() + "\n")
	return b.String()
}

// message gives the trace fields and the message. A body that is shorter than it should
// be is io.ErrUnexpectedEOF, never a shorter message.
func (j *Job) message() io.Reader {
	return io.MultiReader(strings.NewReader(j.prefix()), j.body())
}

func (j *Job) body() io.Reader {
	return &bodyReader{r: io.NewSectionReader(j.Body, 0, j.Size), left: j.Size}
}

type bodyReader struct {
	r    io.Reader
	left int64
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
