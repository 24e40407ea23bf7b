package daemon

import (
	"net"
	"path/filepath"
	"strings"

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
		Executable: func(path string) bool { // one that lies in another directory counts as well
			_, err := tableProgramPath(facts, strings.TrimPrefix(filepath.Base(path), "table-"))
			return err == nil
		},
	})
}

func lookupPort(name string) (uint16, error) {
	n, err := net.LookupPort("tcp", name)
	return uint16(n), err
}
