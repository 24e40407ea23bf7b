package main

import (
	"bufio"
	"fmt"
	"io"

	"github.com/godwit-mta/godwit/core/password"
)

// encrypt prints the hash of a password, or of each line of the input when none is given.
func encrypt(method, secret string, in io.Reader, out io.Writer) error {
	if secret != "" {
		return printHash(out, method, secret)
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 2*password.MaxPassword)
	for lines.Scan() {
		if err := printHash(out, method, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

func printHash(out io.Writer, method, secret string) error {
	hash, err := password.Hash(method, secret)
	if err == nil {
		_, err = fmt.Fprintln(out, hash)
	}
	return err
}
