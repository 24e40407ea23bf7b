package mta

import (
	"testing"

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
