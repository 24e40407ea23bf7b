//go:build !linux || 386 || s390x

package fdpass

import "net"

// receiver receives by package net, which knows how to close descriptors on exec where the kernel
// does not. (On 386 and s390x Linux has one call for all sockets.)
type receiver struct{ conn *net.UnixConn }

func (r *receiver) init(c *net.UnixConn) { r.conn = c }

// read receives octets and control data.
func (r *receiver) read(b, oob []byte) (n, oobn, flags int, err error) {
	n, oobn, flags, _, err = r.conn.ReadMsgUnix(b, oob)
	return n, oobn, flags, err
}
