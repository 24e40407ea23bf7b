package daemon

import (
	"fmt"
	"net"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/hostname"
	"github.com/godwit-mta/godwit/platform"
)

// LoadConfig reads and checks a configuration file.
func LoadConfig(path string, macros map[string]string, facts platform.Facts) (*config.Config, []config.Warning, error) {
	return config.Load(path, macros, config.Environment{
		Hostname:   hostname.Server(facts.MailnameFile),
		LookupPort: lookupPort,
		LibexecDir: facts.Libexec,
	})
}

// CheckFiles reads the keys, certificates and authorities that a configuration names.
func CheckFiles(cfg *config.Config) error {
	if _, _, err := readPKIs(cfg.PKIs); err != nil {
		return err
	}
	for _, ca := range cfg.CAs {
		if _, err := readPEM(ca.File); err != nil {
			return fmt.Errorf("ca %s: %w", ca.Name, err)
		}
	}
	return nil
}

func lookupPort(name string) (uint16, error) {
	n, err := net.LookupPort("tcp", name)
	return uint16(n), err
}
