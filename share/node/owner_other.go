//go:build !linux && !darwin

package node

import "net"

// checkOwner accepts: here the folder's permissions are what keeps others out.
func checkOwner(*net.UnixConn) error { return nil }
