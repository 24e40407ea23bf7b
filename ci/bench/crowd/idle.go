package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// probes is how many new sessions are opened while the others are idle.
const probes = 300

// idle opens sessions which then say nothing, and measures what they take and what they mean for new ones.
func (o *options) idle() error {
	o.settle()
	memory, used, start := o.pss(), o.cpu(), time.Now()
	all, err := o.open()
	if err != nil {
		return err
	}
	took := time.Since(start)
	o.settle()
	used = o.cpu() - used
	fmt.Printf("idle %s: %d sessions in %.2f s, server %d us each\n", o.as, o.n, took.Seconds(), used.Microseconds()/int64(o.n))
	o.reportMemory("at once", memory)
	if o.hold > 0 {
		time.Sleep(o.hold)
		o.reportMemory(fmt.Sprintf("after %v", o.hold), memory)
	}
	var banners times
	for i := range probes {
		c, err := connect(o.addr, source(normal, i))
		if err != nil {
			return err
		}
		banners.add(c.banner)
		c.Close()
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Printf("  banner of a new session: %v\n", &banners)
	alive := 0
	for _, c := range all {
		if _, err := c.say("NOOP\r\n"); err == nil {
			alive++
		}
		c.Close()
	}
	fmt.Printf("  %d of %d sessions answer\n", alive, o.n)
	return nil
}

func (o *options) reportMemory(when string, before int) {
	now := o.pss()
	fmt.Printf("  memory %s: %d KiB in all, %d before, %.2f KiB a session\n", when, now, before, float64(now-before)/float64(o.n))
}

// open opens the sessions, 16 at a time.
func (o *options) open() ([]*client, error) {
	all := make([]*client, o.n)
	var next atomic.Int64
	var openers sync.WaitGroup
	errs := make(chan error, 16)
	for range cap(errs) {
		openers.Go(func() {
			for i := int(next.Add(1)) - 1; i < o.n; i = int(next.Add(1)) - 1 {
				c, err := connect(o.addr, source(crowd, i))
				if err == nil {
					err = c.begin(o.as)
				}
				if err != nil {
					errs <- fmt.Errorf("session %d: %w", i, err)
					return
				}
				all[i] = c
			}
		})
	}
	openers.Wait()
	select {
	case err := <-errs:
		return nil, err
	default:
		return all, nil
	}
}

// begin brings a session to where it is left alone.
func (c *client) begin(as string) (err error) {
	switch as {
	case "banner":
	case "ehlo":
		_, err = c.say("EHLO client.bench.test\r\n")
	case "tls":
		err = c.secure()
	default:
		err = fmt.Errorf("unknown kind of session %q", as)
	}
	return err
}
