package daemon

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/godwit-mta/godwit/core/config"
)

// secretName is a file of the spool with random octets. From them come the salts that SCRAM
// tells of users who do not exist: those of a user who does exist stay as they are, so these must
// not change with a restart either.
const secretName = "scram-secret"

// scramSecret gives the octets when a listener offers SCRAM. While the spool cannot keep them
// they last until the next start.
func (p *parent) scramSecret(cfg *config.Config) []byte {
	if p.secret != nil || !slices.ContainsFunc(cfg.Listeners, func(l config.Listener) bool { return l.Scram }) {
		return p.secret
	}
	var err error
	if p.secret, err = keptSecret(filepath.Join(p.opts.Spool, secretName)); err != nil {
		p.log.Warnf("SCRAM tells other salts of unknown users after the next start: %v", err)
	}
	return p.secret
}

// keptSecret reads a secret from a file, which it makes if need be. There is one with an error
// too.
func keptSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) == sha256.Size {
		return secret, nil
	}
	secret = make([]byte, sha256.Size)
	rand.Read(secret)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	return secret, writeSecret(path, secret)
}

// writeSecret writes beside the file first, so that it is never a part of itself.
func writeSecret(path string, secret []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(secret)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
