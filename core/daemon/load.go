package daemon

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/platform"
)

// LoadConfig reads and checks a configuration file.
func LoadConfig(path string, macros map[string]string, facts platform.Facts) (*config.Config, []config.Warning, error) {
	return config.Load(path, macros, config.Environment{
		Hostname:   ServerName(facts.MailnameFile),
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

// ServerName gives the name of this server: the first line of the mailname file, otherwise
// the host's name, made complete by a look-up when it has no dot.
func ServerName(mailname string) string {
	if f, err := os.Open(mailname); err == nil {
		defer f.Close()
		line, _ := bufio.NewReaderSize(f, 1024).ReadString('\n')
		if name := strings.TrimSpace(line); address.ValidHost(name) {
			return strings.ToLower(name)
		}
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "localhost"
	}
	if strings.Contains(host, ".") {
		return strings.ToLower(host)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if full, err := net.DefaultResolver.LookupCNAME(ctx, host); err == nil {
		if full = strings.TrimSuffix(full, "."); strings.Contains(full, ".") && address.ValidHost(full) {
			return strings.ToLower(full)
		}
	}
	return strings.ToLower(host)
}
