//go:build openbsd || netbsd

package mailbox

// mail.local(8) of these systems takes a dotlock beside the kernel's lock.
const wantDotlock = true
