package netif

import "golang.org/x/sys/unix"

// oneInterface marks routes that only packets of one interface take.
const oneInterface = unix.RTF_IFSCOPE
