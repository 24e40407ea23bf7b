package tlsrpt

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/trace"
	"github.com/godwit-mta/godwit/core/twofile"
)

// Times and numbers of a Reporter.
const (
	saveDelay   = 10 * time.Second // in which changes gather, the longer the more there is to write
	savePace    = 100 << 10        // octets for each second more
	againAfter  = time.Hour        // when a report could not be handed over
	sendTime    = 2 * time.Minute  // for the look-up of a domain and all its targets
	maxSending  = 8                // domains at the same time
	maxSameHost = 1000             // reports of a round to one mail domain or web server
)

// Options of a Reporter.
type Options struct {
	TXT   func(ctx context.Context, name string) ([]string, error)
	Host  func(ctx context.Context, name string) ([]netip.Addr, error)
	Dial  func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	Roots func() *x509.CertPool
	// Mail sends a message with LF line ends from this host.
	Mail  func(ctx context.Context, from, to string, text []byte) error
	Store *twofile.Pair // nil: nothing is kept across restarts
	Log   *trace.Logger
	Now   func() time.Time // nil: time.Now
}

// Reporter counts results and sends reports about days that are over. It is safe for use by
// several goroutines.
type Reporter struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // has room for one

	mu      sync.Mutex
	sender  Sender // without an organization nothing is sent
	spread  time.Duration
	all     *collection
	warned  string // day on which a warning was given that there is no room
	saving  *time.Timer
	closed  bool
	saveMu  sync.Mutex
	planned time.Time // of the next round; zero: to be planned
}

// New gives a Reporter with what its store has. It sends nothing before Configure.
func New(o Options) *Reporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Reporter{o: o, all: newCollection(), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if o.Store != nil {
		text, err := o.Store.Load(maxKept)
		if err != nil {
			o.Log.Warnf("tls-report: what was kept cannot be read: %v", err)
		}
		r.all = parseKept(text)
	}
	go r.run()
	return r
}

// Configure says who sends reports, and within how long after the end of a day. Without an
// organization nothing is sent.
func (r *Reporter) Configure(s Sender, spread time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sender == s && r.spread == spread {
		return
	}
	r.sender, r.spread, r.planned = s, spread, time.Time{}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Add counts results of now.
func (r *Reporter) Add(results []Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	day := r.o.Now().UTC().Format(dayFormat)
	for _, res := range results {
		if !r.all.add(day, res) && r.warned != day {
			r.warned = day
			r.o.Log.Warnf("tls-report: no room for more results, such as one of %q", res.Domain)
		}
	}
	r.save()
}

// run waits for the time of the next round.
func (r *Reporter) run() {
	defer close(r.done)
	for {
		r.mu.Lock()
		now := r.o.Now()
		if r.planned.IsZero() {
			r.planned = r.plan(now)
		}
		wait := r.planned.Sub(now)
		r.mu.Unlock()
		// The clock may be set: no wait is longer than this.
		t := time.NewTimer(min(max(wait, 0), time.Minute))
		select {
		case <-t.C:
			if wait <= 0 {
				r.round()
			}
		case <-r.wake:
		case <-r.ctx.Done():
		}
		t.Stop()
		if r.ctx.Err() != nil {
			return
		}
	}
}

// plan gives the time of the next round: some time after the day has ended, for not everybody
// to ask at midnight, or after now when there is something left of an earlier day. The caller
// holds the lock.
func (r *Reporter) plan(now time.Time) time.Time {
	from := now.UTC()
	if len(r.all.before(from.Format(dayFormat))) == 0 {
		from = from.Truncate(24*time.Hour).AddDate(0, 0, 1)
	}
	if r.spread > 0 {
		from = from.Add(rand.N(r.spread))
	}
	return from
}

// job is a report to make.
type job struct {
	day, domain string
	tallies     []*tally
}

// round reports what was counted on the days before today.
func (r *Reporter) round() {
	r.mu.Lock()
	now := r.o.Now().UTC()
	sender := r.sender
	var jobs []job
	oldest := now.AddDate(0, 0, -maxDays).Format(dayFormat)
	for _, day := range r.all.before(now.Format(dayFormat)) {
		for domain, tallies := range r.all.days[day] {
			if day < oldest {
				r.o.Log.Infof("tls-report: domain=%s day=%s given up", domain, day)
				r.all.drop(day, domain)
			} else {
				jobs = append(jobs, job{day, domain, tallies})
			}
		}
	}
	r.save()
	r.mu.Unlock()
	left := 0
	if sender.Organization != "" {
		left = r.work(&sender, jobs)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case left > 0:
		r.planned = r.o.Now().Add(againAfter)
	case sender.Organization == "": // what there is waits for a configuration
		r.planned = r.o.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	default:
		r.planned = time.Time{}
	}
}

// work makes reports, a few at the same time, and gives the number of those that have to be
// tried again.
func (r *Reporter) work(s *Sender, jobs []job) (left int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, maxSending)
	same := make(map[string]int)
	mayGo := func(host string) bool {
		mu.Lock()
		defer mu.Unlock()
		same[host]++
		return same[host] <= maxSameHost
	}
	for _, j := range jobs {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if r.ctx.Err() != nil {
				return
			}
			if err := r.report(s, &j, mayGo); err != nil {
				r.o.Log.Infof("tls-report: domain=%s day=%s failed, trying again: %s", j.domain, j.day, printable(err.Error()))
				mu.Lock()
				left++
				mu.Unlock()
				return
			}
			r.mu.Lock()
			r.all.drop(j.day, j.domain)
			r.save()
			r.mu.Unlock()
		})
	}
	wg.Wait()
	return left
}

