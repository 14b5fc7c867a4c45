//go:build !linux

package lan

// onLoopbackOnly is never asked for: only Linux makes such a machine.
func onLoopbackOnly() {}
