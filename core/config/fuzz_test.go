package config

import (
	"errors"
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
