//go:build !linux

package relay

import (
	"net"
	"net/netip"
)

// listenUDP opens one socket: only Linux spreads clients over several.
func listenUDP(addr netip.AddrPort, _ int) ([]*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(frontBuffer)
	_ = conn.SetWriteBuffer(frontBuffer)
	return []*net.UDPConn{conn}, nil
}

// limitUnsent does nothing here: TCP_NOTSENT_LOWAT isn't portable.
func limitUnsent(net.Conn) {}
