package rules

import (
	gosmtp "github.com/emersion/go-smtp"

	"github.com/godwit-mta/godwit/core/address"
)

// The replies keep the texts of OpenSMTPD, which log watchers look for, and add the
// enhanced codes of RFC 3463 that it leaves out.

// refused is the reply where no rule takes the recipient: 5.7.1, not authorised.
func refused(rcpt address.Address) error {
	return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 7, 1},
		Message: "Invalid recipient: <" + rcpt.String() + ">"}
}

// TempFail is the reply where something could not be looked up.
func TempFail(rcpt address.Address) error {
	return &gosmtp.SMTPError{Code: 451, EnhancedCode: gosmtp.EnhancedCode{4, 3, 0},
		Message: "Temporary failure: <" + rcpt.String() + ">"}
}
