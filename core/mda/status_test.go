package mda

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/godwit-mta/godwit/compat/mailbox"
	"github.com/godwit-mta/godwit/core/envelope"
)

func TestEnhancedStatus(t *testing.T) {
	j := &Job{Method: Maildir}
	const temp, perm = envelope.TempFail, envelope.PermFail
	tests := []struct {
		name string
		out  Outcome
		want string
	}{
		{"delivered", Outcome{Status: envelope.Delivered}, "0.0"},
		{"LMTP", Outcome{Status: perm, EscClass: 5, EscCode: 202}, "5.202"},
		{"EX_NOUSER", Outcome{Status: perm, Exit: 67}, "5.101"},
		{"EX_NOHOST", Outcome{Status: perm, Exit: 68}, "5.102"},
		{"EX_DATAERR", Outcome{Status: perm, Exit: 65}, "5.600"},
		{"EX_CANTCREAT", Outcome{Status: perm, Exit: 73}, "5.200"},
		{"EX_TEMPFAIL", Outcome{Status: temp, Exit: exTempFail}, "4.300"},
		{"EX_NOPERM", Outcome{Status: perm, Exit: 77}, "5.700"},
		{"EX_CONFIG", Outcome{Status: perm, Exit: 78}, "5.305"},
		{"another code", Outcome{Status: perm, Exit: 1}, "5.0"},
		{"beyond", Outcome{Status: perm, Exit: 79}, "5.0"},
		{"signal", Outcome{Status: temp, Text: "terminated; signal 9"}, "4.0"},
		{"said", Outcome{Status: perm, Exit: 77, Text: `"5.2.2 over quota"`}, "5.202"},
		{"said after a reply", Outcome{Status: temp, Exit: 75, Text: `"452 4.2.2: full"`}, "4.202"},
		{"said otherwise", Outcome{Status: temp, Exit: 75, Text: `"5.2.2 over quota"`}, "4.300"},
		{"said nonsense", Outcome{Status: perm, Text: `"5.2.300 x"`}, "5.0"},
		{"permission", j.failed(&fs.PathError{Op: "open", Err: fs.ErrPermission}), "4.305"},
		{"unsafe", j.failed(fmt.Errorf("joe: %w", mailbox.ErrUnsafe)), "4.305"},
		{"input", j.failed(&fs.PathError{Op: "read", Err: fs.ErrInvalid}), "4.300"},
	}
	for _, tt := range tests {
		r := tt.out.Result(1)
		if got := fmt.Sprintf("%d.%d", r.EscClass, r.EscCode); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
