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
	return []*net.UDPConn{conn}, nil
}

func newFiller(conn *net.UDPConn) filler { return oneByOne{conn} }

// Only Linux cuts writes into datagrams.
func canSegment(*net.UDPConn) bool { return false }
func cannotSegment(error) bool     { return true }
func segmentControl(int) []byte    { return nil }

// limitUnsent does nothing here: TCP_NOTSENT_LOWAT isn't portable.
func limitUnsent(net.Conn) {}
