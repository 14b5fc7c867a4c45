package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/turn/v5"

	"tandem/session"
)

// hostileRelay is a TURN server that does as it likes to what it carries.
type hostileRelay struct {
	turn.RelayAddressGenerator
	attack func(datagram) []datagram // called with mu held
	checks func(datagram) []datagram // the same for ICE's; nil lets them pass

	mu   sync.Mutex
	taps []*tap
	seen []byte     // all that was carried
	old  []datagram // some of it
	rand *rand.Rand
}

// tap is the socket of an allocation, with the relay's fingers in it.
type tap struct {
	net.PacketConn
	relay   *hostileRelay
	peer    net.Addr      // who the client talks to; guarded by the relay's mu
	expires time.Time     // for a relay that minds; likewise
	inbound chan datagram // to the client
	closed  chan struct{}
	pumping sync.WaitGroup
}

// datagram is one on its way through an allocation: out of it to the peer, or
// in to the client.
type datagram struct {
	tap   *tap
	out   bool
	addr  net.Addr // of the peer
	bytes []byte
}

// isDTLS tells what the relay attacks from ICE's checks, which it lets pass.
func (d datagram) isDTLS() bool { return len(d.bytes) > 13 && d.bytes[0] >= 20 && d.bytes[0] <= 63 }

// isClear tells the DTLS handshake from what is encrypted.
func (d datagram) isClear() bool { return d.bytes[3] == 0 && d.bytes[4] == 0 }

func (d datagram) with(b []byte) datagram {
	d.bytes = b
	return d
}

func (r *hostileRelay) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	conn, addr, err := r.RelayAddressGenerator.AllocatePacketConn(c)
	if err != nil {
		return nil, nil, err
	}
	t := &tap{PacketConn: conn, relay: r, inbound: make(chan datagram, 4096), closed: make(chan struct{})}
	t.pumping.Go(func() {
		defer close(t.closed)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			r.carry(datagram{t, false, from, bytes.Clone(buf[:n])})
		}
	})
	r.mu.Lock()
	r.taps = append(r.taps, t) // from here on it may be closed
	r.mu.Unlock()
	return t, addr, nil
}

func (t *tap) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case d := <-t.inbound:
		return copy(p, d.bytes), d.addr, nil
	case <-t.closed:
		return 0, nil, net.ErrClosed
	}
}

func (t *tap) WriteTo(p []byte, to net.Addr) (int, error) {
	t.relay.carry(datagram{t, true, to, bytes.Clone(p)})
	return len(p), nil
}

func (t *tap) Close() error {
	err := t.PacketConn.Close()
	t.pumping.Wait()
	return err
}

// carry takes one datagram and lets go what the attack makes of it.
func (r *hostileRelay) carry(d datagram) {
	r.mu.Lock()
	r.seen = append(r.seen, d.bytes...)
	result := []datagram{d}
	switch {
	case !d.isDTLS() && r.checks != nil:
		result = r.checks(d)
	case d.isDTLS():
		d.tap.peer = d.addr
		result = r.attack(d)
		if len(r.old) < 4096 {
			r.old = append(r.old, d)
		}
	}
	r.mu.Unlock()
	for _, d := range result {
		d.send()
	}
}

func (d datagram) send() {
	if d.out {
		_, _ = d.tap.PacketConn.WriteTo(d.bytes, d.addr) // a lost one is a lost one
		return
	}
	select {
	case d.tap.inbound <- d:
	default:
	}
}

func (r *hostileRelay) one(in int) bool { return r.rand.IntN(in) == 0 }

func (r *hostileRelay) flipped(d datagram) datagram {
	b := bytes.Clone(d.bytes)
	b[r.rand.IntN(len(b))] ^= 1 << r.rand.IntN(8)
	return d.with(b)
}

// elsewhere is d in another session, as if it belonged there.
func (r *hostileRelay) elsewhere(d datagram) (datagram, bool) {
	for _, t := range r.taps {
		if t != d.tap && t.peer != nil {
			return datagram{t, d.out, t.peer, d.bytes}, true
		}
	}
	return d, false
}

// back is d sent to where it came from.
func (d datagram) back() datagram {
	d.out = !d.out
	return d
}

