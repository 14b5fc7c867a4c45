package link

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// maxHostCandidates is how many of our own addresses a peer learns and checks.
const maxHostCandidates = 8

// socketBuffer is what each UDP socket asks the kernel for, in bytes. The
// usual 212 kB is what drops packets on a LAN.
const socketBuffer = 4 << 20

// network is the machine's network as ICE may see it: only the addresses worth
// offering to a peer, and sockets with large buffers.
type network struct {
	transport.Net
	interfaces func() ([]*transport.Interface, error)
	tcp        bool // TCP takes the ways that these packets do
}

// systemNetwork is the network of this machine at this moment; addresses are
// read afresh each time ICE gathers.
func systemNetwork() *network {
	n := &network{Net: &stdnet.Net{}, tcp: true}
	n.interfaces = func() ([]*transport.Interface, error) {
		fresh, err := stdnet.NewNet()
		if err != nil {
			return nil, err
		}
		return fresh.Interfaces()
	}
	return n
}

// Interfaces lists what selectInterfaces keeps.
func (n *network) Interfaces() ([]*transport.Interface, error) {
	all, err := n.interfaces()
	if err != nil {
		return nil, err
	}
	return selectInterfaces(all), nil
}

// ListenPacket makes a socket to reach a relay with; pion/ice has no other use
// for it, and asks for udp4 always. It can reach relays by either family.
func (n *network) ListenPacket(string, string) (net.PacketConn, error) {
	conn, err := n.Net.ListenPacket("udp", ":0")
	if err != nil {
		return nil, err
	}
	grow(conn)
	return newRelaySocket(conn), nil
}

func (n *network) ListenUDP(network string, local *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, local)
	if err == nil {
		grow(conn)
	}
	return conn, err
}

// grow asks for larger socket buffers. The kernel grants what its limits allow;
// a socket that keeps its size still works.
func grow(conn any) {
	if c, ok := conn.(interface {
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	}); ok {
		_ = c.SetReadBuffer(socketBuffer)
		_ = c.SetWriteBuffer(socketBuffer)
	}
}

// snapshot is a digest of the addresses in use, to notice that they changed.
func (n *network) snapshot() (sum [sha256.Size]byte, loopbackOnly bool) {
	interfaces, err := n.Interfaces()
	if err != nil {
		return sum, false
	}
	h := sha256.New()
	loopbackOnly = len(interfaces) > 0
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 {
			loopbackOnly = false
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			_, _ = h.Write([]byte(i.Name + " " + a.String() + "\n"))
		}
	}
	h.Sum(sum[:0])
	return sum, loopbackOnly
}

// selectInterfaces keeps the interfaces and addresses worth offering: those
// that are up, are no container or virtual machine bridge and no overlay that
// carries us already, without link-local addresses, and at most
// maxHostCandidates addresses, the first of every interface before the second
// of any. Loopback is kept only when nothing else is left.
func selectInterfaces(all []*transport.Interface) []*transport.Interface {
	type pick struct {
		iface *transport.Interface
		addrs []net.Addr
	}
	var loopback, usable []pick
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || isBridge(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		addrs = slices.DeleteFunc(slices.Clone(addrs), func(a net.Addr) bool { return !isUsable(a) })
		if len(addrs) == 0 {
			continue
		}
		if i.Flags&net.FlagLoopback != 0 {
			loopback = append(loopback, pick{i, addrs})
			continue
		}
		// IPv4 first: on most networks it is the one that works.
		slices.SortStableFunc(addrs, func(a, b net.Addr) int {
			x, _ := ipOf(a)
			y, _ := ipOf(b)
			return x.BitLen() - y.BitLen()
		})
		usable = append(usable, pick{i, addrs})
	}
	if len(usable) == 0 {
		usable = loopback
	}

	kept := make(map[int]*transport.Interface)
	var result []*transport.Interface
	for round, left := 0, maxHostCandidates; left > 0; round++ {
		took := false
		for n, p := range usable {
			if round >= len(p.addrs) || left == 0 {
				continue
			}
			took = true
			left--
			if kept[n] == nil {
				kept[n] = transport.NewInterface(p.iface.Interface)
				result = append(result, kept[n])
			}
			kept[n].AddAddress(p.addrs[round])
		}
		if !took {
			break
		}
	}
	return result
}

// bridges are the name prefixes of interfaces that lead to containers and
// virtual machines of this host, or over an overlay that finds its own paths.
var bridges = []string{
	"docker", "br-", "virbr", "lxcbr", "lxdbr", "podman", "cni", "flannel", "cali", "cilium", "kube",
	"vboxnet", "vmnet", "awdl", "llw", "tailscale", "zt",
}

func isBridge(name string) bool {
	return slices.ContainsFunc(bridges, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func ipOf(a net.Addr) (netip.Addr, bool) {
	var raw net.IP
	switch a := a.(type) {
	case *net.IPNet:
		raw = a.IP
	case *net.IPAddr:
		raw = a.IP
	}
	ip, ok := netip.AddrFromSlice(raw)
	return ip.Unmap(), ok
}

func isUsable(a net.Addr) bool {
	ip, ok := ipOf(a)
	return ok && !ip.IsLinkLocalUnicast() && !ip.IsMulticast() && !ip.IsUnspecified()
}

// acceptRemote says whether a peer may direct us to ip. Loopback is believed
// only where it is all we have ourselves: then the peer, if it is honest, is a
// process on this machine. Otherwise a candidate like 127.0.0.1 would have us
// probe services of our own.
func acceptRemote(ip net.IP, loopbackOnly bool) bool {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok {
		return false
	}
	addr = addr.Unmap()
	switch {
	case addr.IsUnspecified(), addr.IsMulticast(), addr.IsLinkLocalUnicast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return false
	case addr.IsLoopback():
		return loopbackOnly
	}
	return true
}
