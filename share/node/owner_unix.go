//go:build linux || darwin

package node

import (
	"fmt"
	"net"
	"os"
)

// checkOwner refuses a unix socket's other end unless it runs as our user or
// as root, who could read our memory anyway.
func checkOwner(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var uid uint32
	var failed error
	if err := raw.Control(func(fd uintptr) { uid, failed = ownerOf(int(fd)) }); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if uid != uint32(os.Getuid()) && uid != 0 {
		return fmt.Errorf("the control socket's other end runs as user %d", uid)
	}
	return nil
}
