package main

import (
	"fmt"
	"io"
	"net"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/hostname"
	"github.com/godwit-mta/godwit/platform"
)

// convert prints a configuration file in today's language. What that cannot say goes to
// log as well.
func convert(path string, out, log io.Writer) error {
	text, lost, err := config.ConvertFile(path, environment())
	if err != nil {
		return err
	}
	for _, u := range lost {
		fmt.Fprintf(log, "%s:%d:%d: warning: %s\n", u.Pos.File, u.Pos.Line, u.Pos.Column, u.What)
	}
	_, err = out.Write(text)
	return err
}

// environment is what a configuration file is read with.
func environment() config.Environment {
	facts := platform.Current()
	return config.Environment{
		Hostname: hostname.Server(facts.MailnameFile),
		LookupPort: func(name string) (uint16, error) {
			n, err := net.LookupPort("tcp", name)
			return uint16(n), err
		},
		LibexecDir: facts.Libexec,
	}
}
