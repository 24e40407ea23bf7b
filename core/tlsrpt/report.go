package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"
)

// Sender is who makes reports.
type Sender struct {
	Organization string
	Contact      string // mailbox or URL, for people
	Mail         string // the sender of reports by mail
	Host         string // this host's name
}

// report is what a domain is told about a day,
// https://www.rfc-editor.org/rfc/rfc8460#section-4.4
type report struct {
	Organization string    `json:"organization-name"`
	Range        dateRange `json:"date-range"`
	Contact      string    `json:"contact-info"`
	ID           string    `json:"report-id"`
	Policies     []about   `json:"policies"`
}

type dateRange struct {
	Start string `json:"start-datetime"`
	End   string `json:"end-datetime"`
}

type about struct {
	Policy  Policy   `json:"policy"`
	Summary summary  `json:"summary"`
	Details []detail `json:"failure-details,omitempty"`
}

type summary struct {
	Good int `json:"total-successful-session-count"`
	Bad  int `json:"total-failure-session-count"`
}

// sealed is a report as it travels.
type sealed struct {
	domain string
	id     string
	name   string // of the file
	start  time.Time
	end    time.Time
	gzip   []byte
}

// seal makes the report of a domain about a day.
func (s *Sender) seal(day, domain string, tallies []*tally) (*sealed, error) {
	start, err := time.Parse(dayFormat, day)
	if err != nil {
		return nil, err
	}
	out := &sealed{domain: domain, id: day + "-" + rand.Text() + "@" + s.Host, start: start, end: start.AddDate(0, 0, 1).Add(-time.Second)}
	// https://www.rfc-editor.org/rfc/rfc8460#section-5.1
	out.name = fmt.Sprintf("%s!%s!%d!%d.json.gz", s.Host, domain, out.start.Unix(), out.end.Unix())
	r := report{Organization: s.Organization, Contact: s.Contact, ID: out.id,
		Range: dateRange{out.start.Format(time.RFC3339), out.end.Format(time.RFC3339)}}
	for _, t := range tallies {
		r.Policies = append(r.Policies, about{t.Policy, summary{t.Good, t.Bad}, t.Details})
	}
	text, err := json.MarshalIndent(&r, "", " ")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(append(text, '\n')); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	out.gzip = b.Bytes()
	return out, nil
}
