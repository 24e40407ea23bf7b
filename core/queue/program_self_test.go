package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/envelope"
)

// The test binary is the program of a queue when this is set to the directory in which it
// keeps the messages.
const asProgram = "GODWIT_QUEUE_PROGRAM"

// asVice is what such a program does wrong.
const asVice = "GODWIT_QUEUE_VICE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asProgram); dir != "" {
		os.Exit(serveSelf(dir, os.Getenv(asVice)))
	}
	os.Exit(m.Run())
}

// selfServer is a small and correct program that keeps its messages in another Store.
type selfServer struct {
	in    *bufio.Reader
	out   *bufio.Writer
	store Store
	all   map[envelope.ID]bool
	texts map[envelope.MessageID][]byte
	vice  vice
}

// serveSelf serves until the input ends.
func serveSelf(dir, wrong string) int {
	p := &selfServer{in: bufio.NewReaderSize(os.Stdin, 1<<20), out: bufio.NewWriter(os.Stdout),
		all: make(map[envelope.ID]bool), texts: make(map[envelope.MessageID][]byte)}
	p.vice = newVice(wrong, dir)
	store, err := OpenFS(dir, Options{}, nil)
	if err == nil {
		err = store.Load(func(e *envelope.Envelope) error { p.all[e.ID] = true; return nil })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	p.store = store
	for line := ""; line != "config|ready"; {
		if line, err = p.line(); err != nil {
			return 1
		}
	}
	if p.vice.at("start") {
		return p.vice.start(p)
	}
	fmt.Fprint(p.out, "register|queue\nregister|ready\n")
	p.out.Flush()
	for {
		line, err := p.line()
		if err != nil {
			return 0
		}
		p.serve(strings.Split(line, "|"))
		p.out.Flush()
	}
}

func (p *selfServer) line() (string, error) {
	line, err := p.in.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (p *selfServer) block(n string) []byte {
	size, _ := strconv.Atoi(n)
	b := make([]byte, size)
	if _, err := io.ReadFull(p.in, b); err != nil {
		os.Exit(0)
	}
	return b
}

func messageID(s string) envelope.MessageID {
	id, _ := envelope.ParseMessageID(s)
	return id
}

func (p *selfServer) serve(f []string) {
	if f[0] == "data" {
		p.data(f[1:])
		return
	}
	var m Message
	var changes []Change
	switch f[0] {
	case "commit":
		m = p.message(f[2:])
	case "apply":
		changes = p.changes(f[2])
	}
	if p.vice.at(f[0]) {
		p.vice.do(p, f)
		return
	}
	switch verb, id := f[0], f[1]; verb {
	case "reserve":
		n, _ := strconv.Atoi(f[2])
		ids, err := p.store.Reserve(n)
		p.answer(verb, id, err)
		for _, id := range ids {
			fmt.Fprintf(p.out, "|%v", id)
		}
		fmt.Fprintln(p.out)
	case "release":
		p.release(messageID(f[2]))
		p.end(verb, id, nil)
	case "commit":
		err := p.commit(&m)
		p.end(verb, id, err)
	case "apply":
		p.end(verb, id, p.apply(changes))
	case "body":
		b, err := readBody(p.store, messageID(f[2]))
		if p.answer(verb, id, err); err == nil {
			fmt.Fprintf(p.out, "|%d", len(b))
		}
		fmt.Fprintf(p.out, "\n%s", b)
	case "envelope":
		evpid, _ := envelope.ParseID(f[2])
		e, err := p.store.Envelope(evpid)
		if p.answer(verb, id, err); err != nil {
			fmt.Fprintln(p.out)
			return
		}
		b, _ := e.AppendText(nil)
		fmt.Fprintf(p.out, "|%d\n%s", len(b), b)
	case "list":
		after, _ := envelope.ParseID(f[2])
		p.answer(verb, id, nil)
		p.list(after)
	case "discover":
		p.end(verb, id, ErrNotFound)
	case "stop":
		p.end(verb, id, p.store.Close())
	}
}

// answer begins an answer, and says what error there is.
func (p *selfServer) answer(verb, id string, err error) {
	what := "ok"
	switch {
	case errors.Is(err, ErrNotFound):
		what = "not-found"
	case errors.Is(err, ErrExists):
		what = "error|exists"
	case errors.Is(err, ErrSize):
		what = "error|size"
	case err != nil:
		what = "error|temporary|" + err.Error()
	}
	fmt.Fprintf(p.out, "%s-result|%s|%s", verb, id, what)
}

func (p *selfServer) end(verb, id string, err error) {
	p.answer(verb, id, err)
	fmt.Fprintln(p.out)
}

func (p *selfServer) data(f []string) {
	id, b := messageID(f[0]), p.block(f[2])
	if at, _ := strconv.Atoi(f[1]); at == 0 {
		p.texts[id] = nil
	} else if at != len(p.texts[id]) {
		return // its commit will find too little
	}
	p.texts[id] = append(p.texts[id], b...)
}

func (p *selfServer) message(f []string) Message {
	m := Message{ID: messageID(f[0])}
	m.Size, _ = strconv.ParseInt(f[1], 10, 64)
	count, _ := strconv.Atoi(f[2])
	for range count {
		line, _ := p.line()
		w := strings.Split(line, "|")
		m.Envelopes = append(m.Envelopes, p.envelope(w[1], w[2]))
	}
	return m
}

func (p *selfServer) envelope(evpid, n string) *envelope.Envelope {
	id, _ := envelope.ParseID(evpid)
	e, err := envelope.Parse(id, p.block(n))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return e
}

func (p *selfServer) commit(m *Message) error {
	m.Body = append([]byte{}, p.texts[m.ID]...)
	if int64(len(m.Body)) != m.Size {
		return ErrSize
	}
	err := p.store.Commit(m)
	if err == nil || errors.Is(err, ErrExists) {
		delete(p.texts, m.ID)
	}
	for _, e := range m.Envelopes {
		p.all[e.ID] = p.all[e.ID] || err == nil
	}
	return err
}

// release also takes a message away that was committed: smtpd did not hear that it was.
func (p *selfServer) release(id envelope.MessageID) {
	delete(p.texts, id)
	p.store.Release(id)
	for evpid := range p.all {
		if evpid.Message() == id {
			_ = p.apply([]Change{{Op: Remove, ID: evpid}})
		}
	}
}

func (p *selfServer) changes(n string) (list []Change) {
	count, _ := strconv.Atoi(n)
	for range count {
		line, _ := p.line()
		w := strings.Split(line, "|")
		c := Change{Op: map[string]Op{"update": Update, "add": Add, "remove": Remove}[w[0]]}
		if c.Op == Remove {
			c.ID, _ = envelope.ParseID(w[1])
		} else {
			c.Envelope = p.envelope(w[1], w[2])
		}
		list = append(list, c)
	}
	return list
}

func (p *selfServer) apply(changes []Change) error {
	err := p.store.Apply(changes)
	for _, c := range changes {
		if c.Op == Remove {
			delete(p.all, c.ID)
		} else {
			p.all[c.Envelope.ID] = true
		}
	}
	return err
}

func (p *selfServer) list(after envelope.ID) {
	var body bytes.Buffer
	count := 0
	for _, id := range slices.Sorted(maps.Keys(p.all)) {
		e, err := p.store.Envelope(id)
		if id <= after || err != nil || count == 7 { // small pages, so that there are several
			continue
		}
		b, _ := e.AppendText(nil)
		fmt.Fprintf(&body, "envelope|%v|%d\n%s", id, len(b), b)
		count++
	}
	fmt.Fprintf(p.out, "|%d\n%s", count, body.Bytes())
}

// selfCommand is the test binary as the program of a queue.
func selfCommand(t *testing.T, dir, wrong string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), asProgram+"="+dir, asVice+"="+wrong)
	cmd.Stderr = os.Stderr
	return cmd
}
