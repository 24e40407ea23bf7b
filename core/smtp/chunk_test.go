package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

func TestChunkArgs(t *testing.T) {
	for _, v := range []struct {
		arg      string
		size     int64
		last, ok bool
	}{
		{"0", 0, false, true}, {"10 LAST", 10, true, true}, {"10  last", 10, true, true}, {"007", 7, false, true},
		{"9223372036854775807", 1<<63 - 1, false, true}, {"9223372036854775808", 0, false, false},
		{"", 0, false, false}, {"LAST", 0, false, false}, {"-1", 0, false, false}, {"+1", 0, false, false},
		{"1x", 0, false, false}, {"1 LAS", 0, false, false}, {"1 LAST LAST", 0, false, false}, {"0x10", 0, false, false}, {"1.0", 0, false, false},
	} {
		size, last, ok := chunkArgs(v.arg)
		if ok != v.ok || ok && (size != v.size || last != v.last) {
			t.Errorf("%q: %d %v %v", v.arg, size, last, ok)
		}
	}
}

// A large message arrives whole however it is cut into chunks and writes, in clear and over
// TLS, with a session of either kind.
func TestLargeChunks(t *testing.T) {
	want := "Subject: large\n\n" + strings.Repeat(".\n..\nline of some octets\n", 20000)
	wire := strings.ReplaceAll(want, "\n", "\r\n")
	for _, plain := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			rng := rand.New(rand.NewPCG(1, 2))
			cfg := testConfig()
			cfg.SMTPS = secure
			if secure {
				cfg.TLSConfig = testTLS(t)
			}
			b := &sample{plain: plain}
			s := start(t, context.Background(), cfg, b, testPeer())
			var conn net.Conn = s
			if secure {
				conn = tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
			}
			r := bufio.NewReader(conn)
			readLine(t, r, "220 ")
			var stream strings.Builder
			stream.WriteString("EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n")
			chunks := 0
			for rest := wire; rest != ""; chunks++ {
				n := min(len(rest), rng.IntN(40000))
				fmt.Fprintf(&stream, "BDAT %d\r\n%s", n, rest[:n])
				rest = rest[n:]
			}
			stream.WriteString("BDAT 0 LAST\r\nQUIT\r\n")
			go func() {
				for rest := stream.String(); rest != ""; {
					n := min(len(rest), 1+rng.IntN(100000))
					if _, err := io.WriteString(conn, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			for range chunks + 3 {
				readLine(t, r, "250 ")
			}
			readLine(t, r, "250 2.0.0 0badcafe")
			readLine(t, r, "221 ")
			if got := b.taken(); len(got) != 1 || got[0].body != want {
				t.Errorf("plain %v, TLS %v: %d messages", plain, secure, len(got))
			}
			s.Close()
			<-s.done
		}
	}
}

// earlySession is sure about a message before it has come.
type earlySession struct {
	sampleSession
	err error
}

func (s *earlySession) Message(*Body) error { return s.err }

// What the backend says before the end of a message is said at the end of the chunk when it
// is a refusal, at the end of the message when it is none.
func TestEarlyVerdict(t *testing.T) {
	for _, v := range []struct {
		err  error
		want []string
	}{
		{&gosmtp.SMTPError{Code: 452, EnhancedCode: gosmtp.EnhancedCode{4, 3, 1}, Message: "full"}, []string{"452 4.3.1 full", "452 4.3.1 full", "452 4.3.1 full"}},
		{nil, []string{"250 2.0.0 3 octets", "250 2.0.0 6 octets", "250 2.0.0 Ok"}},
	} {
		s := start(t, context.Background(), testConfig(), backendFunc(func(*Conn) (gosmtp.Session, error) {
			return &earlySession{sampleSession{b: &sample{}}, v.err}, nil
		}), testPeer())
		r := bufio.NewReader(s)
		readLine(t, r, "220 ")
		send(t, s, "HELO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nBDAT 3\r\nxxxBDAT 3\r\nyyyBDAT 1 LAST\r\nz")
		for _, want := range append([]string{"250 ", "250 ", "250 "}, v.want...) {
			readLine(t, r, want)
		}
		send(t, s, "RSET\r\nBDAT 1 LAST\r\nzQUIT\r\n")
		for _, want := range []string{"250 ", "503 ", "221 "} {
			readLine(t, r, want)
		}
	}
}

// The connection ends inside a chunk, between two chunks, and in the chunk that is skipped:
// no message, and an error for the backend that is not the end of a message.
func TestChunkCut(t *testing.T) {
	for _, tail := range []string{"BDAT 5\r\nxx", "BDAT 2\r\nxx", "BDAT 2\r\nxxNOOP\r\nBDAT 9 LAST\r\n", "BDAT 2\r\nx\nBDAT 5 LAST\r\n"} {
		b := &sample{}
		s := start(t, context.Background(), testConfig(), b, testPeer())
		banner(t, s)
		send(t, s, "HELO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n"+tail)
		s.Conn.(*net.TCPConn).CloseWrite()
		<-s.done
		if len(b.taken()) != 0 || b.open != 0 || !strings.Contains(s.log.String(), "disconnected reason=disconnect") {
			t.Errorf("%q: %v, %d open\n%s", tail, b.taken(), b.open, s.log)
		}
	}
}

// FuzzChunks: however a message is cut, what comes out is what one chunk gives.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("a: b\r\n\r\n.\r\n..x\r\ny"), uint16(3))
	f.Add([]byte("a\rb\nc\x00\r"), uint16(1))
	f.Fuzz(func(t *testing.T, msg []byte, cut uint16) {
		whole := decoder{opaque: true}
		buf := make([]byte, slack+len(msg)+1)
		copy(buf[slack:], msg)
		n, used := whole.decode(buf, buf[slack:slack+len(msg)])
		want := string(buf[:n])
		want += string(buf[:whole.finish(buf)])
		pieces := decoder{opaque: true}
		var got []byte
		for rest := msg; len(rest) > 0; {
			k := min(len(rest), 1+int(cut))
			buf := append(make([]byte, slack), rest[:k]...)
			n, m := pieces.decode(buf, buf[slack:])
			if m != k {
				t.Fatalf("%d of %d used", m, k)
			}
			got, rest = append(got, buf[:n]...), rest[k:]
		}
		got = append(got, buf[:pieces.finish(buf)]...)
		if used != len(msg) || string(got) != want || pieces != whole || strings.Contains(want, "\r") {
			t.Errorf("%q cut at %d: %q, whole %q", msg, cut, got, want)
		}
		if !whole.bareCR && !whole.bareLF && strings.TrimSuffix(strings.ReplaceAll(want, "\n", "\r\n"), "\r\n") != strings.TrimSuffix(string(msg), "\r\n") {
			t.Errorf("%q became %q", msg, want)
		}
	})
}

