package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

func readLine(t testing.TB, r *bufio.Reader, prefix string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, prefix[:3]) {
			t.Fatalf("%q, %v; want %q", line, err, prefix)
		}
		if line[3] == ' ' {
			if !strings.HasPrefix(line, prefix) {
				t.Fatalf("%q; want %q", line, prefix)
			}
			return
		}
	}
}

// banner waits until the client may talk.
func banner(t testing.TB, s io.Reader) {
	t.Helper()
	line, b := "", [1]byte{}
	for !strings.HasSuffix(line, "\n") {
		if _, err := s.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		line += string(b[:])
	}
	if !strings.HasPrefix(line, "220 ") {
		t.Fatal(line)
	}
}

func send(t testing.TB, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
}

// C3: who talks before the banner is refused, and can read so.
func TestEarlyTalker(t *testing.T) {
	talked := make(chan struct{})
	client, server := net.Pipe()
	b := &sample{hold: func() { <-talked }}
	s := startOn(t, context.Background(), client, server, testConfig(), b, testPeer())
	go func() {
		io.WriteString(s, "E") // returns when it was read
		close(talked)
	}()
	reply, err := io.ReadAll(s)
	if err != nil || !strings.HasPrefix(string(reply), "554 5.5.1 ") {
		t.Fatalf("%q, %v", reply, err)
	}
	<-s.done
	if !strings.Contains(s.log.String(), "disconnected reason=early-talker") || b.open != 0 {
		t.Error(s.log.String(), b.open)
	}
}

// A client that goes away while the backend waits for something cancels the context.
func TestGoneBeforeBanner(t *testing.T) {
	client, server := net.Pipe()
	var ended context.Context
	b := backendFunc(func(c *Conn) (gosmtp.Session, error) {
		ended = c.Context()
		client.Close()
		<-ended.Done()
		return nil, ended.Err()
	})
	s := startOn(t, context.Background(), client, server, testConfig(), b, testPeer())
	<-s.done
	if !strings.Contains(s.log.String(), "disconnected reason=disconnect") {
		t.Error(s.log.String())
	}
}

type backendFunc func(c *Conn) (gosmtp.Session, error)

func (f backendFunc) NewSession(c *Conn) (gosmtp.Session, error) { return f(c) }

func TestRefusedAtConnect(t *testing.T) {
	for _, v := range []struct {
		err  error
		want string
	}{
		{&gosmtp.SMTPError{Code: 554, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1}, Message: "no"}, "554 5.7.1 no\r\n"},
		{io.ErrShortBuffer, "421 4.3.0 Temporary failure\r\n"},
	} {
		b := &sample{refuse: func(where, _ string) error { return v.err }}
		s := start(t, context.Background(), testConfig(), b, testPeer())
		got, err := io.ReadAll(s)
		if err != nil || string(got) != v.want {
			t.Errorf("%q, %v; want %q", got, err, v.want)
		}
		s.Close()
		<-s.done
		if b.open != 0 {
			t.Error("session not logged out")
		}
	}
}

// At a shutdown an idle session gets 421 at once, one in DATA after its message.
func TestDrain(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	b := &sample{}
	idle := start(t, ctx, testConfig(), b, testPeer())
	busy := start(t, ctx, testConfig(), b, testPeer())
	ri, rb := bufio.NewReader(idle), bufio.NewReader(busy)
	readLine(t, ri, "220 ")
	readLine(t, rb, "220 ")
	send(t, busy, "HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n")
	for _, want := range []string{"250 ", "250 2.0.0", "250 2.1.5", "354 "} {
		readLine(t, rb, want)
	}
	cancel()
	readLine(t, ri, "421 4.3.2 ")
	<-idle.done
	send(t, busy, "x\r\n.\r\n")
	readLine(t, rb, "250 2.0.0 0badcafe")
	readLine(t, rb, "421 4.3.2 ")
	<-busy.done
	if len(b.taken()) != 1 || !strings.Contains(busy.log.String(), "reason=shutdown") {
		t.Error(b.taken(), busy.log.String())
	}
}

func TestTimeouts(t *testing.T) {
	cfg := testConfig()
	cfg.Timeouts = Timeouts{Command: 30 * time.Millisecond, Data: 30 * time.Millisecond}
	for _, text := range []string{"", "NOO", "HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\npart of a mess"} {
		b := &sample{}
		s := start(t, context.Background(), cfg, b, testPeer())
		banner(t, s)
		send(t, s, text)
		got, err := io.ReadAll(s)
		if err != nil || !strings.HasSuffix(string(got), "421 4.4.2 Timeout exceeded, closing connection\r\n") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		<-s.done
		if len(b.taken()) != 0 || !strings.Contains(s.log.String(), "disconnected reason=timeout") {
			t.Error(b.taken(), s.log.String())
		}
	}
}

