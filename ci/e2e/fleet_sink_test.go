package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fleet is many servers of one program, each on an address of its own. It speaks SMTP by itself,
// because most of its servers behave badly.
type fleet struct {
	mu      sync.Mutex
	now     map[string]int // connections at the moment by address
	most    int            // the most of one address at a time
	all     int            // connections at the moment
	peak    int            // and the most
	total   int            // connections in all
	ends    chan struct{}  // closed at the end
	arrived chan arrival
	delay   time.Duration // before each write
	flips   map[string]int
}

// arrival is a recipient whose message a server took.
type arrival struct {
	rcpt  string
	delay time.Duration // since it was handed in, by the time in its Subject
}

// The ways to behave.
const (
	behaveWell     = iota
	refuseConnect  // nothing listens
	hangConnect    // nothing answers at all
	hangGreeting   // nothing is said
	refuseGreeting // 554
	refuseEHLO     // 421
	refuseMAIL     // 451
	refuseRCPT     // 450
	hangRCPT       // no reply
	refuseDATA     // 451
	closeDATA      // the connection ends
	dripReplies    // an octet a second
	flap           // well and 421 in turns
	behaviours
)

func newFleet(t *testing.T) *fleet {
	f := &fleet{now: make(map[string]int), ends: make(chan struct{}), arrived: make(chan arrival, 1<<17), flips: make(map[string]int)}
	t.Cleanup(func() { close(f.ends) })
	return f
}

// listen starts a server. The address has no port: it is 25.
func (f *fleet) listen(t *testing.T, addr string, behaviour int) {
	t.Helper()
	if behaviour == refuseConnect || behaviour == hangConnect {
		return
	}
	serveEach(t, addr, func(c net.Conn) { f.serve(c, addr, behaviour) })
}

// serveEach starts a server on port 25 of an address. Each connection gets a goroutine.
func serveEach(t *testing.T, addr string, serve func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("tcp", addr+":25")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
}

func (f *fleet) count(addr string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now[addr] += n
	f.all += n
	f.most, f.peak = max(f.most, f.now[addr]), max(f.peak, f.all)
	if n > 0 {
		f.total++
	}
}

func (f *fleet) flipped(addr string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flips[addr]++
	return f.flips[addr]%2 == 1
}

// hang waits for the end of the test or of the connection.
func (f *fleet) hang(c net.Conn) {
	ended := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, c); close(ended) }()
	select {
	case <-f.ends:
	case <-ended:
	}
}

// say writes a reply.
func (f *fleet) say(c net.Conn, behaviour int, text string) {
	time.Sleep(f.delay)
	if behaviour != dripReplies {
		_, _ = io.WriteString(c, text+"\r\n")
		return
	}
	for _, b := range []byte(text + "\r\n") {
		select {
		case <-f.ends:
			return
		case <-time.After(time.Second):
		}
		if _, err := c.Write([]byte{b}); err != nil {
			return
		}
	}
}

// refusals of a behaviour by command; "-" closes the connection, "?" hangs.
func refusals(behaviour int) map[string]string {
	switch behaviour {
	case refuseEHLO:
		return map[string]string{"EHLO": "421 4.3.2 not now"}
	case refuseMAIL:
		return map[string]string{"MAIL": "451 4.7.1 not from you"}
	case refuseRCPT:
		return map[string]string{"RCPT": "450 4.2.0 not now"}
	case hangRCPT:
		return map[string]string{"RCPT": "?"}
	case refuseDATA:
		return map[string]string{"DATA": "451 4.3.0 not now"}
	case closeDATA:
		return map[string]string{"DATA": "-"}
	}
	return nil
}

func (f *fleet) serve(c net.Conn, addr string, behaviour int) {
	once := func() {}
	if behaviour != dripReplies { // which notices only seconds later that the client has gone
		f.count(addr, 1)
		once = sync.OnceFunc(func() { f.count(addr, -1) })
	}
	defer once()
	defer c.Close()
	switch {
	case behaviour == hangGreeting:
		f.hang(c)
		return
	case behaviour == refuseGreeting:
		f.say(c, behaviour, "554 5.3.2 no")
		return
	case behaviour == flap && f.flipped(addr):
		f.say(c, behaviour, "421 4.3.2 down")
		return
	}
	f.say(c, behaviour, "220 mx")
	r := bufio.NewReader(c)
	var to []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch answer := refusals(behaviour)[verb]; {
		case answer == "?":
			f.hang(c)
			return
		case answer == "-":
			return
		case answer != "":
			f.say(c, behaviour, answer)
			continue
		}
		switch verb {
		case "EHLO":
			f.say(c, behaviour, "250-mx\r\n250 PIPELINING")
		case "MAIL", "RSET":
			to = nil
			f.answer(r, c, behaviour, "250 2.0.0 ok")
		case "RCPT":
			to = append(to, line[strings.IndexByte(line, '<')+1:strings.IndexByte(line, '>')])
			f.answer(r, c, behaviour, "250 2.0.0 ok")
		case "DATA":
			f.say(c, behaviour, "354 go")
			sent := readBody(r)
			for _, rcpt := range to {
				f.arrived <- arrival{rcpt, time.Since(sent)}
			}
			f.say(c, behaviour, "250 2.0.0 taken")
		case "QUIT":
			once() // before the client knows that it may come again
			f.say(c, behaviour, "221 bye")
			return
		}
	}
}

// answer waits only before the first reply of a group: the others are there at the same time.
func (f *fleet) answer(r *bufio.Reader, c net.Conn, behaviour int, text string) {
	if r.Buffered() > 0 && behaviour != dripReplies {
		_, _ = io.WriteString(c, text+"\r\n")
		return
	}
	f.say(c, behaviour, text)
}

// readBody reads a message and gives the time in its Subject.
func readBody(r *bufio.Reader) time.Time {
	sent := time.Now()
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == ".\r\n" {
			return sent
		}
		if text, ok := strings.CutPrefix(line, "Subject: sent "); ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil {
				sent = time.Unix(0, n)
			}
		}
	}
}

func subjectNow() string { return fmt.Sprintf("Subject: sent %d\n\nHello.\n", time.Now().UnixNano()) }
