package node

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// checkOwner refuses a unix socket's other end unless it runs as our user or
// as root, who could read our memory anyway.
func checkOwner(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Xucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptXucred(int(fd), unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if cred.Uid != uint32(os.Getuid()) && cred.Uid != 0 {
		return fmt.Errorf("the control socket's other end runs as user %d", cred.Uid)
	}
	return nil
}
