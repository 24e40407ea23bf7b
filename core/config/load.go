package config

import (
	"fmt"
	"io"
	"os"
)

// maxFile is how many octets a file can have.
const maxFile = 16 << 20

// Environment is what a configuration depends on and what others find out.
type Environment struct {
	Hostname   string                            // the server's name
	LibexecDir string                            // where table programs lie, or ""
	LookupPort func(name string) (uint16, error) // finds the port of a TCP service
	Executable func(path string) bool            // tells whether a program is there
}

// Load reads a file and those that it includes. The macros win over those of the same name
// in the file. When something is wrong in the text the error is of type Errors.
func Load(path string, macros map[string]string, env Environment) (*Config, []Warning, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return Parse(path, text, macros, readFile, env)
}

// Parse is Load for a text that was read already. The function include reads the other
// files; nil allows none.
func Parse(name string, text []byte, macros map[string]string,
	include func(path string) ([]byte, error), env Environment) (*Config, []Warning, error) {
	rep := &report{texts: map[string][]byte{}}
	t := parse(name, text, macros, include, env, rep)
	cfg := check(t, env, rep)
	cfg.Language = t.lang
	cfg.Unsupported = append(cfg.Unsupported, t.lost...)
	rep.sort(cfg)
	if len(rep.errors) > 0 {
		return nil, rep.warnings, rep.errors
	}
	return cfg, rep.warnings, nil
}

// readFile reads a file of bounded size. Devices and the like have no size, so that is
// found out by reading.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s has more than %d octets", path, maxFile)
	}
	return text, nil
}
