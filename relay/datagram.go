package relay

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"

	"github.com/pion/stun/v4"
)

const (
	// maxMessage is the longest message from a client and the longest datagram
	// from a peer, in bytes.
	maxMessage = 2000

	stunHeader    = 20
	channelHeader = 4 // channel number, length of the data
	attrHeader    = 4 // type, length of the value

	// headroom is enough in front of a payload for a Data indication with an
	// IPv6 peer: 20 + (4+20) + 4.
	headroom = 48
	// tailroom pads a message to four bytes, and lets a datagram that is too
	// long be told from one that just fits.
	tailroom = 4
)

// datagram is a payload in a buffer with headroom before it and tailroom after
// it, so that it can be wrapped in place.
type datagram struct {
	buf        []byte
	start, end int
}

func newDatagram() datagram {
	return datagram{buf: make([]byte, headroom+maxMessage+tailroom), start: headroom, end: headroom}
}

func (d datagram) bytes() []byte { return d.buf[d.start:d.end] }
func (d datagram) len() int      { return d.end - d.start }

// slice is the part of the payload from i to j.
func (d datagram) slice(i, j int) datagram {
	d.start, d.end = d.start+i, d.start+j
	return d
}

// asChannelData puts a ChannelData header in front (RFC 8656 section 12.4),
// and padding behind where the message goes into a stream.
func (d datagram) asChannelData(channel uint16, pad bool) datagram {
	n := d.len()
	d.start -= channelHeader
	binary.BigEndian.PutUint16(d.buf[d.start:], channel)
	binary.BigEndian.PutUint16(d.buf[d.start+2:], uint16(n))
	if pad {
		d.pad()
	}
	return d
}

func (d *datagram) pad() {
	for ; (d.end-d.start)%4 != 0; d.end++ {
		d.buf[d.end] = 0
	}
}

// asDataIndication makes d the DATA of a Data indication that names the peer
// (RFC 8656 section 11.6).
func (d datagram) asDataIndication(from netip.AddrPort) datagram {
	n := d.len()
	ip := from.Addr().AsSlice()
	family := byte(1 + len(ip)/net.IPv6len) // 1 is IPv4, 2 is IPv6
	d.start -= stunHeader + attrHeader + 4 + len(ip) + attrHeader
	d.pad()

	b := d.buf[d.start:]
	binary.BigEndian.PutUint16(b, stun.NewType(stun.MethodData, stun.ClassIndication).Value())
	binary.BigEndian.PutUint16(b[2:], uint16(d.len()-stunHeader))
	binary.BigEndian.PutUint32(b[4:], stunCookie)
	binary.BigEndian.PutUint32(b[8:], rand.Uint32())
	binary.BigEndian.PutUint64(b[12:], rand.Uint64())
	mask := b[4:stunHeader] // the cookie and the transaction ID

	b = b[stunHeader:]
	binary.BigEndian.PutUint16(b, stun.AttrXORPeerAddress.Value())
	binary.BigEndian.PutUint16(b[2:], uint16(4+len(ip)))
	b[4], b[5] = 0, family
	binary.BigEndian.PutUint16(b[6:], from.Port()^stunCookie>>16)
	for i := range ip {
		b[8+i] = ip[i] ^ mask[i]
	}

	b = b[attrHeader+4+len(ip):]
	binary.BigEndian.PutUint16(b, stun.AttrData.Value())
	binary.BigEndian.PutUint16(b[2:], uint16(n))
	return d
}

const stunCookie = 0x2112A442 // RFC 8489 section 5

// frameLength is how long the frame is that starts with these four bytes of a
// stream, padding included, and false if no frame does (RFC 8656 section 12.5).
func frameLength(head []byte) (int, bool) {
	n := int(binary.BigEndian.Uint16(head[2:]))
	switch head[0] >> 6 {
	case 0:
		n += stunHeader
		return n, n%4 == 0 && n <= maxMessage
	case 1:
		n = (channelHeader + n + 3) &^ 3
		return n, n <= maxMessage
	}
	return 0, false
}
