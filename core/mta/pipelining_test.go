package mta

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// countedReads counts how often a server has to wait for its client.
type countedReads struct {
	io.Reader
	n *atomic.Int64
}

func (c countedReads) Read(p []byte) (int, error) {
	c.n.Add(1)
	return c.Reader.Read(p)
}

// oneConnection keeps all messages on one connection.
var oneConnection = &Relay{Name: "out", Limits: Limits{MaxConnPerRelay: 1}}

// sendMany submits messages at once and waits for all of their results.
func sendMany(b *bench, n int) {
	for range n {
		b.Submit(b.message("Subject: x\n\nx\n", "u@example.com"), oneConnection)
	}
	for range n {
		if r := <-b.results; !strings.HasPrefix(r.Text, "250") {
			b.t.Errorf("%+v", r)
		}
	}
}

// TestPipeliningSavesRoundTrips counts the round trips of messages to a server with and without PIPELINING: one for
// a message, instead of one for each of MAIL, RCPT, DATA and the text.
func TestPipeliningSavesRoundTrips(t *testing.T) {
	const messages = 50
	trips := make(map[string]int64)
	for _, ehlo := range []string{"PIPELINING", "8BITMIME"} {
		var n atomic.Int64
		addr := scripted(t, func(c *script, _ int) {
			c.r = bufio.NewReaderSize(countedReads{c.Conn, &n}, 64<<10)
			c.serve([]string{ehlo}, nil)
		})
		b := newBench(t, nil)
		b.domain("example.com", addr)
		sendMany(b, messages)
		trips[ehlo] = n.Load()
	}
	if with, without := trips["PIPELINING"], trips["8BITMIME"]; without < 4*messages || with > 2*messages {
		t.Errorf("%d round trips for %d messages with pipelining, %d without", with, messages, without)
	}
}

// lag is a network: what is said takes a while to arrive, in both directions. It gives its own address.
func lag(b *testing.B, to string, delay time.Duration) string {
	return scripted(b, func(c *script, _ int) {
		server, err := net.Dial("tcp", to)
		if err != nil {
			b.Error(err)
			return
		}
		defer server.Close()
		go carry(c, server, delay)
		carry(server, c, delay)
	})
}

// carry passes on what src says, each part after the delay.
func carry(dst, src net.Conn, delay time.Duration) {
	type part struct {
		text []byte
		at   time.Time
	}
	way := make(chan part, 1024)
	go func() {
		defer close(way)
		for buf := make([]byte, 64<<10); ; {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			way <- part{append([]byte(nil), buf[:n]...), time.Now().Add(delay)}
		}
	}()
	for p := range way {
		time.Sleep(time.Until(p.at))
		_, _ = dst.Write(p.text) // the end shows when it reads
	}
	dst.Close()
}

// BenchmarkLag tells what a message takes on one connection with 50 ms of network in between.
func BenchmarkLag(b *testing.B) {
	const delay, messages = 50 * time.Millisecond, 20
	for _, ehlo := range []string{"PIPELINING", "8BITMIME"} {
		b.Run(fmt.Sprintf("%s/%v", ehlo, delay), func(b *testing.B) {
			addr := scripted(b, func(c *script, _ int) { c.serve([]string{ehlo}, nil) })
			m := newBench(b, func(c *Config) { c.Log = nil })
			m.domain("example.com", lag(b, addr, delay/2))
			sendMany(m, 1)
			for b.Loop() {
				sendMany(m, messages)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*messages), "ms/message")
		})
	}
}
