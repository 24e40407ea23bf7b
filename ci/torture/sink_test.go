package torture

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// manner is how a server treats what it gets.
type manner int

const (
	kind     manner = iota
	busy            // refuses a fifth of the recipients for now
	strict          // refuses a tenth of the recipients for good
	rude            // hangs up before or after it says that it has a message, one time in twenty each
	returned        // takes notices
	local           // LMTP
)

// sink is a server that writes into the journal what it takes.
type sink struct {
	j      *journal
	manner manner
	l      net.Listener

	mu    sync.Mutex
	dead  bool
	conns map[net.Conn]bool
	n     int // of decisions
}

func startSink(t *testing.T, j *journal, network, addr string, m manner) *sink {
	t.Helper()
	l, err := net.Listen(network, addr)
	must(t, err)
	s := &sink{j: j, manner: m, l: l, conns: make(map[net.Conn]bool)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close(); s.down(true) })
	return s
}

// down ends all sessions and takes no new ones, or takes them again.
func (s *sink) down(dead bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = dead
	if dead {
		for c := range s.conns {
			c.Close()
		}
	}
}

// every reports true one time in n, evenly.
func (s *sink) every(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.n%n == 0
}

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	s.mu.Lock()
	dead := s.dead
	s.conns[c] = true
	s.mu.Unlock()
	defer func() { s.mu.Lock(); delete(s.conns, c); s.mu.Unlock() }()
	if dead {
		return
	}
	r := bufio.NewReader(c)
	say := func(text string) { _, _ = io.WriteString(c, text+"\r\n") }
	say("220 sink")
	var from string
	var to []string
	for {
		_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "HELO", "EHLO", "LHLO":
			say("250 sink")
		case "MAIL":
			from, to = address(line), nil
			say("250 ok")
		case "RCPT":
			reply := s.recipient(address(line))
			if reply[0] == '2' {
				to = append(to, place(address(line)))
			}
			say(reply)
		case "DATA":
			if len(to) == 0 {
				say("503 nobody")
				continue
			}
			say("354 go on")
			text, err := readData(r)
			if err != nil || !s.take(from, to, text, say) {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// recipient gives the reply to RCPT.
func (s *sink) recipient(addr string) string {
	h := fnv.New32a()
	_, _ = io.WriteString(h, addr)
	switch {
	case s.manner == busy && s.every(5):
		return "451 4.3.0 later"
	case s.manner == strict && (h.Sum32()%10 == 0 || strings.HasPrefix(addr, "no+")):
		return "550 5.1.1 no such user"
	}
	return "250 ok"
}

// take writes a message down and answers. It reports whether the session goes on.
func (s *sink) take(from string, to []string, text []byte, say func(string)) bool {
	if s.manner == returned {
		s.j.noticed(text)
		say("250 ok")
		return true
	}
	drop := s.manner == rude && s.every(20)
	for _, rcpt := range to {
		l := s.j.arrived(rcpt, text, "<"+from+">", time.Now(), false)
		if drop && l != nil {
			s.j.dropped(l, rcpt)
		}
	}
	if drop {
		return false
	}
	for range to {
		say("250 ok")
		if s.manner != local {
			break
		}
	}
	return s.manner != rude || !s.every(21)
}

// address gives what stands in angle brackets.
func address(line string) string {
	_, after, _ := strings.Cut(line, "<")
	addr, _, _ := strings.Cut(after, ">")
	return addr
}

// readData reads a message to its final dot. Lines then end with LF.
func readData(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("a message without an end: %w", err)
		}
		s := strings.TrimSuffix(string(line), "\r\n")
		if s == "." {
			return text, nil
		}
		text = append(append(text, strings.TrimPrefix(s, ".")...), '\n')
	}
}
