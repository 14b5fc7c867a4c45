package link

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpLosses is how many segments a TCP connection has sent, and how many of those again,
// because they were lost.
func tcpLosses(c net.Conn) (sent, again uint32) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0, 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) { // whoever uses the connection sees that it is closed
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			sent, again = info.Segs_out, info.Total_retrans
		}
	})
	return sent, again
}
