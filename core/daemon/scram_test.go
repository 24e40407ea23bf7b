package daemon

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/godwit-mta/godwit/core/config"
	"github.com/godwit-mta/godwit/core/control"
	"github.com/godwit-mta/godwit/core/scram"
)

// Keys of "annpw" and "secret", with few iterations.
const (
	annKey    = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$z2F/ym0UcOafXydhyxWrVvCVhiw6uaPL865Zfri/fTI=:Gjg0/cuXKVcPUtf80I5F1zhXASQZ797A2PSIcZTJezA="
	secretKey = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$bpq6mgw3iSqp1KV8rJl0GL6U7zFUFmok4g9ad338qAA=:0lCV+0qJolGHhrHx1tm7nVErmY0Neq9ZEJyq74xtC8g="
)

// scramClient is the client's side, as RFC 5802 section 3 has it.
type scramClient struct {
	header, user, password string
	first, challenge       string
	signature              []byte
	verified               bool
}

func (c *scramClient) Start() (string, []byte, error) {
	c.first = "n=" + c.user + ",r=abcdef"
	return "SCRAM-SHA-256", []byte(c.header + c.first), nil
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if c.signature != nil {
		c.verified = string(challenge) == "v="+base64.StdEncoding.EncodeToString(c.signature)
		return []byte{}, nil
	}
	c.challenge = string(challenge)
	return c.final()
}