// report makes the report about a domain and hands it over. When one of several targets got it,
// that is enough.
func (r *Reporter) report(s *Sender, j *job, mayGo func(host string) bool) error {
	ctx, cancel := context.WithTimeout(r.ctx, sendTime)
	defer cancel()
	records, err := r.o.TXT(ctx, "_smtp._tls."+j.domain)
	if err != nil {
		if e, ok := err.(interface{ Exists() bool }); ok && !e.Exists() {
			return nil // nobody wants to know
		}
		return err
	}
	targets := ParseRecord(records)
	if len(targets) == 0 {
		return nil
	}
	sealed, err := s.seal(j.day, j.domain, j.tallies)
	if err != nil {
		return err
	}
	var failed error
	sent := 0
	for _, t := range targets {
		host := t.Host
		if !t.Mail.Null() {
			host = t.Mail.Domain
		}
		if !mayGo(host) {
			r.o.Log.Infof("tls-report: domain=%s day=%s to=%s result=\"too many reports to this host\"", j.domain, j.day, t)
			continue
		}
		if err := r.hand(ctx, s, sealed, t); err != nil {
			r.o.Log.Infof("tls-report: domain=%s day=%s to=%s result=%q", j.domain, j.day, t, err.Error())
			failed = err
			continue
		}
		sent++
		r.o.Log.Infof("tls-report: domain=%s day=%s to=%s id=%s result=\"Ok\"", j.domain, j.day, t, sealed.id)
	}
	if sent > 0 {
		return nil
	}
	return failed
}

func (r *Reporter) hand(ctx context.Context, s *Sender, report *sealed, t Target) error {
	if t.Mail.Null() {
		w := web{r.o.Host, r.o.Dial, r.o.Roots}
		return w.post(ctx, t, report.gzip)
	}
	from, err := address.Parse(s.Mail)
	if err != nil {
		return err
	}
	return r.o.Mail(ctx, from.String(), t.Mail.String(), s.mail(report, t.Mail, r.o.Now()))
}

// printable keeps out of the log what strangers have put into an error.
func printable(s string) string {
	s = fmt.Sprintf("%q", s)
	return s[1 : len(s)-1]
}

// save writes everything to the store in a while. The caller holds the lock.
func (r *Reporter) save() {
	if r.o.Store == nil || r.saving != nil || r.closed {
		return
	}
	delay := saveDelay + time.Duration(r.all.octets/savePace)*time.Second
	r.saving = time.AfterFunc(delay, func() {
		r.mu.Lock()
		r.saving = nil
		r.mu.Unlock()
		r.write()
	})
}

func (r *Reporter) write() {
	r.saveMu.Lock()
	defer r.saveMu.Unlock()
	r.mu.Lock()
	text := r.all.text()
	r.mu.Unlock()
	if err := r.o.Store.Save(text); err != nil {
		r.o.Log.Warnf("tls-report: results cannot be kept: %v", err)
	}
}

// Close ends what is under way and writes what was not written.
func (r *Reporter) Close() {
	r.cancel()
	<-r.done
	r.mu.Lock()
	unsaved := r.saving != nil && r.saving.Stop()
	r.saving, r.closed = nil, true
	r.mu.Unlock()
	if r.o.Store == nil {
		return
	}
	if unsaved {
		r.write()
	}
	r.saveMu.Lock()
	defer r.saveMu.Unlock()
	r.o.Store.Close()
}
