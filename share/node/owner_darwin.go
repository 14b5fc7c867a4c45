package node

import "golang.org/x/sys/unix"

// ownerOf is the user that a unix socket's other end ran as when it connected.
func ownerOf(socket int) (uint32, error) {
	cred, err := unix.GetsockoptXucred(socket, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
