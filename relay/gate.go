package relay

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// maxAttributes is how many attributes a message may have. The most that is
// useful is one per peer in CreatePermission; pion/stun spends microseconds on
// each.
const maxAttributes = 64

// gate screens what one reading goroutine gets from clients: it carries data
// itself and lets through to pion/turn only requests that are well-formed, of
// the methods we serve, and either authenticated or within the limit for
// anonymous ones.
type gate struct {
	server *Server
	// behaviour and answer are how Binding requests are answered: from which
	// socket, the flags say.
	behaviour behaviour
	answer    func(answer []byte, flags uint32, to netip.AddrPort)
	// identity is who the request now at pion/turn came from.
	identity identity
	message  stun.Message
	scratch  datagram
	out      batch // to be flushed before its goroutine waits
}

func newGate(s *Server) *gate {
	return &gate{server: s, scratch: newDatagram(), out: batch{server: s}}
}

// screen takes one whole message. What it returns, if anything, is for
// pion/turn.
func (g *gate) screen(d datagram, a *allocation, from netip.AddrPort) []byte {
	g.identity = identity{}
	b := d.bytes()
	if len(b) < channelHeader {
		return nil
	}
	switch b[0] >> 6 {
	case 1:
		g.channelData(d, a)
	case 0:
		g.message.Raw = b
		if g.message.Decode() != nil || len(g.message.Attributes) > maxAttributes {
			g.server.stats.malformed.Add(1)
			return nil
		}
		return g.stun(a, from)
	}
	return nil
}

func (g *gate) channelData(d datagram, a *allocation) {
	b := d.bytes()
	n := int(binary.BigEndian.Uint16(b[2:]))
	if a == nil || channelHeader+n > len(b) {
		g.server.stats.malformed.Add(1)
		return
	}
	if p, ok := a.boundTo(binary.BigEndian.Uint16(b)); ok {
		a.toPeer(d.slice(channelHeader, channelHeader+n), p.addr, p.route, &g.out)
	}
}

func (g *gate) stun(a *allocation, from netip.AddrPort) []byte {
	m := &g.message
	if m.Type == stun.NewType(stun.MethodSend, stun.ClassIndication) {
		g.send(a)
		return nil
	}
	if m.Type.Class != stun.ClassRequest {
		return nil
	}
	switch m.Type.Method {
	case stun.MethodBinding:
		if g.server.answers.allow(from.Addr()) {
			if answer, flags, err := g.behaviour.bindingAnswer(m, from); err == nil {
				g.answer(answer, flags, from)
			}
		}
	case stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind:
		return g.request(a, from)
	}
	return nil
}

// request checks the credentials of m. To pion/turn, a request whose
// credentials don't hold is one without.
func (g *gate) request(a *allocation, from netip.AddrPort) []byte {
	m := &g.message
	id, verdict := g.server.verifier.verify(m, time.Now())
	g.server.stats.auth[verdict].Add(1)
	if verdict != valid {
		if !g.server.answers.allow(from.Addr()) {
			return nil
		}
		return withoutCredentials(m)
	}
	adds := m.Type.Method == stun.MethodCreatePermission || m.Type.Method == stun.MethodChannelBind
	if adds && a != nil && a.ending() {
		return nil
	}
	g.identity = id
	return m.Raw
}

// send carries the DATA of a Send indication (RFC 8656 section 11.2).
func (g *gate) send(a *allocation) {
	var to stun.XORMappedAddress
	data, err := g.message.Get(stun.AttrData)
	if a == nil || err != nil || to.GetFromAs(&g.message, stun.AttrXORPeerAddress) != nil {
		g.server.stats.malformed.Add(1)
		return
	}
	ip, ok := netip.AddrFromSlice(to.IP)
	if !ok {
		return
	}
	addr := netip.AddrPortFrom(ip.Unmap(), uint16(to.Port))
	if _, _, permitted := a.lookup(addr); !permitted {
		return
	}
	d := g.scratch
	d.end = d.start + copy(d.buf[d.start:], data)
	a.toPeer(d, addr, g.server.policy.route(addr), &g.out)
}

// learn notes the lifetime in an answer of pion/turn's to a client.
func learn(answer []byte, a *allocation) {
	if a == nil || len(answer) < stunHeader {
		return
	}
	kind := binary.BigEndian.Uint16(answer)
	first := kind == stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse).Value()
	if !first && kind != stun.NewType(stun.MethodRefresh, stun.ClassSuccessResponse).Value() {
		return
	}
	m := stun.Message{Raw: answer}
	if m.Decode() != nil {
		return
	}
	if seconds, err := m.Get(stun.AttrLifetime); err == nil && len(seconds) == 4 {
		a.refreshed(time.Duration(binary.BigEndian.Uint32(seconds))*time.Second, first)
	}
}

// addrPort is the netip form of a UDP or TCP address, IPv4 unmapped.
func addrPort(addr net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := addr.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
