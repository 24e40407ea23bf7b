// Package hostname finds the name under which this server greets, and that completes
// addresses without a domain.
package hostname

import (
	"bufio"
	"context"
	"net"
	"os"
	"strings"
	"time"

	"github.com/godwit-mta/godwit/core/address"
)

// Server gives the name of this server: the first line of the mailname file, otherwise
// the host's name, made complete by a look-up when it has no dot.
func Server(mailname string) string {
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