// A client that does not read its replies, or trickles, does not hold a session for ever.
func TestSlowClients(t *testing.T) {
	cfg := testConfig()
	cfg.Timeouts = Timeouts{Command: 30 * time.Millisecond, Session: 100 * time.Millisecond}
	client, server := net.Pipe()
	s := startOn(t, context.Background(), client, server, cfg, &sample{}, testPeer())
	<-s.done // the banner was never read
	if !strings.Contains(s.log.String(), "disconnected reason=timeout") {
		t.Error(s.log.String())
	}
	cfg.TLSConfig, cfg.SMTPS = testTLS(t), true
	s = start(t, context.Background(), cfg, &sample{}, testPeer())
	send(t, s, "\x16\x03\x01")
	<-s.done // S7
	if !strings.Contains(s.log.String(), "handshake failed") {
		t.Error(s.log.String())
	}
}

func TestLongLines(t *testing.T) {
	for _, v := range []struct {
		octets int // with the line end
		want   string
	}{{512, "250 "}, {2048, "250 "}, {2049, "500 5.5.2 "}, {128 << 10, "500 5.5.2 "}} {
		s := start(t, context.Background(), testConfig(), &sample{}, testPeer())
		banner(t, s)
		go io.WriteString(s, "NOOP "+strings.Repeat("x", v.octets-7)+"\r\n")
		readLine(t, bufio.NewReader(s), v.want)
	}
}

// A disconnect at each point of a session leaves nothing behind.
func TestDisconnectAnywhere(t *testing.T) {
	text := "EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
	for n := range len(text) {
		client, server := net.Pipe()
		b := &sample{}
		s := startOn(t, context.Background(), client, server, testConfig(), b, testPeer())
		banner(t, s)
		go io.Copy(io.Discard, client)
		io.WriteString(client, text[:n])
		client.Close()
		<-s.done
		if len(b.taken()) != 0 || b.open != 0 {
			t.Fatalf("after %q: %v, %d open", text[:n], b.taken(), b.open)
		}
	}
}

// S3: what was said in clear is forgotten; S1 with the octets in packets of their own is
// an error of the handshake, tested in 09-starttls-clear.dialog.
func TestStartTLSForgets(t *testing.T) {
	cfg := testConfig()
	cfg.TLSConfig = testTLS(t)
	b := &sample{}
	s := start(t, context.Background(), cfg, b, testPeer())
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	send(t, s, "EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nSTARTTLS\r\n")
	for _, want := range []string{"250 HELP", "250 2.0.0", "250 2.1.5", "220 2.0.0"} {
		readLine(t, r, want)
	}
	tc := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
	r = bufio.NewReader(tc)
	for _, v := range [][2]string{{"DATA", "503 "}, {"RCPT TO:<b@example.org>", "503 "}, {"MAIL FROM:<>", "503 "},
		{"HELO c.example", "250 "}, {"DATA", "503 "}, {"QUIT", "221 "}} {
		send(t, tc, v[0]+"\r\n")
		readLine(t, r, v[1])
	}
}

func TestLargeBodies(t *testing.T) {
	line := strings.Repeat("0123456789", 7) + "\n"
	for _, plain := range []bool{false, true} {
		for _, body := range []string{strings.Repeat(line, 20000), strings.Repeat("x", 1<<20) + "\n", strings.Repeat("\n", 70000)} {
			b := &sample{plain: plain}
			s := start(t, context.Background(), testConfig(), b, testPeer())
			banner(t, s)
			go io.WriteString(s, "HELO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n"+
				strings.ReplaceAll(body, "\n", "\r\n")+".\r\n"+strings.Repeat("NOOP\r\n", 100)+"QUIT\r\n")
			replies, err := io.ReadAll(s)
			if err != nil || strings.Count(string(replies), "250 2.0.0 Ok") != 101 {
				t.Fatalf("%d octets of replies, %v", len(replies), err)
			}
			if got := b.taken(); len(got) != 1 || got[0].body != body {
				t.Errorf("plain=%v: the body came out different", plain)
			}
		}
	}
}

func BenchmarkSession(b *testing.B) {
	b.Run("1KiB", func(b *testing.B) { benchmarkSession(b, 1<<10) })
	b.Run("1MiB", func(b *testing.B) { benchmarkSession(b, 1<<20) })
}

// benchmarkSession sends one message after the other over loopback, each command by
// itself. Its figures include the client.
func benchmarkSession(b *testing.B, size int) {
	s := start(b, context.Background(), &Config{Hostname: "mx"}, discard{}, testPeer())
	s.SetDeadline(time.Time{})
	r := bufio.NewReader(s)
	readLine(b, r, "220 ")
	send(b, s, "EHLO c.example\r\n")
	readLine(b, r, "250 ")
	body := strings.Repeat(strings.Repeat("x", 62)+"\r\n", size/64) + ".\r\n"
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		for _, step := range [][2]string{{"MAIL FROM:<a@example.com>\r\n", "250 2.0"}, {"RCPT TO:<b@example.org>\r\n", "250 2.1"},
			{"DATA\r\n", "354 "}, {body, "250 "}} {
			send(b, s, step[0])
			readLine(b, r, step[1])
		}
	}
}

