package torture

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// back gives where notices of a message go: to an address of its own, because the daemon
// bounds how many one address gets.
func back(id string) string { return id + "@back.test" }

// recipients gives the addresses of a kind of recipient, and where a message for it arrives.
// ID stands for the id of the message.
var recipients = map[string]map[string]string{
	"alice+ID@box.test":  {"alice@box.test": "alice+ID@box.test"},
	"carol+ID@mbox.test": {"carol@mbox.test": "carol+ID@mbox.test"},
	"carol+ID@pipe.test": {"carol@pipe.test": "carol+ID@pipe.test"},
	"alice+ID@lmtp.test": {"alice@lmtp.test": "alice+ID@lmtp.test"},
	"any-ID@catch.test":  {"alice@catch.test": "any-ID@catch.test"},
	"key@table.test":     {"table@s0.test": "table@s0.test"},
	"list@box.test":      {"carol@box.test": "carol@box.test", "list@s0.test": "list@s0.test"},
	"bob+ID@box.test":    {"fwd@s0.test": "fwd@s0.test"},
	"one+ID@s0.test":     {"one@s0.test": "one+ID@s0.test"},
	"two+ID@s0.test":     {"two@s0.test": "two+ID@s0.test"},
	"one+ID@s1.test":     {"one@s1.test": "one+ID@s1.test"},
	"two+ID@s1.test":     {"two@s1.test": "two+ID@s1.test"},
	"one+ID@s2.test":     {"one@s2.test": "one+ID@s2.test"},
	"two+ID@s2.test":     {"two@s2.test": "two+ID@s2.test"},
	"no+ID@s2.test":      {"no@s2.test": "no+ID@s2.test"},
	"one+ID@s3.test":     {"one@s3.test": "one+ID@s3.test"},
	"two+ID@s3.test":     {"two@s3.test": "two+ID@s3.test"},
	"one+ID@dove.test":   {"one@dove.test": "one+ID@dove.test"},
	"two+ID@dove.test":   {"two@dove.test": "two+ID@dove.test"},
	"nobody+ID@box.test": {}, // is refused
	"many0+ID@s0.test":   {"many0@s0.test": "many0+ID@s0.test"},
	"many1+ID@s0.test":   {"many1@s0.test": "many1+ID@s0.test"},
	"many2+ID@s1.test":   {"many2@s1.test": "many2+ID@s1.test"},
	"many3+ID@s3.test":   {"many3@s3.test": "many3+ID@s3.test"},
	"many4+ID@s2.test":   {"many4@s2.test": "many4+ID@s2.test"},
	"many5+ID@s0.test":   {"many5@s0.test": "many5+ID@s0.test"},
	"many6+ID@s1.test":   {"many6@s1.test": "many6+ID@s1.test"},
	"many7+ID@s0.test":   {"many7@s0.test": "many7+ID@s0.test"},
	"many8+ID@s3.test":   {"many8@s3.test": "many8+ID@s3.test"},
	"many9+ID@s0.test":   {"many9@s0.test": "many9+ID@s0.test"},
}

// offer is a message with the recipients that it is offered for.
type offer struct {
	*letter
	rcpts []string
}

// newOffer makes a message.
func newOffer(id, from string, size int, kinds ...string) *offer {
	o := &offer{letter: &letter{id: id, from: from, want: make(map[string]string)}}
	for _, kind := range kinds {
		o.rcpts = append(o.rcpts, strings.ReplaceAll(kind, "ID", id))
		for place, addr := range recipients[kind] {
			o.want[place] = strings.ReplaceAll(addr, "ID", id)
		}
	}
	raw := make([]byte, size*54/76)
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "Message %s.\n..\n.\n", id)
	for text := base64.StdEncoding.EncodeToString(raw); text != ""; {
		n := min(len(text), 76)
		body.WriteString("=" + text[:n] + "\n") // no line begins with From
		text = text[n:]
	}
	o.sum = sha256.Sum256(body.Bytes())
	o.text = append(fmt.Appendf(nil, "From: <tester@back.test>\nTo: somebody\nSubject: torture\nX-TT: %s\n\n", id), body.Bytes()...)
	return o
}

// randomOffer makes a message of random size for random recipients.
func randomOffer(id string, largest int) *offer {
	from := back(id)
	if rand.IntN(20) == 0 {
		from = ""
	}
	var kinds []string
	for kind := range recipients { // in random order
		if n := len(kinds); n > 0 && rand.IntN(1+2*n) > 0 && len(kinds) >= 1+rand.IntN(8) {
			break
		}
		if !strings.HasPrefix(kind, "nobody") {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 || rand.IntN(50) == 0 {
		kinds = []string{"nobody+ID@box.test"}
	}
	size := int(100 * math.Exp(rand.Float64()*math.Log(float64(largest)/100)))
	o := newOffer(id, from, size, kinds...)
	switch rand.IntN(20) {
	case 0:
		o.notify = "NEVER"
	case 1:
		o.notify = "SUCCESS,FAILURE"
	}
	return o
}
