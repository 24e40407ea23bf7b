package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
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
		cfg, _, err := Parse("smtpd.conf", text, map[string]string{"cmd": "\"a b\" c"}, include, testEnv)
		if (cfg == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", cfg, err)
		}
		if err == nil {
			if len(cfg.Rules) == 0 || len(cfg.MTALimits) == 0 {
				t.Error("an empty configuration")
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 || len(errs) > maxErrors {
			t.Fatalf("errors: %v", err)
		}
		for _, e := range errs {
			if e.Pos.Line < 1 || e.Pos.Column < 1 || e.Pos.File == "" || e.Message == "" || e.Error() == "" {
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
