// Dnsbl is a filter that refuses mail of hosts that are on a list in the DNS:
//
//	filter lists proc-exec "/usr/local/libexec/smtpd/dnsbl -junk dnsbl.example.org"
//
// It asks as soon as a client connects and wants to know only when there is mail, so that the look-ups
// cost no time. Who has logged in is not refused. A list that does not answer lists nobody.
package main

import (
	"context"
	"flag"
	"log"
	"net/netip"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/filterkit"
)

func main() {
	log.SetFlags(0)
	junk := flag.Bool("junk", false, "mark the mail as spam instead")
	server := flag.String("server", "", "ask this name server, an address and port")
	timeout := flag.Duration("timeout", 3*time.Second, "wait no longer for a list")
	flag.Parse()
	resolver := filterkit.NewDNS(*timeout)
	if *server != "" {
		at, err := netip.ParseAddrPort(*server)
		if err != nil {
			log.Fatal(err)
		}
		resolver = filterkit.NewDNS(*timeout, at)
	}
	f := lists(resolver, flag.Args(), *junk)
	if err := f.Run(context.Background(), os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// state is what a session has begun: one look-up a list.
type state []*filterkit.Later[filterkit.Listing]

func lists(d *filterkit.DNS, zones []string, junk bool) *filterkit.Filter {
	f := new(filterkit.Filter)
	f.In.Report(filterkit.LinkConnect, func(s *filterkit.Session, _ []string) {
		var all state
		addr := s.Addr // since what Begin starts must not touch the session
		for _, zone := range zones {
			all = append(all, filterkit.Begin(s, func(ctx context.Context) (filterkit.Listing, error) {
				return d.ListedAddr(ctx, zone, addr)
			}))
		}
		s.State = all
	})
	f.In.Decide(filterkit.MailFrom, func(s *filterkit.Session, _ string) filterkit.Answer {
		all, _ := s.State.(state)
		if s.User != "" {
			return filterkit.Proceed()
		}
		for i, later := range all {
			l, err := later.Wait()
			if err != nil {
				log.Printf("%s: %s: %v", zones[i], s.Addr, err)
			}
			if !l.Listed() {
				continue
			}
			if junk {
				return filterkit.Junk()
			}
			return filterkit.Reject(550, "5.7.1 "+s.Addr.String()+" is listed by "+zones[i]+" "+l.Reason)
		}
		return filterkit.Proceed()
	})
	return f
}