// relayAttacks are what a relay can do to datagrams it can't read, each often
// enough to matter and seldom enough that something gets through.
var relayAttacks = map[string]func(*hostileRelay, datagram) []datagram{
	"drop": func(r *hostileRelay, d datagram) []datagram {
		if r.one(20) {
			return nil
		}
		return []datagram{d}
	},
	"duplicate": func(_ *hostileRelay, d datagram) []datagram { return []datagram{d, d, d} },
	"reorder": func(r *hostileRelay, d datagram) []datagram {
		if r.one(4) {
			time.AfterFunc(time.Duration(1+r.rand.IntN(20))*time.Millisecond, d.send)
			return nil
		}
		return []datagram{d}
	},
	"flip bits": func(r *hostileRelay, d datagram) []datagram {
		if r.one(20) {
			return []datagram{r.flipped(d)}
		}
		return []datagram{r.flipped(d), d, r.flipped(d)}
	},
	"cut and extend": func(r *hostileRelay, d datagram) []datagram {
		longer := append(bytes.Clone(d.bytes), d.bytes...)
		return []datagram{d.with(d.bytes[:r.rand.IntN(len(d.bytes))]), d, d.with(longer[:min(len(longer), 1400)])}
	},
	"replay": func(r *hostileRelay, d datagram) []datagram {
		result := []datagram{d}
		for range min(3, len(r.old)) {
			o := r.old[r.rand.IntN(len(r.old))]
			if o.tap == d.tap {
				result = append(result, o)
			}
		}
		return result
	},
	"reflect": func(_ *hostileRelay, d datagram) []datagram { return []datagram{d.back(), d} },
	"redirect": func(r *hostileRelay, d datagram) []datagram {
		other, ok := r.elsewhere(d)
		switch {
		case !ok:
			return []datagram{d}
		case r.one(40):
			return []datagram{other, other.back()}
		}
		return []datagram{other, d, other.back()}
	},
	"forge": func(_ *hostileRelay, d datagram) []datagram {
		record := func(kind, epoch byte, body ...byte) []byte {
			return append([]byte{kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, byte(len(body))}, body...)
		}
		result := []datagram{d}
		for _, b := range [][]byte{
			record(21, 0, 1, 0),  // close_notify, in clear
			record(21, 0, 2, 40), // handshake_failure, in clear
			record(21, 1, 1, 0),  // close_notify, as if encrypted
			record(20, 0, 1),     // change_cipher_spec
			record(22, 0, 1, 0),  // a fragment of a ClientHello
			record(23, 0, 1, 2),  // data, in clear
			record(23, 1, make([]byte, 64)...),
			record(23, 2, make([]byte, 64)...),
		} {
			behind := append(bytes.Clone(d.bytes), b...)
			result = append(result, d.with(b), d.with(b).back(), d.with(behind), d.with(behind).back())
		}
		return result
	},
}

// startHostileRelay runs a relay on this machine that does attack to every
// datagram but ICE's.
func startHostileRelay(t *testing.T, attack func(*hostileRelay, datagram) []datagram) (*hostileRelay, Relay) {
	t.Helper()
	r := &hostileRelay{rand: rand.New(rand.NewPCG(1, 2))}
	r.attack = func(d datagram) []datagram { return attack(r, d) }
	relay, _ := relayServerWith(t, func(g turn.RelayAddressGenerator) turn.RelayAddressGenerator {
		r.RelayAddressGenerator = g
		return r
	})
	return r, relay
}

const seeded = "the quick brown secret jumps over the lazy relay"

// seededBytes is something to send that is its own check, full of a string to
// look for.
func seededBytes(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d %s\n", i, seeded)
	}
	return b.Bytes()
}

// exchange sends want over an echoing stream of l and wants it back.
func exchange(ctx context.Context, l *Link, want []byte) error {
	s, err := l.Open(ctx, session.Header{Service: "echo/1", Resource: seeded})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	defer context.AfterFunc(ctx, func() { s.Reset(ctx.Err()) })()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		if _, err := s.Write(want); err == nil {
			_ = s.CloseWrite()
		}
	})
	got, err := io.ReadAll(s)
	if !bytes.HasPrefix(want, got) {
		return fmt.Errorf("wrong bytes: %w", errTampered)
	}
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes of %d and no error: %w", len(got), len(want), errTampered)
	}
	return nil
}

var errTampered = errors.New("the relay has changed a stream")

// Two sessions over a relay that tampers: what arrives is what was sent, and
// the relay reads none of it.
func TestHostileRelay(t *testing.T) {
	for name, attack := range relayAttacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			underAttack(t, attack)
		})
	}
	t.Run("everything", func(t *testing.T) {
		t.Parallel()
		var all []func(*hostileRelay, datagram) []datagram
		for _, attack := range relayAttacks {
			all = append(all, attack)
		}
		underAttack(t, func(r *hostileRelay, d datagram) []datagram { return all[r.rand.IntN(len(all))](r, d) })
	})
}

