package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-mta/godwit/compat/user"
	"github.com/godwit-mta/godwit/core/hostname"
	"github.com/godwit-mta/godwit/core/sendmail"
	"github.com/godwit-mta/godwit/platform"
)

// identity says who submits.
func identity() sendmail.Identity {
	id := sendmail.Identity{Now: time.Now(), Host: hostname.Server(platform.Current().MailnameFile)}
	if u, err := user.LookupID(uint32(os.Getuid())); err == nil {
		id.User = u.Name
	}
	return id
}

// seekable gives the message as a file. What comes through a pipe is put into one that has
// no name any more.
func seekable(in *os.File) (io.ReadSeeker, error) {
	if _, err := in.Seek(0, io.SeekCurrent); err == nil {
		return in, nil
	}
	f, err := os.CreateTemp("", "sendmail")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, in); err != nil {
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// deadLetter saves a message that was refused, as sendmail(8) does, and gives the reason
// back. What may work later is left to the caller, who still has the message.
func deadLetter(input io.ReadSeeker, why error) error {
	var e *sendmail.Error
	if !errors.As(why, &e) || e.Code == sendmail.ExitTempFail {
		return why
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return why
	}
	f, err := os.OpenFile(filepath.Join(home, "dead.letter"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return why
	}
	defer f.Close()
	if _, err := input.Seek(0, io.SeekStart); err == nil {
		_, _ = io.Copy(f, input)
	}
	return why
}
