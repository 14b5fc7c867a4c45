package relay

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v4"
)

// The flags of CHANGE-REQUEST, RFC 5780 section 7.2.
const (
	changeIP   = 0x4
	changePort = 0x2
)

// behaviour is how one socket answers Binding requests, so that clients can
// find out what their NAT does (RFC 5780). Everything a socket of a server can
// do follows from which others there are.
type behaviour struct {
	// origin is where answers come from as the client sees it: RESPONSE-ORIGIN.
	// The zero value is unknown.
	origin netip.AddrPort
	// other has another IP and another port: OTHER-ADDRESS. The zero value
	// means that there is none.
	other netip.AddrPort
	// from are the sockets to answer from, by the flags of CHANGE-REQUEST; none
	// for TCP and TLS.
	from map[uint32]*udpFront
}

// discover finds out what each socket can do for the others. A full service,
// and OTHER-ADDRESS, takes four sockets: two of the public addresses, each on
// the same two ports. Two ports of one address can still answer "change port".
func (s *Server) discover() {
	at := make(map[netip.AddrPort]*udpFront)
	for _, f := range s.udp {
		if addr := s.originOf(f); addr.IsValid() {
			at[addr] = f
		}
	}
	for _, f := range s.udp {
		b := behaviour{origin: s.originOf(f), from: map[uint32]*udpFront{0: f}}
		for addr, g := range at {
			sameIP, samePort := addr.Addr() == b.origin.Addr(), addr.Port() == b.origin.Port()
			switch {
			case !b.origin.IsValid() || addr.Addr().Is4() != b.origin.Addr().Is4():
			case sameIP && !samePort:
				b.from[changePort] = lowest(b.from[changePort], g)
			case !sameIP && samePort:
				b.from[changeIP] = lowest(b.from[changeIP], g)
			}
		}
		if ip, port := b.from[changeIP], b.from[changePort]; ip != nil && port != nil {
			other := netip.AddrPortFrom(s.originOf(ip).Addr(), s.originOf(port).Port())
			if g := at[other]; g != nil {
				b.other, b.from[changeIP|changePort] = other, g
			}
		}
		f.behaviour, f.gate.behaviour = b, b
	}
}

// lowest makes the choice among several the same for every socket.
func lowest(a, b *udpFront) *udpFront {
	if a == nil || addrPort(b.LocalAddr()).Compare(addrPort(a.LocalAddr())) < 0 {
		return b
	}
	return a
}

// originOf is the public transport address of a socket, as far as it is known:
// what the socket is bound to if that is public, or the only public address
// there is.
func (s *Server) originOf(f *udpFront) netip.AddrPort {
	local := addrPort(f.LocalAddr())
	if s.policy.public[local.Addr()] {
		return local
	}
	var only netip.Addr
	for _, addr := range s.cfg.Public {
		if local.Addr() != netip.IPv6Unspecified() && addr.Is4() != local.Addr().Is4() {
			continue
		}
		if only.IsValid() {
			return netip.AddrPort{}
		}
		only = addr
	}
	if !only.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(only, local.Port())
}

// bindingAnswer is the answer to the Binding request m from a client, and the
// flags that say which socket sends it. Without a socket for what is asked,
// CHANGE-REQUEST is an attribute like any other that we don't know.
func (b behaviour) bindingAnswer(m *stun.Message, client netip.AddrPort) (answer []byte, flags uint32, err error) {
	var unknown stun.UnknownAttributes
	for _, a := range m.Attributes {
		switch a.Type {
		case stun.AttrUsername, stun.AttrRealm, stun.AttrNonce, stun.AttrMessageIntegrity,
			stun.AttrMessageIntegritySHA256, stun.AttrPriority, stun.AttrUseCandidate:
		case stun.AttrChangeRequest:
			if len(a.Value) == 4 {
				flags = binary.BigEndian.Uint32(a.Value) & (changeIP | changePort)
			}
			if b.from[flags] == nil {
				unknown, flags = append(unknown, a.Type), 0
			}
		default:
			if a.Type.Required() && len(unknown) < maxUnknown {
				unknown = append(unknown, a.Type)
			}
		}
	}
	setters := []stun.Setter{stun.NewTransactionIDSetter(m.TransactionID)}
	if len(unknown) > 0 {
		flags = 0
		setters = append(setters, stun.BindingError, stun.CodeUnknownAttribute, unknown)
	} else {
		setters = append(setters, stun.BindingSuccess, &stun.XORMappedAddress{IP: client.Addr().AsSlice(), Port: int(client.Port())})
		if f := b.from[flags]; f != nil && f.behaviour.origin.IsValid() {
			origin := f.behaviour.origin
			setters = append(setters, &stun.ResponseOrigin{IP: origin.Addr().AsSlice(), Port: int(origin.Port())})
		}
		if b.other.IsValid() {
			setters = append(setters, &stun.OtherAddress{IP: b.other.Addr().AsSlice(), Port: int(b.other.Port())})
		}
	}
	built, err := stun.Build(append(setters, stun.Fingerprint)...)
	if err != nil {
		return nil, 0, err
	}
	return built.Raw, flags, nil
}

// maxUnknown is how many unknown attributes an answer lists: it stays small.
const maxUnknown = 8
