//go:build darwin || dragonfly || freebsd

package mailbox

// The tools of these systems take the lock of flock(2) and no other.
const wantDotlock = false
