package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// port is where multicast DNS is spoken.
const port = 5353

var (
	group4 = netip.MustParseAddr("224.0.0.251")
	group6 = netip.MustParseAddr("ff02::fb")
)

// network is the interfaces of this machine at one moment.
type network struct {
	ifaces []iface
}

type iface struct {
	net.Interface
	prefixes []netip.Prefix // the addresses, each with its network's length
}

// survey looks at the interfaces that are up and can take part.
func survey() (network, error) {
	all, err := net.Interfaces()
	if err != nil {
		return network{}, err
	}
	var n network
	for _, i := range all {
		loopback := i.Flags&net.FlagLoopback != 0
		// A loopback interface carries multicast even where it does not say so.
		if i.Flags&net.FlagUp == 0 || !loopback && i.Flags&net.FlagMulticast == 0 || i.Flags&net.FlagPointToPoint != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		found := iface{Interface: i}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				found.prefixes = append(found.prefixes, prefix)
			}
		}
		if len(found.prefixes) > 0 {
			n.ifaces = append(n.ifaces, found)
		}
	}
	return n, nil
}

// ours reports whether addr is one of this machine's.
func (n network) ours(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() {
		return true
	}
	for _, i := range n.ifaces {
		for _, p := range i.prefixes {
			if p.Addr() == addr {
				return true
			}
		}
	}
	return false
}

// onLink reports whether addr is on a network that this machine is on.
func (n network) onLink(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() || addr.Is6() && addr.IsLinkLocalUnicast() {
		return true
	}
	for _, i := range n.ifaces {
		for _, p := range i.prefixes {
			if p.Masked().Contains(addr) {
				return true
			}
		}
	}
	return false
}

// facing finds the interface a message from src came in on: the one with that
// index, or, where the system doesn't say, the one on src's network.
func (n network) facing(index int, src netip.Addr) (iface, bool) {
	src = src.Unmap().WithZone("")
	for _, i := range n.ifaces {
		if index != 0 && i.Index == index {
			return i, true
		}
	}
	for _, i := range n.ifaces {
		for _, p := range i.prefixes {
			if index == 0 && p.Masked().Contains(src) {
				return i, true
			}
		}
	}
	return iface{}, false
}

// reachable is the addresses to tell those on the interface's network.
func (i iface) reachable() []netip.Addr {
	var addrs, linkLocal4 []netip.Addr
	has4 := false
	for _, p := range i.prefixes {
		switch addr := p.Addr(); {
		case addr.IsLinkLocalUnicast():
			if addr.Is4() {
				linkLocal4 = append(linkLocal4, addr)
			}
		default:
			has4 = has4 || addr.Is4()
			addrs = append(addrs, addr)
		}
	}
	if !has4 {
		addrs = append(addrs, linkLocal4...)
	}
	return addrs[:min(len(addrs), maxURLs)]
}

// packet is a message and how it came.
type packet struct {
	data  []byte
	src   netip.AddrPort
	index int // of the interface; 0 if unknown
}

// family is a socket in the group of one IP version.
type family interface {
	join(i *net.Interface) error
	read(buf []byte) (packet, error)
	// write sends to the group on an interface, or to one address on it.
	write(data []byte, i *net.Interface, to netip.AddrPort) error
	Close() error
}

// open joins the groups on all interfaces, in both IP versions if possible.
// Others on this machine may listen on the same port.
func open(ctx context.Context, n network) ([]family, error) {
	var lc net.ListenConfig
	var families []family
	var errs []error
	// Given a multicast address, Go binds the port for sharing, to any address.
	if c, err := lc.ListenPacket(ctx, "udp4", netip.AddrPortFrom(group4, port).String()); err != nil {
		errs = append(errs, err)
	} else {
		p := ipv4.NewPacketConn(c)
		// Without control messages (Windows), the source address has to tell.
		_ = p.SetControlMessage(ipv4.FlagInterface, true)
		_ = p.SetMulticastTTL(255)
		_ = p.SetMulticastLoopback(true)
		families = append(families, &socket4{conn: p})
	}
	if c, err := lc.ListenPacket(ctx, "udp6", netip.AddrPortFrom(group6, port).String()); err != nil {
		errs = append(errs, err)
	} else {
		p := ipv6.NewPacketConn(c)
		_ = p.SetControlMessage(ipv6.FlagInterface, true)
		_ = p.SetMulticastHopLimit(255)
		_ = p.SetMulticastLoopback(true)
		families = append(families, &socket6{conn: p})
	}
	if joinAll(families, n) == 0 {
		for _, f := range families {
			_ = f.Close()
		}
		return nil, errors.Join(append(errs, errors.New("lan: no interface takes part in multicast"))...)
	}
	return families, nil
}

// joinAll joins the groups on the interfaces there are now, and counts those
// that are joined. Being in a group already is no error worth telling.
func joinAll(families []family, n network) (joined int) {
	for _, f := range families {
		for _, i := range n.ifaces {
			if f.join(&i.Interface) == nil {
				joined++
			}
		}
	}
	return joined
}

type socket4 struct {
	conn *ipv4.PacketConn
	mu   sync.Mutex // the interface to send on is the socket's state
}

func (s *socket4) Close() error { return s.conn.Close() }

func (s *socket4) join(i *net.Interface) error {
	return s.conn.JoinGroup(i, &net.UDPAddr{IP: group4.AsSlice()})
}

func (s *socket4) read(buf []byte) (packet, error) {
	n, cm, src, err := s.conn.ReadFrom(buf)
	if err != nil {
		return packet{}, err
	}
	p := packet{data: buf[:n], src: addrPort(src)}
	if cm != nil {
		p.index = cm.IfIndex
	}
	return p, nil
}

func (s *socket4) write(data []byte, i *net.Interface, to netip.AddrPort) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to.IsValid() {
		_, err := s.conn.WriteTo(data, nil, net.UDPAddrFromAddrPort(to))
		return err
	}
	if err := s.conn.SetMulticastInterface(i); err != nil {
		return err
	}
	group := net.UDPAddrFromAddrPort(netip.AddrPortFrom(group4, port))
	if i.Flags&net.FlagLoopback != 0 {
		// A machine with no other address sends from 0.0.0.0 if left to itself (Linux).
		cm := &ipv4.ControlMessage{Src: net.IPv4(127, 0, 0, 1), IfIndex: i.Index}
		if _, err := s.conn.WriteTo(data, cm, group); err == nil {
			return nil
		}
	}
	_, err := s.conn.WriteTo(data, nil, group)
	return err
}

type socket6 struct {
	conn *ipv6.PacketConn
}

func (s *socket6) Close() error { return s.conn.Close() }

func (s *socket6) join(i *net.Interface) error {
	return s.conn.JoinGroup(i, &net.UDPAddr{IP: group6.AsSlice()})
}

func (s *socket6) read(buf []byte) (packet, error) {
	n, cm, src, err := s.conn.ReadFrom(buf)
	if err != nil {
		return packet{}, err
	}
	p := packet{data: buf[:n], src: addrPort(src)}
	if cm != nil {
		p.index = cm.IfIndex
	}
	return p, nil
}

func (s *socket6) write(data []byte, i *net.Interface, to netip.AddrPort) error {
	if !to.IsValid() {
		to = netip.AddrPortFrom(group6.WithZone(i.Name), port)
	}
	_, err := s.conn.WriteTo(data, nil, net.UDPAddrFromAddrPort(to))
	return err
}

func addrPort(a net.Addr) netip.AddrPort {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := udp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
