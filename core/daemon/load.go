package daemon

import (
	"net"
	"os"

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
		Executable: executable,
	})
}

func lookupPort(name string) (uint16, error) {
	n, err := net.LookupPort("tcp", name)
	return uint16(n), err
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
}
