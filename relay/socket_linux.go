package relay

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// errInUse is what binding a taken port fails with.
const errInUse = syscall.EADDRINUSE

// listenUDP opens n sockets that share an address; the kernel keeps each
// client with one of them.
func listenUDP(addr netip.AddrPort, n int) ([]*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if n == 1 {
			return nil
		}
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); e != nil {
			return e
		}
		return err
	}}
	var conns []*net.UDPConn
	for range n {
		conn, err := config.ListenPacket(context.Background(), "udp", addr.String())
		if err != nil {
			for _, c := range conns {
				_ = c.Close()
			}
			return nil, err
		}
		udp := conn.(*net.UDPConn)
		_ = udp.SetReadBuffer(frontBuffer)
		_ = udp.SetWriteBuffer(frontBuffer)
		conns = append(conns, udp)
		addr = addrPort(udp.LocalAddr()) // the port the kernel chose, if it did
	}
	return conns, nil
}

// unsent is how much of a stream may wait in the kernel before it is sent.
const unsent = 128 << 10

// limitUnsent keeps the queue for a slow client where it can be bounded.
func limitUnsent(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
		})
	}
}
