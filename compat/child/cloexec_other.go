//go:build !linux

package child

// closeOnExec keeps descriptors that we inherited from the program.
func closeOnExec() { closeOnExecEach() }
