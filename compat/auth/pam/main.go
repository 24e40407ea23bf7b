//go:build pam && cgo

// Auth-pam asks PAM about a password, in the way of a login script (login.conf(5) on OpenBSD): smtpd
// runs it as "auth-pam -s response -- USER" when it is among its helpers, so that smtpd itself needs
// no C library. It is built with
//
//	CGO_ENABLED=1 go build -tags pam -o auth-pam ./compat/auth/pam
//
// and asks by the rules of the service smtpd, which are in /etc/pam.d/smtpd.
package main

/*
#cgo LDFLAGS: -lpam
#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

// answer gives the password to each question that is not to be seen while it is typed. There is
// nobody to ask anything else.
static int answer(int n, const struct pam_message **question, struct pam_response **reply, void *password) {
	if (n <= 0 || n > 32)
		return PAM_CONV_ERR;
	struct pam_response *list = calloc(n, sizeof *list);
	if (list == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++) {
		int style = question[i]->msg_style;
		if (style == PAM_ERROR_MSG || style == PAM_TEXT_INFO)
			continue;
		if (style == PAM_PROMPT_ECHO_OFF && (list[i].resp = strdup(password)) != NULL)
			continue;
		while (i-- > 0)
			free(list[i].resp);
		free(list);
		return PAM_CONV_ERR;
	}
	*reply = list;
	return PAM_SUCCESS;
}

// check is PAM_SUCCESS when the password is right and the user may log in now.
static int check(const char *user, char *password) {
	struct pam_conv conv = {answer, password};
	pam_handle_t *pam = NULL;
	int err = pam_start("smtpd", user, &conv, &pam);
	if (err != PAM_SUCCESS)
		return err;
	err = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	if (err == PAM_SUCCESS)
		err = pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	pam_end(pam, err);
	return err;
}
*/
import "C"

import (
	"bytes"
	"io"
	"os"
	"unsafe"
)

const mostInput = 4 << 10 // octets

func main() {
	conn := os.NewFile(3, "smtpd")
	if len(os.Args) < 5 || os.Args[1] != "-s" || os.Args[2] != "response" || os.Args[3] != "--" || conn == nil {
		os.Stderr.WriteString("auth-pam: it is run by smtpd, with a user and with a password on descriptor 3\n")
		os.Exit(2)
	}
	password, ok := read(conn)
	if ok && permitted(os.Args[4], password) {
		_, err := conn.WriteString("authorize\n")
		if err == nil {
			return
		}
	}
	_, _ = conn.WriteString("reject\n")
	os.Exit(1)
}

// read takes an empty challenge and the password, each with a NUL behind it.
func read(r io.Reader) (password string, ok bool) {
	b, err := io.ReadAll(io.LimitReader(r, mostInput))
	_, rest, found := bytes.Cut(b, []byte{0})
	text, _, ended := bytes.Cut(rest, []byte{0})
	return string(text), err == nil && found && ended && len(text) > 0
}

func permitted(user, password string) bool {
	u, p := C.CString(user), C.CString(password)
	defer C.free(unsafe.Pointer(u))
	defer C.free(unsafe.Pointer(p))
	return C.check(u, p) == C.PAM_SUCCESS
}
