package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/queue"
)

// maxQueueKeys is the largest number of keys that the queue is given.
const maxQueueKeys = 64

// stdinKey is the key that stands on standard input. It is read once and kept for reloads.
type stdinKey struct {
	once sync.Once
	key  []byte
	err  error
}

func (k *stdinKey) get() ([]byte, error) {
	k.once.Do(func() {
		line, err := bufio.NewReader(io.LimitReader(os.Stdin, 1024)).ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			k.err = errors.New("queue encryption: no key on standard input; smtpd has one with -d or -F")
			if err != nil && err != io.EOF {
				k.err = fmt.Errorf("queue encryption: standard input: %w", err)
			}
			return
		}
		k.key, k.err = queueKey("standard input", line)
	})
	return k.key, k.err
}

// queueKey takes the characters of a key as they are, as OpenSMTPD does. What is no key is not shown.
func queueKey(from, key string) ([]byte, error) {
	if len(key) != config.QueueKeySize {
		return nil, fmt.Errorf("queue encryption: %s: a key has %d characters, this one has %d", from, config.QueueKeySize, len(key))
	}
	return []byte(key), nil
}

// encoding gives the queue's part of the configuration with the keys themselves.
func encoding(cfg *config.Config, stdin *stdinKey) (e queue.Encoding, err error) {
	switch cfg.QueueCompress {
	case "gzip":
		e.Compression = queue.Gzip
	case "zstd":
		e.Compression = queue.Zstd
	}
	e.Encrypt = len(cfg.QueueKeys) > 0 && cfg.QueueKeys[0] != config.QueueKeyNone
	for _, name := range cfg.QueueKeys {
		var keys [][]byte
		path, inFile := strings.CutPrefix(name, config.QueueKeyFile)
		switch {
		case name == config.QueueKeyNone:
		case name == config.QueueKeyStdin:
			var key []byte
			key, err = stdin.get()
			keys = [][]byte{key}
		case inFile:
			keys, err = queueKeyFile(path)
		default:
			keys = [][]byte{[]byte(name)}
		}
		if err != nil {
			return e, err
		}
		e.Keys = append(e.Keys, keys...)
	}
	if len(e.Keys) > maxQueueKeys {
		return e, fmt.Errorf("queue encryption: more than %d keys", maxQueueKeys)
	}
	return e, nil
}

// queueKeyFile reads a key from each line of a file that only its owner may read.
func queueKeyFile(path string) (keys [][]byte, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("queue encryption: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("queue encryption: %s: insecure permissions: only its owner may read or write it", path)
	}
	text, err := readPEM(path)
	if err != nil {
		return nil, fmt.Errorf("queue encryption: %w", err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimRight(line, "\r"); line == "" {
			continue
		}
		key, err := queueKey(fmt.Sprintf("%s, line %d", path, n+1), line)
		if err != nil {
			return nil, err
		}
		if keys = append(keys, key); len(keys) > maxQueueKeys {
			return nil, fmt.Errorf("queue encryption: %s: more than %d keys", path, maxQueueKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("queue encryption: %s: there is no key in it", path)
	}
	return keys, nil
}
