// Package reexec starts the running program again as another of its processes, and
// makes other programs (filters, tables) run as somebody else.
//
// A process of the daemon gets its title as its only argument ("smtpd: queue"), so ps,
// pgrep and the rc scripts of the BSDs find it; one end of a socket pair as descriptor
// 3; and next to no environment.
package reexec

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"github.com/godwit-mta/godwit/compat/privdrop"
)

// socketFD is where a process finds its socket.
const socketFD = 3

// defaultPath is PATH when the parent has none.
const defaultPath = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin"

// Command prepares this program to be run again as title. sock becomes descriptor 3;
// stderr becomes descriptor 2, or /dev/null when it is nil; 0 and 1 are /dev/null. The
// environment is PATH, TZ, settings of the Go runtime and extraEnv ("NAME=value"). The process leads a session and a
// process group of its own (KillGroup) and starts in /. The caller starts the command
// and closes its own copy of sock.
//
// The path of the program was found when this process started, so a chroot since then
// does not matter here, but the new process must be able to see it: only a process
// whose root is / can start others.
func Command(title string, sock, stderr *os.File, extraEnv ...string) (*exec.Cmd, error) {
	path, err := executable()
	if err != nil {
		return nil, err
	}
	if sock == nil {
		return nil, errors.New("reexec: no socket")
	}
	cmd := &exec.Cmd{
		Path:        path,
		Args:        []string{title},
		Env:         append(environment(), extraEnv...),
		Dir:         "/",
		ExtraFiles:  []*os.File{sock},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	return cmd, nil
}

// running is this very program on Linux, whatever lies at its path by now.
const running = "/proc/self/exe"

// executable gives the path of this program. When it was replaced by another version while
// it runs, the one that runs is preferred where the system can still name it.
func executable() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("reexec: cannot find this program: %w", err)
	}
	own, err := os.Stat(running)
	if err != nil {
		return path, nil
	}
	if there, err := os.Stat(path); err != nil || !os.SameFile(own, there) {
		return running, nil
	}
	return path, nil
}

func environment() []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	// This process knows how many processors its control group may use. The others take its
	// word for it; to find out themselves they would keep files of the group open.
	env := []string{"PATH=" + path, "GODEBUG=containermaxprocs=0,updatemaxprocs=0",
		"GOMAXPROCS=" + strconv.Itoa(runtime.GOMAXPROCS(0))}
	if tz, ok := os.LookupEnv("TZ"); ok {
		env = append(env, "TZ="+tz)
	}
	return env
}

// Socketpair gives two connected stream sockets that are close-on-exec.
func Socketpair() (a, b *os.File, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	return os.NewFile(uintptr(fds[0]), "socketpair"), os.NewFile(uintptr(fds[1]), "socketpair"), nil
}

// Conn makes a connection of one end of a socket pair, or of a connection that was
// passed. f is closed, also after an error.
func Conn(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("reexec: %s is not a unix socket", f.Name())
	}
	return u, nil
}

// Socket gives the connection that Command handed to this process. It must be called
// once, before anything else opens a file. Without a parent of our kind the error says
// that descriptor 3 is not a unix socket.
func Socket() (*net.UnixConn, error) {
	syscall.CloseOnExec(socketFD)
	c, err := Conn(os.NewFile(socketFD, "descriptor 3"))
	if err != nil {
		return nil, fmt.Errorf("reexec: not started by the daemon: %w", err)
	}
	return c, nil
}

// As makes cmd, which is any program, run as id, below root unless that is "" or "/".
// Only root may do it. Path and Dir of cmd are looked up below the new root. Other
// attributes stay as they are: call it after child.Isolate.
func As(cmd *exec.Cmd, root string, id privdrop.Identity) error {
	if err := id.Check(); err != nil {
		return err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if root != "" && root != "/" {
		cmd.SysProcAttr.Chroot = root
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: id.UID, Gid: id.GID, Groups: id.GroupList()}
	return nil
}

// KillGroup sends a signal to the process group of a started Command, whose number is
// pid. When nobody is left the error is os.ErrProcessDone.
func KillGroup(pid int, sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("reexec: %v is not a signal", sig)
	}
	if pid <= 1 {
		// 0 is our own group and -1 everybody.
		return fmt.Errorf("reexec: %d is not a process group of ours", pid)
	}
	err := syscall.Kill(-pid, s)
	if err == syscall.ESRCH {
		return os.ErrProcessDone
	}
	return os.NewSyscallError("kill", err)
}
