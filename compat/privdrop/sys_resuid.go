//go:build freebsd || openbsd || dragonfly

package privdrop

import "golang.org/x/sys/unix"

// Credentials belong to the process on the BSDs.
func setUID(uid int) error { return unix.Setresuid(uid, uid, uid) }
func setGID(gid int) error { return unix.Setresgid(gid, gid, gid) }
