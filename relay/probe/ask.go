package probe

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// The flags of CHANGE-REQUEST, RFC 5780 section 7.2.
const (
	changeIP   = 0x4
	changePort = 0x2
)

// A request is sent tries times; the wait for an answer doubles from firstWait.
// In all that is 1.4 s: long enough for a far server, short enough to wait for.
const (
	firstWait = 200 * time.Millisecond
	tries     = 3
)

// answer is a server's answer to a Binding request.
type answer struct {
	failed bool // it was an error
	from   netip.AddrPort
	mapped netip.AddrPort
	other  netip.AddrPort // OTHER-ADDRESS, if any
}

// asker sends Binding requests from one socket and matches the answers.
type asker struct {
	conn net.PacketConn
	done chan struct{}

	mu      sync.Mutex
	waiting map[[stun.TransactionIDSize]byte]chan answer
}

func newAsker(conn net.PacketConn) *asker {
	a := &asker{conn: conn, done: make(chan struct{}), waiting: make(map[[stun.TransactionIDSize]byte]chan answer)}
	_ = conn.SetReadDeadline(time.Time{})
	go a.read()
	return a
}

// close stops reading and leaves the socket open.
func (a *asker) close() {
	_ = a.conn.SetReadDeadline(time.Now())
	<-a.done
	_ = a.conn.SetReadDeadline(time.Time{})
}

func (a *asker) read() {
	defer close(a.done)
	buf := make([]byte, 1500)
	for {
		n, from, err := a.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m := stun.Message{Raw: buf[:n]}
		if m.Decode() != nil || m.Type.Method != stun.MethodBinding {
			continue
		}
		got, ok := parse(&m, addrPort(from))
		if !ok {
			continue
		}
		a.mu.Lock()
		if c := a.waiting[m.TransactionID]; c != nil {
			delete(a.waiting, m.TransactionID)
			c <- got
		}
		a.mu.Unlock()
	}
}

// parse reads an answer; a success must say how we are mapped.
func parse(m *stun.Message, from netip.AddrPort) (answer, bool) {
	got := answer{from: from, failed: m.Type.Class == stun.ClassErrorResponse}
	var other stun.OtherAddress
	if other.GetFrom(m) == nil {
		got.other = join(other.IP, other.Port)
	}
	var xored stun.XORMappedAddress
	var plain stun.MappedAddress // from servers older than RFC 5389
	switch {
	case got.failed:
		return got, true
	case m.Type.Class != stun.ClassSuccessResponse:
		return got, false
	case xored.GetFrom(m) == nil:
		got.mapped = join(xored.IP, xored.Port)
	case plain.GetFrom(m) == nil:
		got.mapped = join(plain.IP, plain.Port)
	}
	return got, got.mapped.IsValid()
}

func join(ip net.IP, port int) netip.AddrPort {
	addr, ok := netip.AddrFromSlice(ip)
	if !ok || port < 1 || port > 65535 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port))
}

func addrPort(addr net.Addr) netip.AddrPort {
	switch a := addr.(type) {
	case *net.UDPAddr:
		return join(a.IP, a.Port)
	case *net.TCPAddr:
		return join(a.IP, a.Port)
	}
	return netip.AddrPort{}
}

// ask sends a Binding request with these flags until it is answered.
func (a *asker) ask(ctx context.Context, to netip.AddrPort, flags uint32) (answer, error) {
	setters := []stun.Setter{stun.TransactionID, stun.BindingRequest}
	if flags != 0 {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: binary.BigEndian.AppendUint32(nil, flags)})
	}
	m, err := stun.Build(append(setters, stun.Fingerprint)...)
	if err != nil {
		return answer{}, err
	}
	c := make(chan answer, 1)
	a.mu.Lock()
	a.waiting[m.TransactionID] = c
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, m.TransactionID)
		a.mu.Unlock()
	}()
	wait := firstWait
	for range tries {
		// An error, such as no route, may pass; silence is the answer to it.
		_, _ = a.conn.WriteTo(m.Raw, net.UDPAddrFromAddrPort(to))
		select {
		case got := <-c:
			return got, nil
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
	return answer{}, ErrNoAnswer
}