// Octets of chunks never become commands, nor commands octets of chunks, whatever packets
// they come in: in one write, a write a line, a write an octet the replies are the same.
func TestChunksInPackets(t *testing.T) {
	const inner = "x\r\n.\r\nRSET\r\nMAIL FROM:<evil@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\ny\r\n.\r\n"
	stream := "EHLO c.example\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n" +
		fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", len(inner), inner, len(inner), inner) + // taken as it is
		"MAIL FROM:<a@example.com>\r\nRCPT TO:<nobody@example.org>\r\n" +
		fmt.Sprintf("BDAT %d\r\n%sBDAT %d LAST\r\n%s", len(inner), inner, len(inner), inner) + // refused: no recipient
		"RSET\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n" +
		fmt.Sprintf("BDAT %d\r\n\n%sBDAT %d LAST\r\n%s", len(inner)+1, inner, len(inner), inner) + // a bare LF
		"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n" +
		fmt.Sprintf("BDAT %d\r\n%sEHLO d.example\r\nBDAT %d LAST\r\n%sQUIT\r\n", len(inner), inner, len(inner), inner) // abandoned
	var first string
	for _, size := range []int{len(stream), 0, 1} {
		b := &sample{refuse: refuseByName}
		s := start(t, context.Background(), testConfig(), b, testPeer())
		banner(t, s)
		go func() {
			for rest := stream; rest != ""; {
				n := size
				if n == 0 {
					n = strings.Index(rest, "\n") + 1
				}
				if _, err := io.WriteString(s, rest[:n]); err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		replies, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(replies)
		}
		if string(replies) != first || !strings.HasSuffix(first, "221 2.0.0 Bye\r\n") {
			t.Errorf("writes of %d: %s\nnot %s", size, replies, first)
		}
		if got := b.taken(); len(got) != 1 || got[0].from != "a@example.com" || got[0].body != strings.ReplaceAll(inner+inner, "\r\n", "\n") {
			t.Errorf("writes of %d: %+v", size, got)
		}
	}
}
