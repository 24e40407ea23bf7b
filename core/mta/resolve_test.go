package mta

import (
	"fmt"
	"testing"

	"github.com/godwit-mta/godwit/core/dns"
	"github.com/godwit-mta/godwit/core/envelope"
)

// A name that does not exist is the fault of the recipient's domain when it is that, and
// ours when it is the name of the configured host.
func TestMissingNames(t *testing.T) {
	m := New(Config{Resolver: &fakeResolver{errs: map[string]error{"gone.example": lookupError{"Domain does not exist", false}}}})
	defer m.Stop(t.Context())
	_, f := m.servers(t.Context(), &Relay{}, "gone.example")
	if f.status != envelope.PermFail || f.class != 5 {
		t.Errorf("domain: %+v", f)
	}
	_, f = m.servers(t.Context(), &Relay{URL: URL{Scheme: SMTP, Host: "gone.example"}}, "")
	if f.status != envelope.TempFail || f.class != 4 {
		t.Errorf("configured host: %+v", f)
	}
}

// The enhanced status says whose fault it is.
func TestStatusOfErrors(t *testing.T) {
	refused := &refusal{reply{554, []string{"5.7.1 go away"}}}
	for _, tt := range []struct {
		name string
		f    fate
		want string
	}{
		{"no such domain", lookupFate(&dns.Error{Kind: dns.Permanent, NotFound: true}), "5.102"},
		{"null MX", lookupFate(&dns.Error{Kind: dns.Permanent}), "5.110"},
		{"name servers down", lookupFate(&dns.Error{Kind: dns.Temporary}), "4.403"},
		{"no TLS", openFate(errNoTLS), "4.704"},
		{"TLS refused", openFate(fmt.Errorf("%w: 454 no", errTLSRefused)), "4.704"},
		{"handshake", openFate(fmt.Errorf("%w: unknown authority", errHandshake)), "4.705"},
		{"no AUTH", openFate(authError{errNoAuth}), "4.704"},
		{"refused", openFate(refused), "4.701"},
		{"other", openFate(errSequence), "4.401"},
		{"lost", lost(errSequence), "4.402"},
	} {
		if got := fmt.Sprintf("%d.%d", tt.f.class, tt.f.code); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
