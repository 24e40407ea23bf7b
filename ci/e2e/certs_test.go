package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
)

// authority is a certificate authority that openssl keeps in a directory.
type authority struct {
	t    *testing.T
	dir  string
	cert string // path of its certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	dir := place(t)
	a := &authority{t, dir, filepath.Join(dir, "ca.pem")}
	command(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
		"-subj", "/CN=Test CA", "-keyout", filepath.Join(dir, "ca.key"), "-out", a.cert)
	return a
}

// issue makes a key and a certificate for a host, name.key and name.pem in a directory.
func (a *authority) issue(dir, name string) (cert, key string) {
	a.t.Helper()
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	request := filepath.Join(a.dir, name+".csr")
	command(a.t, "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-subj", "/CN="+name, "-addext", "subjectAltName=DNS:"+name, "-keyout", key, "-out", request)
	command(a.t, "openssl", "x509", "-req", "-in", request, "-CA", a.cert, "-CAkey", filepath.Join(a.dir, "ca.key"),
		"-CAcreateserial", "-days", "30", "-copy_extensions", "copy", "-out", cert)
	if err := os.Chmod(key, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// server gives the settings of a server with a new certificate for a name.
func (a *authority) server(name string) *tls.Config {
	a.t.Helper()
	cert, key := a.issue(a.dir, name)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// client gives the settings of a client that trusts this authority alone.
func (a *authority) client(name string) *tls.Config {
	a.t.Helper()
	pem, err := os.ReadFile(a.cert)
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: name}
}
