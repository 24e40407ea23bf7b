package daemon

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxPEM is the largest key, certificate or CA file that is read, in octets.
const maxPEM = 4 << 20

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(b) > maxPEM {
		err = fmt.Errorf("%s: larger than %d octets", path, maxPEM)
	}
	return b, err
}

// readCA reads the certificates of authorities.
func readCA(path string) ([]byte, error) {
	b, err := readPEM(path)
	if err == nil && !x509.NewCertPool().AppendCertsFromPEM(b) {
		err = fmt.Errorf("%s: no certificate in the file", path)
	}
	return b, err
}

func decodeKeyPEM(b []byte) ([]byte, error) {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil, errors.New("no private key in the file")
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
				return nil, errors.New("keys with a passphrase are not supported")
			}
			return block.Bytes, nil
		}
		b = rest
	}
}

func decodeChainPEM(b []byte) (*tls.Certificate, error) {
	cert := new(tls.Certificate)
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			cert.Certificate = append(cert.Certificate, block.Bytes)
		}
		b = rest
	}
	if len(cert.Certificate) == 0 {
		return nil, errors.New("no certificate in the file")
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	cert.Leaf = leaf
	return cert, nil
}

// checkPair reports whether key belongs to the first certificate of chain.
func checkPair(chain, key []byte) error {
	cert, err := decodeChainPEM(chain)
	if err != nil {
		return err
	}
	signer, err := parseKey(key)
	if err != nil {
		return err
	}
	public, ok := cert.Leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(signer.Public()) {
		return errors.New("the key does not belong to the certificate")
	}
	return nil
}

// oneChain keeps the certificates of a file and drops whatever else is in it, such as a
// key in the same file.
func oneChain(b []byte) []byte {
	var out bytes.Buffer
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return out.Bytes()
		}
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes})
		}
		b = rest
	}
}
