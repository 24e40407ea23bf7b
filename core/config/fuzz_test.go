package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzParse reads any text: it ends, and says where each error is.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	for _, w := range wrong {
		if len(w.text) < 200 {
			f.Add([]byte(w.text + "\n" + rule))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		include := func(path string) ([]byte, error) {
			if path == "" {
				return nil, errors.New("no such file")
			}
			return text, nil
		}
		cfg, warnings, err := Parse("smtpd.conf", text, map[string]string{"cmd": "\"a b\" c"}, include, testEnv)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", cfg, err)
		}
		for _, w := range warnings {
			if !inside(w.Pos, text) || w.Message == "" {
				t.Errorf("%+v", w)
			}
		}
		if err == nil {
			if len(cfg.Rules) == 0 || len(cfg.MTALimits) == 0 {
				t.Error("an empty configuration")
			}
			for _, name := range dangling(cfg) {
				t.Errorf("nothing is called %q", name)
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxErrors {
			t.Fatalf("errors: %v", err)
		}
		for _, e := range errs {
			if !inside(e.Pos, text) || e.Message == "" || e.Error() == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}

// FuzzOld reads old files: what is right can be written in today's language, says the same
// there and does not change any more.
func FuzzOld(f *testing.F) {
	files, err := filepath.Glob("testdata/old/*.conf")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, w := range wrongOld {
		f.Add([]byte(w.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, _, err := Parse("smtpd.conf", text, nil, includes(oldIncludes), testEnv)
		if err != nil || cfg.Language == Today {
			return
		}
		out, _, err := Convert("smtpd.conf", text, includes(oldIncludes), testEnv)
		switch {
		case errors.Is(err, ErrNotConvertible):
			return
		case err != nil:
			t.Fatal(err)
		}
		again, _, err := Convert("smtpd.conf", out, includes(oldIncludes), testEnv)
		if err != nil || !bytes.Equal(again, out) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// inside tells whether a place is one of a text, its end included. The text stands in every
// file.
func inside(pos Pos, text []byte) bool {
	lines := strings.Split(string(bytes.TrimPrefix(text, byteOrderMark)), "\n")
	return pos.File != "" && pos.Line >= 1 && pos.Line <= len(lines)+1 && pos.Column >= 1 &&
		(pos.Line > len(lines) || pos.Column <= len(lines[pos.Line-1])+1)
}

// dangling lists the names that a configuration refers to and does not declare.
func dangling(cfg *Config) (names []string) {
	known := map[string]bool{
		"": true, LocalNames: true, LocalHost: true, AnyHost: true, AnyDestination: true, GetPwNam: true,
	}
	declare := func(kind, name string) { known[kind+name] = true }
	refer := func(kind string, list ...string) {
		for _, name := range list {
			if name != "" && !known[kind+name] && !(kind == "" && known[name]) {
				names = append(names, kind+name)
			}
		}
	}
	for _, t := range cfg.Tables {
		declare("", t.Name)
	}
	for _, w := range cfg.Wrappers {
		declare("wrapper ", w.Name)
	}
	for _, p := range cfg.PKIs {
		declare("pki ", p.Name)
	}
	for _, ca := range cfg.CAs {
		declare("ca ", ca.Name)
	}
	for _, p := range cfg.Procs {
		declare("proc ", p.Name)
	}
	for _, f := range cfg.Filters {
		declare("filter ", f.Name)
	}
	for _, f := range cfg.Filters {
		refer("filter ", f.Chain...)
		refer("proc ", f.Proc)
		refer("", f.Cond.Table)
	}
	for _, l := range cfg.Listeners {
		refer("pki ", l.PKI...)
		refer("ca ", l.CA)
		refer("filter ", l.Filter)
		refer("", l.AuthTable, l.Senders, l.Hostnames)
	}
	refer("filter ", cfg.Socket.Filter)
	for _, a := range cfg.Actions {
		declare("action ", a.Name)
		r := &a.Relay
		refer("", a.Alias, a.Virtual, a.UserBase, r.HeloSrc, r.Src, r.HostTable, r.DomainTable, r.Auth)
		refer("wrapper ", a.Wrapper)
		refer("filter ", r.Filter)
		if len(cfg.Unsupported) == 0 { // smtpd does not start with another
			refer("pki ", r.PKI)
			refer("ca ", r.CA)
		}
	}
	for _, r := range cfg.Rules {
		refer("action ", r.Action)
		for _, m := range []Match{r.Tag, r.FromSocket, r.From, r.RDNS, r.For, r.Helo, r.Auth, r.TLS, r.MailFrom, r.RcptTo} {
			refer("", m.Table)
		}
	}
	return names
}
