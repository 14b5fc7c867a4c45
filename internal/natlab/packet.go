//go:build linux

package natlab

import (
	"bytes"
	"encoding/binary"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Protocol is a transport protocol by its IP protocol number.
type Protocol uint8

// The protocols the lab knows by name. ICMP stands for ICMPv6 too.
const (
	ICMP   Protocol = 1
	TCP    Protocol = 6
	UDP    Protocol = 17
	icmpv6 Protocol = 58
)

// Packet is an IP packet seen on a link.
type Packet struct {
	Time     time.Time
	Up       bool // towards the WAN, or from the first site of a path to the second
	Proto    Protocol
	Src, Dst netip.AddrPort // the ports are 0 where the protocol has none and in later fragments
	Payload  []byte         // what follows the UDP or TCP header; else what follows the IP header
	Raw      []byte         // the whole packet
}

// addresses reads the two addresses of an IP packet.
func addresses(b []byte) (src, dst netip.Addr, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), true
	case len(b) >= 40 && b[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), true
	}
	return netip.Addr{}, netip.Addr{}, false
}

// parsePacket takes an IP packet apart as far as it can; a malformed one has only Raw.
func parsePacket(b []byte) Packet {
	p := Packet{Raw: b}
	src, dst, ok := addresses(b)
	if !ok {
		return p
	}
	later := false // a fragment other than the first, so without a transport header
	if b[0]>>4 == 4 {
		header := int(b[0]&15) * 4
		if header < 20 || header > len(b) {
			return p
		}
		p.Proto, p.Payload = Protocol(b[9]), b[header:]
		later = binary.BigEndian.Uint16(b[6:])&0x1fff != 0
	} else {
		p.Proto, p.Payload = Protocol(b[6]), b[40:]
		const fragment = 44
		if p.Proto == fragment && len(p.Payload) >= 8 {
			later = binary.BigEndian.Uint16(p.Payload[2:])>>3 != 0
			p.Proto, p.Payload = Protocol(p.Payload[0]), p.Payload[8:]
		}
		if p.Proto == icmpv6 {
			p.Proto = ICMP
		}
	}
	var srcPort, dstPort uint16
	if header := transportHeader(p.Proto, p.Payload); header > 0 && !later {
		srcPort, dstPort = binary.BigEndian.Uint16(p.Payload), binary.BigEndian.Uint16(p.Payload[2:])
		p.Payload = p.Payload[header:]
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, srcPort), netip.AddrPortFrom(dst, dstPort)
	return p
}

// transportHeader is the length of the UDP or TCP header that b starts with, or 0.
func transportHeader(proto Protocol, b []byte) int {
	switch {
	case proto == UDP && len(b) >= 8:
		return 8
	case proto == TCP && len(b) >= 20:
		if n := int(b[12]>>4) * 4; n >= 20 && n <= len(b) {
			return n
		}
	}
	return 0
}

// Capture is a recording of what a link delivered.
type Capture struct {
	stop  func()
	limit int

	mu      sync.Mutex
	size    int
	missed  int64
	packets []Packet
}

// Capture starts recording, up to limit bytes of packets.
func (w *Wire) Capture(limit int) *Capture {
	c := &Capture{limit: limit}
	c.stop = w.Tap(c.add)
	return c
}

func (c *Capture) add(p Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size+len(p.Raw) > c.limit {
		c.missed++
		return
	}
	c.size += len(p.Raw)
	kept := parsePacket(bytes.Clone(p.Raw))
	kept.Time, kept.Up = p.Time, p.Up
	c.packets = append(c.packets, kept)
}

// Stop ends the recording; what was recorded stays.
func (c *Capture) Stop() { c.stop() }

// Missed is the number of packets that did not fit. A search of a capture that missed packets
// proves nothing.
func (c *Capture) Missed() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.missed
}

// Packets returns what was recorded so far, in order.
func (c *Capture) Packets() []Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.packets[:len(c.packets):len(c.packets)]
}

// Contains reports whether text went over the link: in one packet, headers included, or spread over
// the payloads of successive packets of one flow. It does not see through encodings: a client's
// WebSocket frames, for one, are masked even where they are not encrypted.
func (c *Capture) Contains(text []byte) bool {
	type flow struct {
		proto    Protocol
		src, dst netip.AddrPort
		up       bool
	}
	tails := map[flow][]byte{} // the last bytes of each flow, fewer than make up text
	for _, p := range c.Packets() {
		if bytes.Contains(p.Raw, text) {
			return true
		}
		f := flow{p.Proto, p.Src, p.Dst, p.Up}
		joined := append(tails[f], p.Payload...)
		if bytes.Contains(joined, text) {
			return true
		}
		keep := min(len(joined), max(0, len(text)-1))
		tails[f] = bytes.Clone(joined[len(joined)-keep:])
	}
	return false
}

// WritePCAP writes the recording as a pcap file of raw IP packets, for tcpdump and Wireshark.
func (c *Capture) WritePCAP(w io.Writer) error {
	const (
		magic   = 0xa1b2c3d4 // times in microseconds
		rawIP   = 101        // LINKTYPE_RAW
		snapLen = 65535
	)
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = binary.LittleEndian.AppendUint16(b, 2) // version 2.4
	b = binary.LittleEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...) // time zone and accuracy, unused
	b = binary.LittleEndian.AppendUint32(b, snapLen)
	b = binary.LittleEndian.AppendUint32(b, rawIP)
	for _, p := range c.Packets() {
		b = binary.LittleEndian.AppendUint32(b, uint32(p.Time.Unix()))
		b = binary.LittleEndian.AppendUint32(b, uint32(p.Time.Nanosecond()/1000))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Raw)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Raw)))
		b = append(b, p.Raw...)
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	_, err := w.Write(b) // the header of an empty recording
	return err
}
