package reexec

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// readyEnv tells a program that Background started it.
const readyEnv = "SMTPD_BACKGROUND"

// Background starts this program again with the arguments, in a session of its own, and
// waits until it calls Ready. What it writes to standard error before that is passed on;
// afterwards there is nobody who reads it. When it ends before, that is the error.
func Background(args []string) error {
	path, err := executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stderr, werr, err := os.Pipe()
	if err != nil {
		w.Close()
		return err
	}
	defer stderr.Close()
	cmd := exec.Command(path, args...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), readyEnv+"=1")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{w}, werr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	werr.Close()
	if err != nil {
		return err
	}
	passed := make(chan struct{})
	go func() { _, _ = io.Copy(os.Stderr, stderr); close(passed) }()
	if n, _ := r.Read(make([]byte, 1)); n == 1 {
		return cmd.Process.Release()
	}
	<-passed
	_ = cmd.Wait()
	return errors.New("did not start")
}

// Started gives what is to be called when the program runs, for a program that Background
// may have started. It must be called before the program opens a file.
func Started() (ready func()) {
	if os.Getenv(readyEnv) == "" {
		return func() {}
	}
	_ = os.Unsetenv(readyEnv)
	syscall.CloseOnExec(socketFD)
	f := os.NewFile(socketFD, "ready")
	return func() {
		_, _ = f.Write([]byte{1})
		f.Close()
	}
}
