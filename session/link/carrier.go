package link

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v4/packetio"
)

// inboundBuffer is how many bytes of packets may wait for DTLS; more are
// dropped, as a full socket buffer would.
const inboundBuffer = 4 << 20

// suspicious is a silence after which packets have probably been lost: well
// below SCTP's shortest timeout, and above the round trips of most paths.
const suspicious = 250 * time.Millisecond

// carrier is the packet connection under DTLS. It sends on the attempt that is
// current and receives from every attempt that lives, so that the path can
// change underneath a running connection. A packet that can't be sent is lost,
// never an error: what is above retransmits.
type carrier struct {
	current atomic.Pointer[attempt]
	inbound *packetio.Buffer
	// established is set once DTLS is up: from then on, unencrypted alerts
	// come from somebody else and are dropped.
	established atomic.Bool
	closed      atomic.Bool

	// heard is when the last packet arrived, in nanoseconds since began, and
	// heardOn the attempt it came through. Anybody can send packets; proved is
	// when the last one arrived that the peer has certainly sent.
	began   time.Time
	heard   atomic.Int64
	heardOn atomic.Pointer[attempt]
	proved  atomic.Int64
	// used is when a stream's message was last written or read, likewise.
	used atomic.Int64
	sent recent

	// gap is how long nothing had arrived when the path last changed.
	gap atomic.Int64
}

var _ net.PacketConn = (*carrier)(nil)

func newCarrier() *carrier {
	c := &carrier{inbound: packetio.NewBuffer(), began: time.Now()}
	c.inbound.SetLimitSize(inboundBuffer)
	return c
}

// receive takes a packet that arrived on a. Only DTLS is passed on (RFC 7983).
func (c *carrier) receive(a *attempt, packet []byte) {
	if !isDTLS(packet, c.established.Load()) {
		return
	}
	now := int64(c.clock())
	a.heard.Store(now)
	before := c.heard.Swap(now)
	if last := c.heardOn.Swap(a); last != a && last != nil {
		c.gap.Store(now - before)
	}
	_, _ = c.inbound.Write(packet) // full or closed: the packet is lost
}

// isDTLS reports whether a packet consists of DTLS 1.2 records (RFC 6347,
// section 4.1) that may go to DTLS. Once that is established, only handshake
// records may come unencrypted, as retransmissions do: pion/dtls would end the
// connection because of any alert or data in clear, which anybody can send.
func isDTLS(packet []byte, established bool) bool {
	const (
		alert, data     = 21, 23
		epochAt, sizeAt = 3, 11
		header          = 13
	)
	if len(packet) < header || packet[0] < 20 || packet[0] > 63 {
		return false
	}
	for len(packet) >= header {
		kind, inClear := packet[0], packet[epochAt] == 0 && packet[epochAt+1] == 0
		if inClear && (kind == data || kind == alert && established) {
			return false
		}
		size := header + int(binary.BigEndian.Uint16(packet[sizeAt:]))
		packet = packet[min(size, len(packet)):]
	}
	return true
}

// switchTo sends on a from now on. If the path before was silent, the last packets
// sent into it go out again, as they were: DTLS drops what the peer has after
// all, and SCTP need not wait for its retransmission timer.
func (c *carrier) switchTo(a *attempt) {
	old := c.current.Swap(a)
	silent := old == nil || c.clock()-time.Duration(old.heard.Load()) > suspicious
	if conn := a.conn.Load(); conn != nil && silent {
		c.sent.replay(func(p []byte) { _, _ = conn.Write(p) })
	}
}

// clock is the time since the carrier began.
func (c *carrier) clock() time.Duration { return time.Since(c.began) }

// prove notes that a packet of the peer's has arrived: one that DTLS has
// authenticated.
func (c *carrier) prove() { c.proved.Store(int64(c.clock())) }

// use notes that a stream has sent or received something.
func (c *carrier) use() { c.used.Store(int64(c.clock())) }

// silence is how long the peer has not been heard.
func (c *carrier) silence() time.Duration { return c.clock() - time.Duration(c.proved.Load()) }

func (c *carrier) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := c.inbound.Read(p)
	return n, carrierAddr{}, err
}

func (c *carrier) WriteTo(p []byte, _ net.Addr) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	c.sent.keep(p)
	if a := c.current.Load(); a != nil {
		if conn := a.conn.Load(); conn != nil {
			_, _ = conn.Write(p) // lost
		}
	}
	return len(p), nil
}

func (c *carrier) Close() error {
	c.closed.Store(true)
	return c.inbound.Close()
}

func (c *carrier) LocalAddr() net.Addr               { return carrierAddr{} }
func (c *carrier) SetReadDeadline(t time.Time) error { return c.inbound.SetReadDeadline(t) }
func (c *carrier) SetWriteDeadline(time.Time) error  { return nil } // writes never block
func (c *carrier) SetDeadline(t time.Time) error     { return c.SetReadDeadline(t) }

// carrierAddr stands for both ends: the real addresses change.
type carrierAddr struct{}

func (carrierAddr) Network() string { return "ice" }
func (carrierAddr) String() string  { return "ice" }

// recent keeps copies of the packets sent last.
type recent struct {
	mu      sync.Mutex
	packets [64][]byte
	next    int
}

func (r *recent) keep(p []byte) {
	r.mu.Lock()
	slot := &r.packets[r.next%len(r.packets)]
	*slot = append((*slot)[:0], p...)
	r.next++
	r.mu.Unlock()
}

// replay hands the packets to send, oldest first.
func (r *recent) replay(send func([]byte)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.packets {
		if p := r.packets[(r.next+i)%len(r.packets)]; len(p) > 0 {
			send(p)
		}
	}
}
