package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/envelope"
	"github.com/godwit-mta/godwit/core/getopt"
	"github.com/godwit-mta/godwit/core/opensmtpd"
)

// maxImport is the largest message that is imported, in octets, decompressed.
const maxImport = 1 << 30

// importQueue is smtpctl queue import: it gives the mail in the spool of OpenSMTPD to the daemon.
func importQueue(args []string, path string) int {
	opts, rest, err := getopt.Parse(args, "k:")
	if err == nil && len(rest) != 1 {
		err = errors.New("one directory is needed")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "smtpctl: %v\nusage: smtpctl queue import [-k file] directory\n", err)
		return 1
	}
	var key []byte
	for _, o := range opts {
		if key, err = readImportKey(o.Value); err != nil {
			return failed(err)
		}
	}
	spool, err := opensmtpd.Open(rest[0], key)
	if err != nil {
		return failed(err)
	}
	defer spool.Close()
	c, err := dial(path)
	if err != nil {
		return failed(err)
	}
	defer c.close()
	i := &importer{c: c, spool: spool, out: os.Stdout}
	if err := i.all(); err != nil {
		return failed(err)
	}
	if i.left > 0 {
		return 1
	}
	return 0
}

// readImportKey reads a key from the first line of a file, - for standard input.
func readImportKey(name string) ([]byte, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
		defer f.Close()
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	line, _, _ := strings.Cut(string(text), "\n")
	return []byte(strings.TrimRight(line, "\r")), err
}

// importer takes messages over and prints what became of them.
type importer struct {
	c     *client
	spool *opensmtpd.Spool
	out   io.Writer

	messages, taken, known, left uint64
}

func (i *importer) all() error {
	err := i.spool.Messages(i.message, i.leave)
	fmt.Fprintf(i.out, "%d envelopes of %d messages taken, %d known already, %d files left\n", i.taken, i.messages, i.known, i.left)
	return err
}

// leave prints what is not taken.
func (i *importer) leave(name string, err error) {
	i.left++
	fmt.Fprintf(i.out, "%s: left: %v\n", name, err)
}

// message takes over one message. Only an error of the daemon ends the whole.
func (i *importer) message(m *opensmtpd.Message) error {
	for _, b := range m.Bad {
		i.leave(b.Name, b.Err)
	}
	if len(m.Envelopes) == 0 {
		i.leave(m.ID.String(), errors.New("it has no envelope that can be read"))
		return nil
	}
	size, err := i.measure(m)
	if err != nil {
		i.leave(m.ID.String(), err)
		return nil
	}
	var reply control.Import
	if err := i.give(m, size, &reply); err != nil {
		return fmt.Errorf("message %s: %w", m.ID, err)
	}
	as := ""
	if reply.Message != m.ID.String() {
		as = " as " + reply.Message
	}
	fmt.Fprintf(i.out, "%s: %d envelopes taken%s, %d known already\n", m.ID, reply.Taken, as, reply.Known)
	if reply.Taken > 0 {
		i.messages++
	}
	i.taken += reply.Taken
	i.known += reply.Known
	return nil
}

// measure reads the text once, to its end: what is damaged is found before anything is taken.
func (i *importer) measure(m *opensmtpd.Message) (int64, error) {
	body, err := i.spool.Body(m, maxImport)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.Copy(io.Discard, body)
}

// give writes a message into a pipe whose other end the daemon has.
func (i *importer) give(m *opensmtpd.Message, size int64, reply *control.Import) error {
	body, err := i.spool.Body(m, maxImport)
	if err != nil {
		return err
	}
	defer body.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() {
		err := control.WriteImport(w, m.ID, m.Envelopes, size, body)
		w.Close()
		written <- err
	}()
	req := &control.Request{Op: control.QueueImport, First: envelope.NewID(m.ID, 0), Last: envelope.NewID(m.ID, ^uint32(0))}
	files, err := i.c.call(req, reply, r)
	for _, f := range files {
		f.Close()
	}
	if failed := <-written; err == nil {
		err = failed
	}
	return err
}
