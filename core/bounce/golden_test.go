package bounce

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/envelope"
)

// at gives an address.
func at(s string) address.Address {
	local, domain, _ := strings.Cut(s, "@")
	return address.Address{Local: local, Domain: domain}
}

// goldenNotices are what the files of testdata show.
func goldenNotices() map[string]*Notice {
	const day = 24 * time.Hour
	notice := func(kind envelope.BounceType, rcpts ...Recipient) *Notice {
		for i := range rcpts {
			if rcpts[i].Kind == 0 {
				rcpts[i].Kind = kind
			}
			rcpts[i].LastTry = testDate
		}
		return &Notice{Kind: kind, Host: "mx1.example.org", To: at("alice@example.org"), Date: testDate,
			Arrival: testDate.Add(-time.Hour), MaxFull: 100 << 10, Recipients: rcpts}
	}
	failed := notice(envelope.BounceFailed,
		Recipient{Final: at("u1@reject.example.net"), Rcpt: at("u1@reject.example.net"), EscClass: 5, EscCode: 101,
			Text: "550 5.1.1 no such user", MTA: "mx.reject.example.net"},
		Recipient{Final: at("carol@home.example.net"), Rcpt: at("staff@example.org"), EscClass: 5, EscCode: 202,
			Text: "552 5.2.2 mailbox is full", MTA: "mx.home.example.net"},
		Recipient{Final: at("list@example.org"), Rcpt: at("list@example.org"), ORcpt: "rfc822;List+2BAll@example.com",
			EscClass: 5, EscCode: 101, Text: `"no such folder"`})
	failed.EnvID = "QQ+2B314159"
	full := notice(envelope.BounceFailed, Recipient{Final: at("u1@reject.example.net"), EscClass: 5, EscCode: 701,
		Text: "554 5.7.1 refused\r\n\r\nAction: delivered", MTA: "mx.reject\r\nX: y"})
	full.Full = true
	expired := notice(envelope.BounceFailed, Recipient{Final: at("u1@slow.example.net"), EscClass: 5, EscCode: 407, TTL: 4 * day, MTA: "mx.slow.example.net",
		Text: ExpiredText("451 4.7.1 come back later")})
	delayed := notice(envelope.BounceDelayed, Recipient{Final: at("u1@slow.example.net"), EscClass: 4, EscCode: 701,
		Text: "451 4.7.1 come back later", MTA: "mx.slow.example.net", Expires: testDate.Add(4*day - 4*time.Hour)})
	delayed.Delay = 4 * time.Hour
	success := notice(envelope.BounceDelivered,
		Recipient{Final: at("bob@example.org"), Rcpt: at("bob@example.org")},
		Recipient{Final: at("eve@far.example.net"), Kind: envelope.BounceRelayed, EscClass: 2, Text: "250 2.0.0 ok", MTA: "mx.far.example.net"},
		Recipient{Final: at("staff@example.org"), Rcpt: at("staff@example.org"), Kind: envelope.BounceExpanded})
	return map[string]*Notice{"failed": failed, "full": full, "expired": expired, "delayed": delayed, "success": success}
}

var update = flag.Bool("update", false, "write the golden files")

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "1 second", time.Second: "1 second", 59900 * time.Millisecond: "59 seconds", time.Minute: "1 minute",
		4*time.Hour + time.Second: "4 hours", 4*time.Hour + 20*time.Minute: "4 hours 20 minutes", 97 * time.Hour: "4 days 1 hour",
		96 * time.Hour: "4 days", 24*time.Hour + time.Minute: "1 day", 90 * time.Second: "1 minute 30 seconds",
	} {
		if got := duration(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

var changing = regexp.MustCompile(`=_[A-Z0-9]+|Message-ID: <[a-z0-9]+`)

func TestGolden(t *testing.T) {
	for name, n := range goldenNotices() {
		var b bytes.Buffer
		if err := Build(&b, n, strings.NewReader(testMessage)); err != nil {
			t.Fatal(err)
		}
		parse(t, b.Bytes())
		got := changing.ReplaceAllFunc(b.Bytes(), func(m []byte) []byte {
			if m[0] == '=' {
				return []byte("=_BOUNDARY")
			}
			return []byte("Message-ID: <random")
		})
		file := filepath.Join("testdata", name+".golden")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}
