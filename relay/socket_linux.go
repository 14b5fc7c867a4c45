package relay

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// errInUse is what binding a taken port fails with.
const errInUse = syscall.EADDRINUSE

// listenUDP opens n sockets that share an address; the kernel keeps each
// client with one of them. An address that another process has is taken, even
// if it would share.
func listenUDP(addr netip.AddrPort, n int) ([]*net.UDPConn, error) {
	if n > 1 {
		alone, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
		if err != nil {
			return nil, err
		}
		addr = addrPort(alone.LocalAddr())
		_ = alone.Close()
	}
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
		conns = append(conns, udp)
	}
	return conns, nil
}

// manyAtOnce reads with recvmmsg(2).
type manyAtOnce struct {
	conn *ipv4.PacketConn // of IPv6 sockets too: ReadBatch doesn't care
	msgs []ipv4.Message
}

func newFiller(conn *net.UDPConn) filler { return &manyAtOnce{conn: ipv4.NewPacketConn(conn)} }

func (f *manyAtOnce) fill(into []incoming) (int, error) {
	for i := len(f.msgs); i < len(into); i++ {
		f.msgs = append(f.msgs, ipv4.Message{Buffers: [][]byte{into[i].buf[headroom:]}})
	}
	n, err := f.conn.ReadBatch(f.msgs, 0)
	if err != nil {
		return 0, err
	}
	for i, m := range f.msgs[:n] {
		into[i].start, into[i].end, into[i].from = headroom, headroom+m.N, addrPort(m.Addr)
	}
	return n, nil
}

// canSegment reports whether the kernel knows UDP_SEGMENT, udp(7).
func canSegment(conn *net.UDPConn) (ok bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) {
		_, e := unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		ok = e == nil
	})
	return ok && err == nil
}

// cannotSegment reports whether err means that UDP_SEGMENT won't ever work.
func cannotSegment(err error) bool { return errors.Is(err, unix.EIO) }

// segmentControl makes the control message that asks for segments of size
// bytes: a cmsghdr (a length as wide as a pointer, the level, the type) and a
// uint16.
func segmentControl(size int) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	if unix.SizeofCmsghdr == 16 {
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(2)))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(unix.CmsgLen(2)))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-8:], unix.IPPROTO_UDP)
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr-4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[unix.SizeofCmsghdr:], uint16(size))
	return b
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
