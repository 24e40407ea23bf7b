package daemon

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/godwit-mta/godwit/core/ipc"
)

// cryptoRole holds the private keys. It signs digests and never gives a key away.
type cryptoRole struct {
	m    *member
	keys generations[keyring]
	next keyring
	turn uint64 // the generation of next
}

// keyring holds the keys by the name of their pki.
type keyring map[string]crypto.Signer

func newCrypto(m *member) *cryptoRole { return &cryptoRole{m: m} }

func (c *cryptoRole) prepare(r *ipc.Request, _ []*os.File) error {
	var cfg cryptoConfig
	if err := r.Decode(&cfg); err != nil {
		return err
	}
	next := make(keyring, len(cfg.Keys))
	for _, k := range cfg.Keys {
		key, err := parseKey(k.PEM)
		if err != nil {
			return fmt.Errorf("key of pki %s: %w", k.Name, err)
		}
		next[k.Name] = key
	}
	c.next, c.turn = next, cfg.Generation
	return nil
}

func (c *cryptoRole) activate() { c.keys.add(c.turn, c.next); c.next = nil }
func (c *cryptoRole) abandon()  { c.next = nil }

func (c *cryptoRole) drain(context.Context) {}

func (c *cryptoRole) handle(from Role, r *ipc.Request) {
	switch r.Kind {
	case kindSign:
		r.Go(func() { c.sign(r) })
	case kindStats:
		r.Reply(&statsReply{})
	default:
		r.Fail(fmt.Errorf("crypto: message %d of %s", r.Kind, from))
	}
}

func (c *cryptoRole) sign(r *ipc.Request) {
	var q signRequest
	if err := r.Decode(&q); err != nil {
		r.Fail(err)
		return
	}
	key := c.keys.get(q.Generation)[q.PKI]
	if key == nil {
		r.Fail(fmt.Errorf("no key for pki %s", q.PKI))
		return
	}
	hash := crypto.Hash(q.Hash)
	if hash != 0 && (!hash.Available() || len(q.Digest) != hash.Size()) {
		r.Fail(errors.New("digest does not fit its hash"))
		return
	}
	if q.PSS && hash == 0 {
		r.Fail(errors.New("PSS needs a hash"))
		return
	}
	var opts crypto.SignerOpts = hash
	if q.PSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := key.Sign(rand.Reader, q.Digest, opts)
	if err != nil {
		r.Fail(err)
		return
	}
	r.Reply(&signature{sig})
}

func parseKey(pem []byte) (crypto.Signer, error) {
	der, err := decodeKeyPEM(pem)
	if err != nil {
		return nil, err
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("not a key that signs")
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("not a private key in PKCS#8, PKCS#1 or SEC 1 form")
}

// remoteKey is a private key that lies in the crypto process.
type remoteKey struct {
	generation uint64
	pki        string
	public     crypto.PublicKey
	conn       *ipc.Conn
}

// signWait bounds how long a handshake waits for the crypto process.
const signWait = 10 * time.Second

func (k *remoteKey) Public() crypto.PublicKey { return k.public }

func (k *remoteKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	q := signRequest{Generation: k.generation, PKI: k.pki, Digest: digest, Hash: uint(opts.HashFunc())}
	if _, ok := opts.(*rsa.PSSOptions); ok {
		q.PSS = true
	}
	ctx, cancel := context.WithTimeout(context.Background(), signWait)
	defer cancel()
	var sig signature
	if err := k.conn.Call(ctx, kindSign, &q, &sig); err != nil {
		return nil, err
	}
	return sig.Bytes, nil
}

// remoteCertificate joins a chain of certificates and the key behind it.
func remoteCertificate(generation uint64, chain namedPEM, conn *ipc.Conn) (*tls.Certificate, error) {
	cert, err := decodeChainPEM(chain.PEM)
	if err != nil {
		return nil, fmt.Errorf("certificate of pki %s: %w", chain.Name, err)
	}
	cert.PrivateKey = &remoteKey{generation: generation, pki: chain.Name, public: cert.Leaf.PublicKey, conn: conn}
	return cert, nil
}