func underAttack(t *testing.T, attack func(*hostileRelay, datagram) []datagram) {
	r, relay := startHostileRelay(t, func(r *hostileRelay, d datagram) []datagram {
		if d.isClear() {
			return []datagram{d} // to break off a handshake is in any relay's power
		}
		return attack(r, d)
	})
	want := seededBytes(48 << 10)
	var work sync.WaitGroup
	for range 2 {
		a, b := meet(t, Config{Relays: relays(relay), RelayOnly: true, Handler: echo}, Config{Handler: echo})
		for _, l := range []*Link{a, b} {
			work.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := exchange(ctx, l, want); err != nil {
					t.Error(err)
				}
			})
		}
		if p := a.Path(); p.Kind != session.Relayed {
			t.Errorf("path %+v", p)
		}
	}
	work.Wait()
	r.sawNothing(t)
	// In clear are the certificates that DTLS 1.2 exchanges, and they say
	// nothing. That they are found shows that the relay has looked.
	r.mu.Lock()
	defer r.mu.Unlock()
	if !bytes.Contains(r.seen, []byte("WebRTC")) {
		t.Errorf("the relay has seen no handshake in %d bytes", len(r.seen))
	}
}

// The same from the first packet of the handshake: there is no session, or one
// that carries what was sent.
func TestHostileRelayInHandshake(t *testing.T) {
	for name, attack := range relayAttacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, relay := startHostileRelay(t, attack)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			sigA, sigB := pipe(nil)
			bob := newDevice(t)
			want := seededBytes(4 << 10)
			var work sync.WaitGroup
			work.Go(func() {
				l, err := Accept(ctx, Config{Identity: bob, Handler: echo}, anyone, sigB)
				if err == nil {
					<-ctx.Done()
					_ = l.Close()
				}
			})
			l, err := Dial(ctx, Config{Identity: newDevice(t), Relays: relays(relay), RelayOnly: true}, bob.ID(), sigA)
			if err == nil {
				err = exchange(ctx, l, want)
				_ = l.Close()
			}
			if errors.Is(err, errTampered) {
				t.Error(err)
			}
			t.Log(err)
			cancel()
			work.Wait()
			r.sawNothing(t)
		})
	}
}

// sawNothing checks what the relay has carried.
func (r *hostileRelay) sawNothing(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range []string{seeded, seeded[4:20], "echo/1"} {
		if bytes.Contains(r.seen, []byte(secret)) {
			t.Errorf("the relay has read %q", secret)
		}
	}
}

// A relay that passes ICE's checks, so that the path looks sound, sends much
// that looks like the peer's, and spoils everything else: the session ends with
// an error, and so does a new one.
func TestRelaySpoilsEverything(t *testing.T) {
	t.Parallel()
	var spoil atomic.Bool
	r, relay := startHostileRelay(t, func(_ *hostileRelay, d datagram) []datagram {
		if spoil.Load() {
			b := bytes.Clone(d.bytes)
			b[len(b)-1] ^= 1
			return []datagram{d.with(b)}
		}
		return []datagram{d}
	})
	r.mu.Lock() // the relay's goroutines are running already
	r.checks = func(d datagram) []datagram {
		junk := d.with(append([]byte{23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 1, 0, 0, 0, 64}, make([]byte, 64)...))
		return []datagram{d, junk, junk.back()}
	}
	r.mu.Unlock()
	dial := Config{Relays: relays(relay), RelayOnly: true, DeadAfter: time.Second}
	a, b := meet(t, dial, Config{Handler: echo, DeadAfter: time.Second})
	spoil.Store(true)
	within(t, 20*time.Second, "the end", func() {
		err := exchange(t.Context(), a, seededBytes(4<<10))
		wantKind(t, "stream", err, session.Unavailable)
		for _, l := range []*Link{a, b} {
			<-l.Done()
			wantKind(t, "session", l.Err(), session.Unavailable)
		}
	})

	sigA, sigB := pipe(nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	bob := newDevice(t)
	work.Go(func() {
		if _, err := Accept(ctx, Config{Identity: bob}, anyone, sigB); err == nil {
			t.Error("the answerer accepted")
		}
	})
	dial.Identity = newDevice(t)
	if _, err := Dial(ctx, dial, bob.ID(), sigA); err == nil {
		t.Error("the offerer connected")
	}
}

// forger is a relay that ends DTLS itself, on both sides, with a certificate
// of its own, and carries what it decrypts from one side to the other.
type forger struct {
	halves  [2]*forgedHalf // towards the client, towards the peer
	carried atomic.Int32   // records it could decrypt
}

// forgedHalf is the packet connection to one victim, under the relay's DTLS.
type forgedHalf struct {
	in    *packetio.Buffer
	to    atomic.Pointer[datagram] // where packets to the victim go
	heard atomic.Int32             // packets of the victim
}

func (h *forgedHalf) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := h.in.Read(p)
	return n, carrierAddr{}, err
}

