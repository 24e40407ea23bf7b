//go:build netbsd || darwin

package privdrop

import "syscall"

// These systems have no setresuid(2). setreuid(2) by root sets the saved id as well.
func setUID(uid int) error { return syscall.Setreuid(uid, uid) }
func setGID(gid int) error { return syscall.Setregid(gid, gid) }
