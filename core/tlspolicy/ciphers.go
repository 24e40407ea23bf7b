package tlspolicy

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// suite is a cipher suite of TLS 1.2 or before as OpenSSL names it.
type suite struct {
	id                   uint16
	name                 string
	exchange, auth       string // ECDHE or RSA; RSA or ECDSA
	cipher, mode, digest string // AES128, AES256, CHACHA20, 3DES or RC4; GCM, AEAD, CBC or ""; of the MAC, "" with AEAD
	strong               bool   // HIGH, otherwise MEDIUM
	new                  bool   // since TLS 1.2
}

// suites gives what crypto/tls has.
func suites() []suite {
	var all []suite
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if rest, ok := strings.CutPrefix(s.Name, "TLS_"); ok {
			if exchange, algorithms, ok := strings.Cut(rest, "_WITH_"); ok {
				all = append(all, newSuite(s.ID, exchange, algorithms))
			}
		}
	}
	return all
}

// newSuite translates a name of the registry of TLS: OpenSSL leaves out the key exchange
// when it is plain RSA, and CBC, and what goes without saying.
func newSuite(id uint16, exchange, algorithms string) suite {
	s := suite{id: id, strong: true}
	s.exchange, s.auth, _ = strings.Cut(exchange, "_")
	if s.auth == "" {
		s.auth = s.exchange
	} else {
		s.name = s.exchange + "-" + s.auth + "-"
	}
	words := strings.Split(algorithms, "_")
	last := words[len(words)-1]
	switch words[0] {
	case "AES":
		s.cipher, s.mode = "AES"+words[1], words[2]
		s.name += s.cipher + "-"
		if s.mode == "GCM" {
			s.name += "GCM-"
		}
		s.name += last
	case "CHACHA20":
		s.cipher, s.mode = "CHACHA20", "AEAD"
		s.name += "CHACHA20-POLY1305"
	case "3DES":
		s.cipher, s.mode, s.strong = "3DES", "CBC", false
		s.name += "DES-CBC3-" + last
	default: // RC4
		s.cipher, s.strong = words[0], false
		s.name += words[0] + "-" + last
	}
	if s.mode == "CBC" || s.mode == "" {
		s.digest = last
	}
	s.new = s.digest != "SHA"
	return s
}

// has reports whether a word of OpenSSL's list covers the suite. known is false for a word
// that is none.
func (s *suite) has(word string) (covered, known bool) {
	switch strings.ToUpper(word) {
	case "ALL":
		return true, true
	case "HIGH", "DEFAULT":
		return s.strong, true
	case "MEDIUM":
		return !s.strong, true
	case "KRSA", "RSA":
		return s.exchange == "RSA", true
	case "ARSA":
		return s.auth == "RSA", true
	case "KECDHE", "KEECDH", "ECDHE", "EECDH", "ECDH":
		return s.exchange == "ECDHE", true
	case "AECDSA", "ECDSA":
		return s.auth == "ECDSA", true
	case "AES", "FIPS":
		return strings.HasPrefix(s.cipher, "AES"), true
	case "AES128", "AES256", "CHACHA20", "3DES", "RC4":
		return s.cipher == strings.ToUpper(word), true
	case "AESGCM":
		return s.mode == "GCM", true
	case "AEAD":
		return s.digest == "", true
	case "CBC":
		return s.mode == "CBC", true
	case "SHA", "SHA1":
		return s.digest == "SHA", true
	case "SHA256", "SHA384":
		return s.digest == strings.ToUpper(word), true
	case "TLSV1.2":
		return s.new, true
	case "TLSV1", "TLSV1.0":
		return !s.new && s.exchange == "ECDHE", true
	case "SSLV3":
		return !s.new && s.exchange == "RSA", true
	}
	if strings.EqualFold(word, s.name) || strings.EqualFold(word, tls.CipherSuiteName(s.id)) {
		return true, true
	}
	return false, foreign(word)
}

