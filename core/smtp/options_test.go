package smtp

import (
	"bufio"
	"context"
	"crypto/tls"
	"reflect"
	"testing"

	gosmtp "github.com/emersion/go-smtp"
)

// What the parameters of MAIL and RCPT say arrives at the backend, for its own transaction
// and recipient only.
func TestOptions(t *testing.T) {
	cfg := testConfig()
	cfg.SMTPS, cfg.TLSConfig = true, testTLS(t)
	b := &sample{}
	s := start(t, context.Background(), cfg, b, testPeer())
	conn := tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
	r := bufio.NewReader(conn)
	readLine(t, r, "220 ")
	send(t, conn, "EHLO c.example\r\nMAIL FROM:<ö@d> size=7 body=8bitmime SMTPUTF8 REQUIRETLS RET=HDRS ENVID=a+2Bb\r\n"+
		"RCPT TO:<ö@e> NOTIFY=success,DELAY ORCPT=UTF-8;a+2Bö@f\r\nRCPT TO:<b@e> ORCPT=rfc822;x+20y@f\r\nRCPT TO:<c@e>\r\n"+
		"BDAT 6 LAST\r\na: b\r\nMAIL FROM:<>\r\nRCPT TO:<d@e>\r\nBDAT 6 LAST\r\nc: d\r\nQUIT\r\n")
	for _, want := range []string{"250 ", "250 ", "250 ", "250 ", "250 ", "250 2.0.0 0badcafe", "250 ", "250 ", "250 2.0.0 0badcafe", "221 "} {
		readLine(t, r, want)
	}
	got := b.taken()
	if len(got) != 2 {
		t.Fatal(got)
	}
	want := gosmtp.MailOptions{Body: gosmtp.Body8BitMIME, Size: 7, RequireTLS: true, UTF8: true, Return: gosmtp.DSNReturnHeaders, EnvelopeID: "a+b"}
	if !reflect.DeepEqual(got[0].env, want) {
		t.Errorf("%+v", got[0].env)
	}
	rcpts := []gosmtp.RcptOptions{
		{Notify: []gosmtp.DSNNotify{gosmtp.DSNNotifySuccess, gosmtp.DSNNotifyDelayed}, OriginalRecipientType: "UTF-8", OriginalRecipient: `a+\x{F6}@f`},
		{OriginalRecipientType: "RFC822", OriginalRecipient: "x y@f"}, {},
	}
	if !reflect.DeepEqual(got[0].opts, rcpts) {
		t.Errorf("%+v", got[0].opts)
	}
	if !reflect.DeepEqual(got[1].env, gosmtp.MailOptions{}) || !reflect.DeepEqual(got[1].opts, []gosmtp.RcptOptions{{}}) {
		t.Errorf("%+v", got[1])
	}
}
