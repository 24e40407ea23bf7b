package password

import (
	"errors"
	"strings"
	"testing"

	"github.com/godwit-mta/godwit/core/scram"
)

// right are hashes of "secret", made by libxcrypt, argon2(1) and OpenSSL.
var right = []string{
	`$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`,
	`$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`,
	`$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`,
	`{BLF-CRYPT}$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`,
	`{crypt}$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW`,
	`$1$saltsalt$9xy1btjgzLYfb7hivXtC//`,
	`$1$$ysVNzQc4CTMkp5daOdZ.3/`,
	`$5$rounds=1000$salt$CCvcOM6b7TEJDPb37Aec/9UpOg4QhPNAxPpL9ZzjTB7`,
	`$5$rounds=1000$saltstringsaltst$P/psnalDJ2UyDjcLdLAGOEqcMHyX09rPWa6zNzYpkw4`,
	`$6$rounds=1000$salt$HNxBeBnDfSfUrTj6KiLnmd7tGCvHEmcExh8kl/S0cZ5WrCciNZgfhbpkeFQ4JfkHX.8vPq45lY0iINnCx1Lkm.`,
	`$6$$2M9DchxW4txWyTYoZrH9D3VvAAQxBpEezYsLY6Cao.jwzEXpyL9xwip9hiUZX7GqTqe/E/z6iKvZqXUuqniQH.`,
	`$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1`,
	`{SHA512-CRYPT}$6$abc$IdWKNKTJEb8LxY7CGg8YBXlvtfZzFw7Mp/r6niK9YB2mdvgY..TKjv1T..8RadRt2qvUHYRLr/TsVArtr91iR1`,
	`$sha1$20$wnUR8T1U$7I/qC3N3Sj3hBzEEUPyAGZlyMTQQ`,
	`$y$j75$FUf/L/0xb2CzEyOeNl0Nf/$6EvKuue6Y0J28qFGOa0tzn5OaWLuwlH125Ox68tmjA/`,
	`$y$j9T$FUf/L/0xb2CzEyOeNl0Nf/$ZmwCB4opTfqTJ2Eaa0prbYgQEUwQyphRq2tbgYnLBDA`,
	`$scrypt$ln=4,r=8,p=1$c2FsdHNhbHQ$tHT7GLqp0uYbiB009MeIHnMuEMZ86kx0jgBpq5vxo84`,
	`$argon2i$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$912wp6XL94GXOP4Jg7GIoA`,
	`$argon2d$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$3c1QCMoMbo3nN324qRnVSA`,
	`$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q`,
	`SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$bpq6mgw3iSqp1KV8rJl0GL6U7zFUFmok4g9ad338qAA=:0lCV+0qJolGHhrHx1tm7nVErmY0Neq9ZEJyq74xtC8g=`,
	`{ARGON2ID}$argon2id$v=19$m=256,t=2,p=4$c2FsdHNhbHQ$39cMlc9kiN3uO9AnCJOoVx+eX+sR2FP2SxEYwn51I7E`,
}

func TestVerify(t *testing.T) {
	for _, hash := range right {
		if ok, err := Verify(hash, "secret"); !ok || err != nil {
			t.Errorf("%s: %v, %v", hash, ok, err)
		}
		for _, wrong := range []string{"", "Secret", "secret\x00"} {
			if ok, err := Verify(hash, wrong); ok || err != nil {
				t.Errorf("%s and %q: %v, %v", hash, wrong, ok, err)
			}
		}
	}
}

func TestOtherPasswords(t *testing.T) {
	for _, v := range []struct {
		hash, password string
		want           bool
	}{
		// bcrypt looks at 72 octets.
		{`$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i`, strings.Repeat("x", 100), true},
		{`$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i`, strings.Repeat("x", 71), false},
		{`$6$rounds=1000$salt$KiF29yv5R5.MISHHjDpNGJ1BmYAmrh2ItD0021N/Nr9N58Oy1I3/eATwu5ZLxfvJax/fbKTyTClwV3JSg5.gI.`,
			strings.Repeat("x", 100), true},
		{`$6$rounds=1000$salt$lmUJJYOy25w8oX0uWafTFgXdS7NOZMsITHSUv98o2OzXjwuo8SWTxxyQJMI/hoVVT2H5N0nbR37EIjNV32EfP0`,
			"p\xc3\xa4ss", true},
		{right[0], strings.Repeat("x", MaxPassword+1), false},
		// Locked accounts.
		{"*", "*", false},
		{"!", "", false},
		{"*LK*", "secret", false},
		{"!" + right[0], "secret", false},
	} {
		if ok, err := Verify(v.hash, v.password); ok != v.want || err != nil {
			t.Errorf("%s and %q: %v, %v", v.hash, v.password, ok, err)
		}
	}
}

