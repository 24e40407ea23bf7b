// Command smtpd-service installs smtpd(8) in the system's service manager and controls it
// there. It is a program of its own so that the daemon need not know service managers.
package main

import (
	"os"

	"github.com/godwit-mta/godwit/compat/service"
)

func main() {
	os.Exit(service.Main(os.Args[1:], os.Stdout, os.Stderr))
}
