package srs

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

const (
	testKey = "0123456789abcdef"
	ttl     = 5 * 24 * time.Hour
)

// then is when OpenSMTPD 7.8.0p1 wrote the addresses of these tests.
var then = time.Unix(1795581118, 0)

func parse(t testing.TB, s string) address.Address {
	t.Helper()
	a, err := address.Parse(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return a
}

// vectors come from a running OpenSMTPD with testKey.
var vectors = []struct{ sender, domain, encoded string }{
	{"alice@example.com", "example.org", "SRS0=QyK1=JO=example.com=alice@example.org"},
	{"alice@example.com", "forwarder.example", "SRS0=8JMI=JO=example.com=alice@forwarder.example"},
	{"o'neil=x@example.net", "example.org", "SRS0=KqZT=JO=example.net=o'neil=x@example.org"},
	{"o'neil=x@example.net", "forwarder.example", "SRS0=acB3=JO=example.net=o'neil=x@forwarder.example"},
	{"SRS0=wxyz=AB=first.example=user@other.example", "example.org", "SRS1=7q7z=other.example==wxyz=AB=first.example=user@example.org"},
	{"srs0=wxyz=AB=first.example=user@other.example", "forwarder.example", "SRS1=p468=other.example==wxyz=AB=first.example=user@forwarder.example"},
	{"SRS1=wxyz=first.example==abcd=AB=orig.example=user@second.example", "example.org", "SRS1=dr16=first.example==abcd=AB=orig.example=user@example.org"},
	{"SRS1=wxyz=first.example==abcd=AB=orig.example=user@second.example", "forwarder.example", "SRS1=EuLQ=first.example==abcd=AB=orig.example=user@forwarder.example"},
	{"SRS0+wxyz=AB=first.example=user@other.example", "example.org", "SRS0=GuX7=JO=other.example=SRS0+wxyz=AB=first.example=user@example.org"},
}

func TestEncode(t *testing.T) {
	c := New(testKey, "", ttl)
	for _, tt := range vectors {
		if got := c.Encode(parse(t, tt.sender), tt.domain, then); got.String() != tt.encoded {
			t.Errorf("%s at %s: %s, want %s", tt.sender, tt.domain, got, tt.encoded)
		}
	}
	for _, s := range []address.Address{{}, {Local: "x"}, {Local: "SRS1=wxyz", Domain: "example.com"}, {Local: "SRS1=wxyzq", Domain: "example.com"},
		{Local: strings.Repeat("x", 250), Domain: "example.com"}} {
		if got := c.Encode(s, "example.org", then); got != s {
			t.Errorf("%+v became %s", s, got)
		}
	}
}

func TestDecode(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name string
		c    *Codec
		rcpt string
		at   time.Duration // after then
		want string
		err  error
	}{
		{"same day", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 0, "alice@example.com", nil},
		{"mixed case", New(testKey, "", ttl), "SRS0=DSPB=JO=Sub.Example.COM=Bob.Smith+tag@example.org", 0, "Bob.Smith+tag@sub.example.com", nil},
		{"prefix in small letters", New(testKey, "", ttl), "srs0=QyK1=JO=example.com=alice@example.org", 0, "alice@example.com", nil},
		{"equals sign", New(testKey, "", ttl), "SRS0=KqZT=JO=example.net=o'neil=x@example.org", 0, "o'neil=x@example.net", nil},
		{"last day", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 5 * day, "alice@example.com", nil},
		{"day after", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 6 * day, "", ErrExpired},
		{"a day ahead", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", -day, "alice@example.com", nil},
		{"two days ahead", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", -2 * day, "", ErrExpired},
		{"1024 days later", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 1024 * day, "alice@example.com", nil},
		{"any day", New(testKey, "", 4000*day), "SRS0=QyK1=JO=example.com=alice@example.org", 700 * day, "alice@example.com", nil},
		{"backup key", New("newkey", testKey, ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 0, "alice@example.com", nil},
		{"new key", New("newkey", testKey, ttl), "SRS0=eGcR=JO=example.com=alice@example.org", 0, "alice@example.com", nil},
		{"other key", New("newkey", "third", ttl), "SRS0=QyK1=JO=example.com=alice@example.org", 0, "", ErrHash},
		{"other domain", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=alice@forwarder.example", 0, "", ErrHash},
		{"other user", New(testKey, "", ttl), "SRS0=QyK1=JO=example.com=bob@example.org", 0, "", ErrHash},
		{"small letters", New(testKey, "", ttl), "srs0=qyk1=jo=example.com=alice@example.org", 0, "", ErrHash},
		{"short", New(testKey, "", ttl), "SRS0=abc@example.org", 0, "", ErrSyntax},
		{"no SRS", New(testKey, "", ttl), "alice@example.org", 0, "", ErrSyntax},
	}
	for _, tt := range tests {
		got, err := tt.c.Decode(parse(t, tt.rcpt), then.Add(tt.at))
		if !errors.Is(err, tt.err) || err == nil && got.String() != tt.want {
			t.Errorf("%s: %s, %v, want %s, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

// TestSecondForwarder follows an address over three forwarders and back to the first.
func TestSecondForwarder(t *testing.T) {
	keys := []string{"one", "two", "three"}
	a := parse(t, "user@orig.example")
	for _, k := range keys {
		a = New(k, "", ttl).Encode(a, k+".example", then)
	}
	back, err := New("three", "", ttl).Decode(a, then)
	if err != nil || back.Domain != "one.example" {
		t.Fatalf("%s leads to %s, %v, not to the first", a, back, err)
	}
	back, err = New("one", "", ttl).Decode(back, then)
	if err != nil || back.String() != "user@orig.example" {
		t.Errorf("%s, %v", back, err)
	}
	if _, err := New("three", "", ttl).Decode(a, then.Add(7*24*time.Hour)); !errors.Is(err, ErrExpired) {
		t.Errorf("a week later: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, v := range vectors {
		f.Add(v.encoded, true)
	}
	f.Add("TT=example.com=x@example.org", true)
	f.Add("JO==@example.org", true)
	f.Fuzz(func(t *testing.T, s string, sign bool) {
		c := New(testKey, "backup", ttl)
		if sign { // what follows the signature is read only if it is good
			s = "SRS0=" + hash(testKey, s) + "=" + s
		}
		a, err := address.Parse(s)
		if err != nil {
			return
		}
		got, err := c.Decode(a, then)
		if err != nil {
			return
		}
		if again, err := address.Parse(got.String()); err != nil || again != got || got.Domain == "" {
			t.Errorf("%q leads to %q, which is no address: %v", s, got, err)
		}
	})
}

func FuzzEncode(f *testing.F) {
	f.Add("alice", "example.com", "example.org")
	f.Add("SRS0=a=b", "example.com", "example.org")
	f.Add("a b\"", "[127.0.0.1]", "example.org")
	f.Fuzz(func(t *testing.T, local, domain, at string) {
		a, err := address.Parse(address.Address{Local: local, Domain: domain}.String())
		if err != nil {
			return
		}
		if at, err = address.ParseDomain(at); err != nil {
			return
		}
		c := New(testKey, "", ttl)
		e := c.Encode(a, at, then)
		if e == a {
			return
		}
		back, err := address.Parse(e.String())
		if err != nil || back != e || e.Domain != at {
			t.Fatalf("%q became %q, read as %q, %v", a, e, back, err)
		}
		if Encoded(a.Local) { // the way back is not to the sender but to the first forwarder
			return
		}
		if got, err := c.Decode(e, then); err != nil || got != a {
			t.Errorf("%q became %q and leads to %q, %v", a, e, got, err)
		}
	})
}