func TestBadHashes(t *testing.T) {
	key := strings.Repeat("a", 43)
	for _, v := range []struct {
		hash string
		want error
	}{
		{"", ErrScheme},
		{"secret", ErrScheme},
		{"x", ErrScheme},
		{"{PLAIN}secret", ErrScheme},
		{"{SSHA}c2VjcmV0", ErrScheme},
		{"{CRYPT", ErrScheme},
		{"{CRYPT}secret", ErrScheme},
		{"abJnggxhB/yWI", ErrScheme}, // DES
		{"$2x$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", ErrScheme},
		{"$plaintext$secret$", ErrScheme},
		{"$md5,rounds=1$saltsalt$$" + key, ErrScheme},
		{"$7$abc$def", ErrScheme},
		{"$$$", ErrScheme},
		{"$2b$4$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", ErrFormat},
		{"$2b$03$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", ErrFormat},
		{"$2b$04$abcdefghijklmnopqrstuu", ErrFormat},
		{"$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WI-W", ErrFormat},
		{"$5$rounds=999$salt$" + key, ErrFormat},
		{"$5$rounds=+1000$salt$" + key, ErrFormat},
		{"$5$rounds=1000$salt$", ErrFormat},
		{"$5$saltsaltsaltsalts$" + key, ErrFormat},
		{"$5$rounds=1000$" + key, ErrFormat},
		{"$y$zzzz$salt$" + key, ErrFormat},
		{"$y$j9T$$" + key, ErrFormat},
		{"$y$k9T$abcd$" + key, ErrFormat},
		{"$scrypt$ln=4,r=8$c2FsdHNhbHQ$" + key, ErrFormat},
		{"$scrypt$r=8,ln=4,p=1$c2FsdHNhbHQ$" + key, ErrFormat},
		{"$scrypt$ln=0,r=8,p=1$c2FsdHNhbHQ$" + key, ErrFormat},
		{"$argon2id$v=16$m=64,t=1,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrFormat},
		{"$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrFormat},
		{"$argon2id$v=19$m=64,t=1,p=1,k=2$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrFormat},
		{"$argon2id$m=64,t=1,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrFormat},
		{"$6$" + strings.Repeat("a", MaxHash), ErrFormat},
		{"$2b$17$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", ErrTooDear},
		{"$2b$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", ErrTooDear},
		{"$6$rounds=999999999$salt$" + key + key, ErrTooDear},
		{"$sha1$2000000000$salt$" + strings.Repeat("a", 28), ErrTooDear},
		{"$y$jzz$abcd$" + key, ErrTooDear},
		{"$scrypt$ln=30,r=8,p=1$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA", ErrTooDear},
		{"$scrypt$ln=1,r=1000000,p=1000000$c2FsdHNhbHQ$c2FsdHNhbHRzYWx0c2FsdA", ErrTooDear},
		{"$argon2id$v=19$m=2147483647,t=1,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrTooDear},
		{"$argon2id$v=19$m=64,t=2147483647,p=1$c2FsdHNhbHQ$ksyymBktxhBPob64O6We0Q", ErrTooDear},
	} {
		ok, err := Verify(v.hash, "secret")
		if ok || !errors.Is(err, v.want) {
			t.Errorf("%s: %v, %v, want %v", v.hash, ok, err, v.want)
		}
	}
}

func TestHash(t *testing.T) {
	for method, prefix := range map[string]string{Bcrypt: "$2b$10$", BcryptOld: "$2a$10$", SHA512Crypt: "$6$rounds=60000$"} {
		hash, err := Hash(method, "a secret")
		if err != nil || !strings.HasPrefix(hash, prefix) {
			t.Errorf("%s: %q, %v", method, hash, err)
		}
		if ok, err := Verify(hash, "a secret"); !ok || err != nil {
			t.Errorf("%s: %v, %v", hash, ok, err)
		}
		if again, _ := Hash(method, "a secret"); again == hash {
			t.Errorf("%s: the same salt twice", method)
		}
	}
	for _, bad := range []string{"a\nb", "a\x00b", strings.Repeat("x", MaxPassword+1)} {
		if hash, err := Hash(SHA512Crypt, bad); err == nil {
			t.Errorf("%q: %s", bad, hash)
		}
	}
	if _, err := Hash(Bcrypt, strings.Repeat("x", 73)); err == nil {
		t.Error("bcrypt took more than it looks at")
	}
	if _, err := Hash("1", "x"); err == nil {
		t.Error("made a hash of a method that is not offered")
	}
}

func FuzzVerify(f *testing.F) {
	for _, hash := range right {
		f.Add(hash, "secret")
	}
	f.Fuzz(func(t *testing.T, hash, password string) {
		s, err := parse(hash)
		if err == nil && (s.work > 20000 || s.memory > 1<<20) {
			t.Skip("takes too long here")
		}
		if key, err := scram.ParseKey(hash); err == nil && key.Iterations > 20000 {
			t.Skip("takes too long here")
		}
		ok, err := Verify(hash, password)
		if ok && (err != nil || len(password) > MaxPassword) {
			t.Errorf("%q and %q: %v", hash, password, err)
		}
	})
}