func (c *scramClient) final() ([]byte, error) {
	var nonce, salt string
	var count int
	if _, err := fmt.Sscanf(strings.ReplaceAll(c.challenge, ",", " "), "r=%s s=%s i=%d", &nonce, &salt, &count); err != nil || !strings.HasPrefix(nonce, "abcdef") {
		return nil, fmt.Errorf("challenge %q: %v", c.challenge, err)
	}
	octets, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		return nil, err
	}
	salted, err := pbkdf2.Key(sha256.New, c.password, octets, count, sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	bare := "c=" + base64.StdEncoding.EncodeToString([]byte(c.header)) + ",r=" + nonce
	signed := c.first + "," + c.challenge + "," + bare
	key := mac(salted, "Client Key")
	stored := sha256.Sum256(key)
	proof := make([]byte, sha256.Size)
	subtle.XORBytes(proof, key, mac(stored[:], signed))
	c.signature = mac(mac(salted, "Server Key"), signed)
	return []byte(bare + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// salt is what the server told.
func (c *scramClient) salt() string { return c.challenge[strings.Index(c.challenge, ",s="):] }

func TestScram(t *testing.T) {
	l, config, users := newAuthLab(t, "auth <users> scram received-auth", authRule)
	table := "ann " + annKey + "\nbea bea:" + secretKey + "\na,b=c " + annKey + "\nhashed " + annHash + "\nlocked *\nbad SCRAM-SHA-256$1:x$y:z\n"
	if err := os.WriteFile(users, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	l.begin()
	if _, list := l.dialTLS(config).Extension("AUTH"); !slices.Contains(strings.Fields(list), "SCRAM-SHA-256") {
		t.Errorf("AUTH %s", list)
	}
	for _, v := range []struct {
		header, user, password string
		code                   int
		log                    string
	}{
		{"n,,", "ann", "annpw", 0, "user=ann result=ok"},
		{"y,,", "Ann", "annpw", 0, "user=Ann result=ok"},
		{"n,a=bea,", "bea", "secret", 0, "user=bea result=ok"},
		{"n,,", "a=2Cb=3Dc", "annpw", 0, "user=a,b=c result=ok"},
		{"n,,", "ann", "wrong", 535, "user=ann result=permfail"},
		{"n,,", "nobody", "annpw", 535, "user=nobody result=permfail"},
		{"n,,", "hashed", "annpw", 535, "user=hashed result=permfail"},
		{"n,,", "locked", "*", 535, "user=locked result=permfail"},
		{"n,,", "bad", "x", 454, "user=bad result=tempfail"},
		{"n,a=bea,", "ann", "annpw", 535, ""},
		{"p=tls-exporter,,", "ann", "annpw", 501, ""},
	} {
		from := l.log.len()
		c, client := l.dialTLS(config), &scramClient{header: v.header, user: v.user, password: v.password}
		err := c.Auth(client)
		if code(err) != v.code || client.verified != (v.code == 0) || v.code == 0 && err != nil {
			t.Errorf("%s with %q: %v, want %d; the server's signature is right: %v", v.user, v.header, err, v.code, client.verified)
		}
		if v.log != "" {
			l.log.wait(t, from, `smtp authentication `+v.log+`$`)
		}
		if v.code == 535 && v.log != "" && client.signature == nil {
			t.Errorf("%s was refused before the proof", v.user)
		}
		if err := c.Mail("ann@example.org", nil); code(err) == 530 != (v.code != 0) {
			t.Errorf("%s: MAIL afterwards: %v", v.user, err)
		}
		c.Close()
	}
	for _, m := range []sasl.Client{sasl.NewPlainClient("", "ann", "annpw"), sasl.NewLoginClient("bea", "secret")} {
		if err := l.dialTLS(config).Auth(m); err != nil {
			t.Errorf("a key with another mechanism: %v", err)
		}
	}
	if l.log.has("U0NSQU0") || l.log.has(annKey[30:]) || l.log.has("annpw") {
		t.Error("a key is in the log")
	}
}

// Users that do not exist are asked for the same salt every time, with the length and the
// iterations of new keys.
func TestScramUnknown(t *testing.T) {
	l, config, _ := authLab(t, "auth <users> scram", authRule)
	salts := make(map[string]string)
	for i := range 3 {
		if i == 2 {
			l.relaunch()
		}
		for _, user := range []string{"nobody", "NOBODY", "another", "ann"} { // ann has a hash
			client := &scramClient{header: "n,,", user: user, password: "x"}
			if err := l.dialTLS(config).Auth(client); code(err) != 535 {
				t.Fatal(err)
			}
			user = strings.ToLower(user)
			if old := salts[user]; old != "" && old != client.salt() {
				t.Errorf("%s: %s, then %s", user, old, client.salt())
			}
			salts[user] = client.salt()
			if !strings.HasSuffix(client.salt(), fmt.Sprintf(",i=%d", scram.DefaultIterations)) {
				t.Errorf("%s: %s", user, client.salt())
			}
		}
	}
	if salts["nobody"] == salts["another"] {
		t.Error("two users have one salt")
	}
}

// The secret lasts, nobody else can read it, and one that is damaged is replaced.
func TestKeptSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), secretName)
	first, err := keptSecret(path)
	if err != nil || len(first) != 32 {
		t.Fatalf("%x, %v", first, err)
	}
	if again, err := keptSecret(path); err != nil || !bytes.Equal(first, again) {
		t.Errorf("%x, then %x, %v", first, again, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := keptSecret(path)
	if kept, _ := keptSecret(path); err != nil || len(other) != 32 || bytes.Equal(first, other) || !bytes.Equal(other, kept) {
		t.Errorf("after damage %x, %v", other, err)
	}
	if lost, err := keptSecret(filepath.Join(path, "x")); err == nil || len(lost) != 32 {
		t.Errorf("without a place: %x, %v", lost, err)
	}
}

// A key that is changed or taken out during an exchange counts.
func TestScramChanges(t *testing.T) {
	l, config, path := newAuthLab(t, "auth <users> scram", authRule)
	if err := os.WriteFile(path, []byte("ann "+annKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l.begin()
	client := &scramClient{header: "n,,", user: "ann", password: "annpw"}
	err := l.dialTLS(config).Auth(interrupted{client, func() {
		if err := os.WriteFile(path, []byte("bea "+annKey+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := l.ask(control.Request{Op: control.UpdateTable, Name: "users"}, nil); err != nil {
			t.Fatal(err)
		}
	}})
	if code(err) != 535 || client.verified {
		t.Errorf("a user who was taken out: %v", err)
	}
}

// interrupted does something before the second message.
type interrupted struct {
	*scramClient
	hook func()
}

func (c interrupted) Next(challenge []byte) ([]byte, error) {
	if c.signature == nil {
		c.hook()
	}
	return c.scramClient.Next(challenge)
}

func TestScramState(t *testing.T) {
	l := lookupWith(t, []config.Entry{{Key: "ann", Value: annKey}}, make(chan string, 1))
	now := time.Now()
	good, err := l.seal(&scramState{Exchange: &scram.Exchange{Nonce: "x"}, Table: "static", User: "ann", Until: now.Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := l.unseal(good, now); err != nil || s.User != "ann" || s.Exchange.Nonce != "x" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := l.unseal(good, now.Add(2*time.Minute)); err != errScramState {
		t.Errorf("a state that is too old: %v", err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if _, err := l.unseal(bad, now); err != errScramState {
			t.Errorf("octet %d changed: %v", i, err)
		}
		if _, err := l.unseal(good[:i], now); err != errScramState {
			t.Errorf("cut to %d octets: %v", i, err)
		}
	}
	if _, err := newLookup(&member{}).unseal(good, now); err != errScramState {
		t.Errorf("the state of another process: %v", err)
	}
	// A program that compares passwords has no keys to tell.
	s := l.cfg.get(1)
	s.Sessions = listenerTables([]config.Listener{{AuthTable: "program", Scram: true}})
	if err := s.prepareListeners(); err == nil || !strings.Contains(err.Error(), "scram: ") {
		t.Errorf("a table that serves auth: %v", err)
	}
}

// Guessing by SCRAM counts with all other guesses.
func TestScramGuessing(t *testing.T) {
	l := lookupWith(t, []config.Entry{{Key: "ann", Value: annKey}}, make(chan string, 1))
	try := func(password string) (*scramReply, error) {
		client := &scramClient{header: "n,,", user: "ann", password: password}
		_, message, _ := client.Start()
		first, err := l.scramFirst(t.Context(), &scramRequest{Generation: 1, Table: "static", Message: string(message)})
		if err != nil {
			t.Fatal(err)
		}
		final, err := client.Next([]byte(first.Message))
		if err != nil {
			t.Fatal(err)
		}
		return l.scramFinal(t.Context(), &scramRequest{Generation: 1, Table: "static", Message: string(final), State: first.State})
	}
	if r, err := try("annpw"); err != nil || !r.Found || r.Message == "" {
		t.Errorf("the right password: %+v, %v", r, err)
	}
	for range guessBurst {
		if r, err := try("wrong"); err != nil || r.Found || r.Message != "" {
			t.Errorf("a wrong password: %+v, %v", r, err)
		}
	}
	if _, err := try("annpw"); err != errGuessed {
		t.Errorf("after %d wrong passwords: %v", guessBurst, err)
	}
}
