// Crowd measures a mail server under many clients at once: what an idle session takes of memory, whether
// slow clients slow others, whether a flood of connections is held off.
//
// Loopback addresses are exempt from the limits of clients, so the clients come from 10.99.0.0/16, which has
// to be local to this host; crowd.sh runs all in a network namespace of its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"
)

const usage = `usage: crowd idle -n sessions [-as banner|ehlo|tls] [-hold time]
       crowd slow -n clients [-every time] [-c sessions] [-messages n]
       crowd flood [-rate a-minute] [-for time] [-keep] [-log file]
each with [-addr server] [-pid process]`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "crowd:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	server
	n        int
	as       string
	hold     time.Duration
	every    time.Duration
	sessions int
	messages int
	rate     int
	span     time.Duration
	keep     bool
	log      string
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	o := &options{}
	fs := flag.NewFlagSet("crowd "+args[0], flag.ContinueOnError)
	fs.StringVar(&o.addr, "addr", "10.99.0.1:2525", "address and port of the server")
	fs.IntVar(&o.pid, "pid", 0, "process of the server, measured with all that come from it; 0: none")
	fs.IntVar(&o.n, "n", 1000, "clients")
	fs.StringVar(&o.as, "as", "ehlo", "how far idle sessions go: banner, ehlo or tls")
	fs.DurationVar(&o.hold, "hold", 0, "how long sessions are idle before memory is measured a second time")
	fs.DurationVar(&o.every, "every", 2*time.Second, "a slow client sends an octet that often")
	fs.IntVar(&o.sessions, "c", 4, "sessions that send mail")
	fs.IntVar(&o.messages, "messages", 4000, "messages that they send in all")
	fs.IntVar(&o.rate, "rate", 100000, "connections a minute")
	fs.DurationVar(&o.span, "for", 70*time.Second, "how long the flood lasts")
	fs.BoolVar(&o.keep, "keep", false, "the flood keeps the sessions that it gets")
	fs.StringVar(&o.log, "log", "", "file with the log of the server")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if fs.NArg() > 0 || o.n < 1 || o.rate < 1 {
		return errors.New(usage)
	}
	switch args[0] {
	case "idle":
		return o.idle()
	case "slow":
		return o.slow()
	case "flood":
		return o.flood()
	}
	return errors.New(usage)
}

// perNetwork is how many clients come from each network of 24 bits, all from different addresses.
const perNetwork = 200

// source gives the address of a client. Clients of different groups share no network.
func source(group, i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 99, byte(group + i/perNetwork), byte(1 + i%perNetwork)})
}

// The first networks of the groups of clients: those that are idle or slow, those that the others are
// measured by, and the one that floods.
const (
	crowd  = 10
	normal = 200
	enemy  = 220
)