// Words and parts of names that OpenSSL has and crypto/tls has not, or that stand for no
// suite here.
const (
	foreignWords = " LOW EXP EXPORT EXPORT40 EXPORT56 COMPLEMENTOFALL COMPLEMENTOFDEFAULT ANULL ENULL NULL ADH AECDH " +
		"KDHE KEDH DHE EDH DH KDHR KDHD KDH ADH DSS ADSS KECDHR KECDHE KECDH AECDH AESCCM AESCCM8 DES IDEA SEED RC2 " +
		"CAMELLIA CAMELLIA128 CAMELLIA256 ARIA ARIA128 ARIA256 ARIAGCM GOST KGOST AGOST AGOST01 AGOST12 GOST94 GOST89MAC " +
		"PSK KPSK APSK KECDHEPSK KEECDHPSK KDHEPSK KEDHPSK KRSAPSK SRP KSRP ASRP KRB5 KKRB5 AKRB5 MD5 TLSV1.1 TLSV1.3 SSLV2 " +
		"SUITEB128 SUITEB128ONLY SUITEB128C2 SUITEB192 STREEBOG256 STREEBOG512 "
	foreignParts = " ECDHE DHE EDH ADH AECDH DH ECDH RSA DSS ECDSA PSK SRP KRB5 EXP EXP1024 GOST94 GOST2001 GOST2012 GOST89 GOST12 " +
		"IANA AES AES128 AES256 128 256 AEAD CAMELLIA128 CAMELLIA256 ARIA128 ARIA256 ARIA CHACHA20 POLY1305 CHACHA SEED IDEA DES CBC3 " +
		"CBC RC2 RC4 NULL GCM CCM CCM8 3DES EDE EDE3 MD5 SHA SHA256 SHA384 MAGMA KUZNYECHIK LEGACY OMAC "
)

// foreign reports whether a word is one of OpenSSL that covers no suite here.
func foreign(word string) bool {
	word = strings.ToUpper(word)
	if strings.Contains(foreignWords, " "+word+" ") {
		return true
	}
	if rest, ok := strings.CutPrefix(word, "TLS_"); ok { // a name of the registry
		return strings.Trim(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
	}
	parts := strings.Split(word, "-")
	for _, p := range parts {
		if !strings.Contains(foreignParts, " "+p+" ") {
			return false
		}
	}
	return len(parts) > 1
}

// isNewest reports whether a word means suites of TLS 1.3, by the names of OpenSSL and of LibreSSL.
func isNewest(word string) bool {
	word = strings.ToUpper(word)
	return word == "TLSV1.3" || strings.HasPrefix(word, "AEAD-") ||
		strings.HasPrefix(word, "TLS_AES_") || strings.HasPrefix(word, "TLS_CHACHA20_")
}

// cipherKeywords are the words of libtls that stand for a whole list.
func cipherKeywords(s string) string {
	switch strings.ToLower(s) {
	case "default", "secure", "compat":
		return "HIGH:!aNULL"
	case "legacy":
		return "HIGH:MEDIUM:!aNULL"
	case "all", "insecure":
		return "ALL:!aNULL:!eNULL"
	}
	return s
}

// maxWords bounds a list.
const maxWords = 200

// parseCiphers reads a list of OpenSSL, see openssl-ciphers(1). newest tells that it names
// suites of TLS 1.3.
func parseCiphers(list string) (ids []uint16, newest bool, err error) {
	all := suites()
	words := strings.FieldsFunc(cipherKeywords(list), func(r rune) bool { return strings.ContainsRune(":,; ", r) })
	if len(words) > maxWords {
		return nil, false, fmt.Errorf("ciphers: more than %d words: write fewer", maxWords)
	}
	in, out := make([]bool, len(all)), make([]bool, len(all)) // out: for ever
	for _, w := range words {
		if strings.HasPrefix(w, "@") {
			if w != "@STRENGTH" && !strings.HasPrefix(w, "@SECLEVEL=") {
				return nil, false, fmt.Errorf("ciphers %q: unknown command %q: remove it", list, w)
			}
			continue // about order, and about certificates
		}
		sign := w[0]
		w = strings.TrimLeft(w, "!-+")
		for i := range all {
			covered, known := all[i].hasAll(w)
			switch {
			case !known:
				return nil, false, fmt.Errorf("ciphers %q: unknown word %q: write a name of openssl-ciphers(1), or HIGH:!aNULL", list, w)
			case !covered || sign == '+':
			case sign == '!':
				out[i], in[i] = true, false
			case sign == '-':
				in[i] = false
			default:
				in[i] = !out[i]
			}
		}
		newest = newest || isNewest(w) && sign != '!' && sign != '-'
	}
	for i := range all {
		if in[i] {
			ids = append(ids, all[i].id)
		}
	}
	return ids, newest, nil
}

// hasAll is has for words with a plus sign between them, all of which have to hold.
func (s *suite) hasAll(words string) (covered, known bool) {
	covered = true
	for w := range strings.SplitSeq(words, "+") {
		c, k := s.has(w)
		if !k {
			return false, false
		}
		covered = covered && c
	}
	return covered, true
}
