package platform

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// targets are the systems of ci/cross.sh.
var targets = []string{"linux", "openbsd", "freebsd", "netbsd", "dragonfly", "darwin"}

func TestComplete(t *testing.T) {
	for _, goos := range targets {
		f, ok := For(goos)
		if !ok {
			t.Errorf("%s: no facts", goos)
			continue
		}
		complete(t, goos, reflect.ValueOf(f))
		paths := []string{f.ConfigFile, f.Aliases, f.Spool, f.ControlSocket, f.PidFile, f.Empty, f.Libexec,
			f.MailboxDir, f.SendmailPath, f.MailnameFile}
		paths = append(append(paths, f.SyslogSockets...), f.CAFiles...)
		for _, p := range paths {
			if !filepath.IsAbs(p) || filepath.Clean(p) != p {
				t.Errorf("%s: path %q", goos, p)
			}
		}
		if f.MailboxMode&^0o660 != 0 {
			t.Errorf("%s: mailboxes of mode %o", goos, f.MailboxMode)
		}
		if f.Users.Daemon == f.Users.Queue {
			t.Errorf("%s: the daemon's user owns the queue", goos)
		}
		// They exclude each other in one process, even on one descriptor.
		if goos != "linux" && slices.Contains(f.MailboxLocks, Flock) && slices.Contains(f.MailboxLocks, Fcntl) {
			t.Errorf("%s: flock and fcntl lock out each other", goos)
		}
		for _, l := range f.MailboxLocks {
			if !slices.Contains([]Lock{Dotlock, Flock, Fcntl}, l) {
				t.Errorf("%s: lock %q", goos, l)
			}
		}
	}
	if _, ok := For("plan9"); ok {
		t.Error("facts about a system that we do not know")
	}
}

// complete wants every field to be filled in.
func complete(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Field(i)
		if field.Type() == reflect.TypeFor[Passwords]() {
			continue // what a system does not have is empty
		}
		if field.IsZero() || field.Kind() == reflect.Slice && field.Len() == 0 {
			t.Errorf("%s: %s is missing", name, v.Type().Field(i).Name)
		}
		if field.Kind() == reflect.Struct {
			complete(t, name, field)
		}
	}
}

func TestPasswords(t *testing.T) {
	for _, goos := range targets {
		f, _ := For(goos)
		p := f.Passwords
		if none := p == (Passwords{}); none != (goos == "darwin") {
			t.Errorf("%s: %+v", goos, p)
		} else if none {
			continue
		}
		if (p.Format == Shadow) != (p.Accounts != "") || p.Format != Shadow && p.Format != MasterPasswd {
			t.Errorf("%s: format %q with accounts in %q", goos, p.Format, p.Accounts)
		}
		if (p.Scripts == "") != (p.Classes == "") || (p.Scripts != "") != (goos == "openbsd") {
			t.Errorf("%s: scripts in %q, classes in %q", goos, p.Scripts, p.Classes)
		}
		if !filepath.IsAbs(p.Hashes) {
			t.Errorf("%s: hashes in %q", goos, p.Hashes)
		}
	}
}

func TestOverride(t *testing.T) {
	before := linux()
	if got := override(before); !reflect.DeepEqual(got, before) {
		t.Errorf("without overrides: %+v", got)
	}
	tests := []struct {
		variable *string
		fact     func(Facts) string
	}{
		{&configFile, func(f Facts) string { return f.ConfigFile }},
		{&daemonUser, func(f Facts) string { return f.Users.Daemon }},
		{&queueUser, func(f Facts) string { return f.Users.Queue }},
		{&queueGroup, func(f Facts) string { return f.Users.QueueGroup }},
		{&aliases, func(f Facts) string { return f.Aliases }},
		{&spool, func(f Facts) string { return f.Spool }},
		{&controlSocket, func(f Facts) string { return f.ControlSocket }},
		{&pidFile, func(f Facts) string { return f.PidFile }},
		{&empty, func(f Facts) string { return f.Empty }},
		{&libexec, func(f Facts) string { return f.Libexec }},
		{&mailboxDir, func(f Facts) string { return f.MailboxDir }},
		{&sendmailPath, func(f Facts) string { return f.SendmailPath }},
		{&caFile, func(f Facts) string { return strings.Join(f.CAFiles, ":") }},
		{&mailnameFile, func(f Facts) string { return f.MailnameFile }},
		{&service, func(f Facts) string { return f.Service }},
	}
	for i, tt := range tests {
		*tt.variable = "/overridden"
		if got := tt.fact(override(before)); got != "/overridden" {
			t.Errorf("variable %d: got %q", i, got)
		}
		*tt.variable = ""
	}
}