func (h *forgedHalf) WriteTo(p []byte, _ net.Addr) (int, error) {
	if d := h.to.Load(); d != nil {
		d.with(bytes.Clone(p)).send()
	}
	return len(p), nil
}
func (h *forgedHalf) Close() error                      { return h.in.Close() }
func (h *forgedHalf) LocalAddr() net.Addr               { return carrierAddr{} }
func (h *forgedHalf) SetReadDeadline(t time.Time) error { return h.in.SetReadDeadline(t) }
func (h *forgedHalf) SetWriteDeadline(time.Time) error  { return nil }
func (h *forgedHalf) SetDeadline(t time.Time) error     { return h.in.SetReadDeadline(t) }

func newForger() *forger {
	f := new(forger)
	for i := range f.halves {
		f.halves[i] = &forgedHalf{in: packetio.NewBuffer()}
	}
	return f
}

// take swallows what the victims send to each other.
func (f *forger) take(_ *hostileRelay, d datagram) []datagram {
	in, out := d, d
	in.out, out.out = false, true
	f.halves[0].to.Store(&in)
	f.halves[1].to.Store(&out)
	from := f.halves[0]
	if !d.out { // it comes from the peer
		from = f.halves[1]
	}
	from.heard.Add(1)
	_, _ = from.in.Write(d.bytes)
	return nil
}

// run is the man in the middle. Offerers are DTLS servers, and here the one
// that uses the relay.
func (f *forger) run(ctx context.Context, t *testing.T) {
	cert, err := newCertificate(time.Now())
	if err != nil {
		t.Error(err)
		return
	}
	client, err := dtls.ClientWithOptions(f.halves[0], carrierAddr{}, dtls.WithCertificates(cert.tls),
		dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(dtlsFlight),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM))
	if err != nil {
		t.Error(err)
		return
	}
	server, err := dtls.ServerWithOptions(f.halves[1], carrierAddr{}, dtls.WithCertificates(cert.tls),
		dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithInsecureSkipVerify(true), dtls.WithFlightInterval(dtlsFlight),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM))
	if err != nil {
		t.Error(err)
		return
	}
	defer context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })()
	var both sync.WaitGroup
	for _, c := range []*dtls.Conn{client, server} {
		both.Go(func() { _ = c.HandshakeContext(ctx) }) // reading tells
	}
	both.Wait()
	bridge := func(from, to *dtls.Conn) func() {
		return func() {
			buf := make([]byte, 4096)
			for {
				n, err := from.Read(buf)
				if err != nil {
					return
				}
				f.carried.Add(1)
				_, _ = to.Write(buf[:n])
			}
		}
	}
	both.Go(bridge(client, server))
	both.Go(bridge(server, client))
	both.Wait()
}

// A relay with a certificate of its own in between: neither side connects, no
// offer reaches an application, and the relay reads nothing.
func TestRelayForgesDTLS(t *testing.T) {
	t.Parallel()
	f := newForger()
	_, relay := startHostileRelay(t, f.take)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var w witness
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { f.run(ctx, t) })
	sigA, sigB := pipe(nil)
	bob := newDevice(t)
	var victims sync.WaitGroup
	victims.Go(func() {
		l, err := Accept(ctx, Config{Identity: bob, Handler: w.handle}, anyone, sigB)
		if err == nil {
			t.Error("the answerer accepted")
			<-ctx.Done()
			_ = l.Close()
		}
		// When the offerer has noticed first, there is nobody to notice it with.
		if kind := session.KindOf(err); kind != session.Integrity && kind != session.Canceled {
			t.Errorf("answerer: %v", err)
		}
	})
	l, err := Dial(ctx, Config{Identity: newDevice(t), Handler: w.handle, Relays: relays(relay), RelayOnly: true}, bob.ID(), sigA)
	if err == nil {
		t.Error("the offerer connected")
		_ = exchange(ctx, l, seededBytes(4<<10))
		_ = l.Close()
	}
	wantKind(t, "offerer", err, session.Integrity)
	cancel()
	victims.Wait()
	w.want(t)
	if n := f.carried.Load(); n != 0 {
		t.Errorf("the relay has read %d records", n)
	}
	if f.halves[0].heard.Load() == 0 || f.halves[1].heard.Load() == 0 {
		t.Error("the relay has not stood between them")
	}
}