// discard takes everything.
type discard struct{}

func (discard) NewSession(*Conn) (gosmtp.Session, error) { return discard{}, nil }
func (discard) Reset()                                   {}
func (discard) Logout() error                            { return nil }
func (discard) Mail(string, *gosmtp.MailOptions) error   { return nil }
func (discard) Rcpt(string, *gosmtp.RcptOptions) error   { return nil }
func (discard) Data(r io.Reader) error                   { return nil }
func (discard) Message(b *Body) error                    { _, err := b.WriteTo(io.Discard); return err }

// BenchmarkIdle reports what a session costs that waits for a command.
func BenchmarkIdle(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		benchmarkIdle(b, &Config{Hostname: "mx"}, func(s *session) io.ReadWriter { return s })
	})
	// A client costs what it keeps; it is the same in each case.
	b.Run("tls", func(b *testing.B) {
		benchmarkIdle(b, &Config{Hostname: "mx", TLSConfig: testTLS(b)}, func(s *session) io.ReadWriter {
			r := bufio.NewReaderSize(s, 16)
			send(b, s, "EHLO c.example\r\n")
			readLine(b, r, "250 ")
			send(b, s, "STARTTLS\r\n")
			readLine(b, r, "220 ")
			return tls.Client(s, &tls.Config{InsecureSkipVerify: true})
		})
	})
}

func benchmarkIdle(b *testing.B, cfg *Config, secure func(*session) io.ReadWriter) {
	const n = 500
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		all := make([]*session, n)
		for i := range all {
			all[i] = start(b, context.Background(), cfg, discard{}, testPeer())
			banner(b, all[i])
			conn := secure(all[i])
			r := bufio.NewReaderSize(conn, 16)
			send(b, conn, "EHLO c.example\r\n")
			readLine(b, r, "250 ")
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/n, "heap-B/session")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/session")
		for _, s := range all {
			s.Close()
			<-s.done
		}
	}
}

// watched sees lines and learns the name of its client late.
type watched struct {
	discard
	mu    *sync.Mutex
	lines *[]string
	named *bool
}

func (w watched) add(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*w.lines = append(*w.lines, s)
	*w.named = *w.named || strings.Contains(s, "NOOP")
}
func (w watched) ClientLine(s string) { w.add("< " + s) }
func (w watched) ServerLine(s string) { w.add("> " + s) }
func (w watched) Host() (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return "late.example", *w.named
}

func TestLineSession(t *testing.T) {
	w := watched{mu: new(sync.Mutex), lines: new([]string), named: new(bool)}
	b := backendFunc(func(c *Conn) (gosmtp.Session, error) { return w, nil })
	s := start(t, context.Background(), testConfig(), b, testPeer())
	r := bufio.NewReader(s)
	readLine(t, r, "220 ")
	send(t, s, "AUTH PLAIN secret\r\n")
	readLine(t, r, "503 ")
	if strings.Contains(s.log.String(), "connected") {
		t.Error("logged before the name was known")
	}
	send(t, s, "HELO c.example\r\nNOOP\r\nQUIT\r\n")
	readLine(t, r, "250 ")
	<-s.done
	got := strings.Join(*w.lines, "\n")
	want := "> 220 mx1.example.org ESMTP Godwit\n< AUTH PLAIN (...)\n> 503 5.5.1 Invalid command: Command not allowed at this point.\n" +
		"< HELO c.example\n> 250 mx1.example.org Hello c.example [127.0.0.10], pleased to meet you\n" +
		"< NOOP\n> 250 2.0.0 Ok\n< QUIT\n> 221 2.0.0 Bye"
	if got != want {
		t.Errorf("saw\n%s", got)
	}
	if n := strings.Count(s.log.String(), "smtp connected address=127.0.0.10 host=late.example"); n != 1 ||
		strings.Contains(s.log.String(), "secret") {
		t.Error(s.log.String())
	}
}

// Recipients that are refused end a session late, and not one that has good ones too.
func TestRefusedRecipients(t *testing.T) {
	for _, v := range []struct {
		good int // for each ten bad ones
		want string
	}{{0, "421 4.7.0 "}, {10, "221 2.0.0 "}} {
		s := start(t, context.Background(), testConfig(), &sample{refuse: refuseByName}, testPeer())
		banner(t, s)
		text := strings.Repeat("RCPT TO:<nobody@example.org>\r\n", 10) + strings.Repeat("RCPT TO:<a@example.org>\r\n", v.good)
		go io.WriteString(s, "HELO c.example\r\nMAIL FROM:<>\r\n"+strings.Repeat(text, 30)+"QUIT\r\n")
		replies, err := io.ReadAll(s)
		if err != nil || !strings.Contains(string(replies), v.want) {
			t.Errorf("%d good: %v, no %s: %q\n%s", v.good, err, v.want, replies, s.log)
		}
	}
}
