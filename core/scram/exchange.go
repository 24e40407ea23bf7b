package scram

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// Exchange is what the server has to know between the client's two messages. It holds no
// secret.
type Exchange struct {
	Header, Bare string // of the client's first message
	Nonce        string // of both
	Challenge    string // the server's first message
}

// Begin answers the client's first message.
func Begin(f *First, k *Key) *Exchange { return begin(f, k, rand.Text()) }

func begin(f *First, k *Key, nonce string) *Exchange {
	nonce = f.Nonce + nonce
	return &Exchange{Header: f.Header, Bare: f.Bare, Nonce: nonce, Challenge: challenge(nonce, k)}
}

func challenge(nonce string, k *Key) string {
	return fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(k.Salt), k.Iterations)
}

// Finish checks the client's second message. Only when the proof is right the server's
// signature is made. A key that was changed since Begin is one that the proof is not for.
func (e *Exchange) Finish(message string, k *Key) (answer string, ok bool, err error) {
	f, err := parseFinal(message, e.Header, e.Nonce)
	if err != nil {
		return "", false, err
	}
	signed := e.Bare + "," + e.Challenge + "," + f.bare
	client := make([]byte, sha256.Size)
	subtle.XORBytes(client, f.proof[:], mac(k.Stored[:], signed))
	sum := sha256.Sum256(client)
	if subtle.ConstantTimeCompare(sum[:], k.Stored[:]) != 1 {
		return "", false, nil
	}
	return "v=" + base64.StdEncoding.EncodeToString(mac(k.Server[:], signed)), true, nil
}
