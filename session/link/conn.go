package link

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"

	"tandem/session"
)

const (
	// defaultConfirmTimeout bounds S3, from the moment DTLS is up.
	defaultConfirmTimeout = 10 * time.Second
	// setupTimeout bounds the way from S1 to DTLS if the caller's context
	// doesn't: an S1 is good for no longer.
	setupTimeout = offerLifetime
	// pathPoll is how often to look for the first pair that works.
	pathPoll = 3 * time.Millisecond
	// goodbye bounds how long a closing side waits for what it has sent.
	goodbye = 500 * time.Millisecond

	controlChannel    = 0
	maxControlMessage = MaxEnvelope
)

// conn is one authenticated connection to a peer: ICE paths that come and go
// under one DTLS connection, SCTP over that, and channel 0. A session's trunk
// is one; a lane is another, signaled over a stream of the trunk.
type conn struct {
	config   *Config
	role     role
	log      *slog.Logger
	cert     *certificate
	carrier  *carrier
	governor governor
	out      *outbox
	roam     *roamer
	onStream func(*conn, *sctp.Stream) // takes each stream of the peer

	transcript transcript // fixed once DTLS begins
	localInit  []byte

	dtls    *dtls.Conn
	sctp    *sctp.Association
	control *datachannel.DataChannel
	copies  *copies
	urged   chan struct{} // something was handed to SCTP

	// confirmed is set when the peer's S3 has been verified; ready is closed
	// when the peer is known to have verified ours.
	confirmed atomic.Bool
	ready     chan struct{}
	lanes     bool // both sides understand lanes; set by confirm
	tcp       bool // and those over TCP

	cancel context.CancelFunc
	work   sync.WaitGroup

	// ending is closed when nothing more arrives. Whoever reads channel 0 then
	// finds out why, and ends the connection.
	ending chan struct{}

	once     sync.Once
	done     chan struct{}
	err      error // set before done is closed
	graceful bool
	settled  chan struct{} // closed when nothing sets the fields above any more
	finished chan struct{}
}

// connect makes a connection as role r: as the offerer it sends S1 to peer; as
// the answerer, offer is the S1 that has arrived.
func connect(ctx context.Context, config *Config, kind string, r role, peer session.PeerID, offer *envelope,
	sig session.Signaler, onStream func(*conn, *sctp.Stream),
) (*conn, error) {
	ctx, cancelSetup := context.WithTimeout(ctx, setupTimeout)
	defer cancelSetup()
	c, runCtx, err := begin(ctx, config, kind, r, peer, offer, sig, onStream)
	if err != nil {
		return nil, err
	}
	err = c.raise(ctx, runCtx)
	if err == nil {
		err = c.confirmInTime(ctx, runCtx)
	}
	close(c.settled)
	if err == nil {
		return c, nil
	}
	c.fail(err)
	<-c.finished
	if session.KindOf(err) == session.Integrity {
		return nil, err
	}
	return nil, c.err // the first failure is the reason; err may follow from it
}

// begin makes a connection's description, sends it, and starts looking for a
// path. Whoever calls it closes c.settled once they no longer work on c, and
// waits for c.finished after that.
func begin(ctx context.Context, config *Config, kind string, r role, peer session.PeerID, offer *envelope,
	sig session.Signaler, onStream func(*conn, *sctp.Stream),
) (c *conn, runCtx context.Context, err error) {
	log := config.Logger.With("peer", peer.Short(), "kind", kind, "role", string(r))
	cert, err := newCertificate(time.Now())
	if err != nil {
		return nil, nil, err
	}
	localInit, err := newSCTPInit()
	if err != nil {
		return nil, nil, err
	}
	c = &conn{
		config: config, role: r, log: log, cert: cert, carrier: newCarrier(), out: newOutbox(), onStream: onStream,
		localInit: localInit, urged: make(chan struct{}, 1), ready: make(chan struct{}), ending: make(chan struct{}), done: make(chan struct{}),
		settled: make(chan struct{}), finished: make(chan struct{}),
	}
	first, err := c.firstAttempt(ctx)
	if err != nil {
		return nil, nil, err
	}
	c.roam = newRoamer(c, first)
	if err := c.describe(ctx, kind, peer, offer); err != nil {
		first.close()
		return nil, nil, err
	}
	// The connection lives longer than the context of its making.
	runCtx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.work.Go(func() { c.out.run(runCtx, sig, log) })
	c.work.Go(func() { receiveEnvelopes(runCtx, sig, log, func(e envelope) { c.roam.deliver(runCtx, e, false) }) })
	c.work.Go(func() { c.roam.run(runCtx) })
	go c.finish()
	return c, runCtx, nil
}

func (c *conn) firstAttempt(ctx context.Context) (*attempt, error) {
	relays := c.config.relays(ctx, c.log)
	return newAttempt(attemptConfig{
		directOnly: c.config.directOnly, relayOnly: c.config.RelayOnly, relays: relays, network: c.config.network, observed: c.config.observed(),
		relayTLS: c.config.RelayTLS, log: c.log,
	})
}

// describe makes our description and signs S1 or S2 into the outbox.
func (c *conn) describe(ctx context.Context, kind string, peer session.PeerID, offer *envelope) error {
	var nonce [nonceSize]byte
	var sessionID [8]byte
	_, _ = rand.Read(nonce[:])     // never fails (crypto/rand)
	_, _ = rand.Read(sessionID[:]) // never fails
	first := c.roam.current
	local := &description{
		print: c.cert.print, setup: setupOffer, ufrag: first.ufrag, password: first.password,
		maxMessageSize: maxMessageSize, sctpInit: c.localInit,
	}
	digest := contextDigest(c.config.Context)
	if c.role == offerer {
		c.transcript = transcript{
			kind: kind, context: digest, offerer: c.config.Identity.ID(), answerer: peer,
			expires: time.Now().Add(offerLifetime).Unix(), offerNonce: nonce[:],
		}
		local.candidates = first.firstLocal(ctx)
		sdp := local.marshal(binary.BigEndian.Uint64(sessionID[:]) >> 1)
		c.roam.main = makeOffer(c.config.Identity, &c.transcript, local, sdp)
		return c.out.put(c.roam.main)
	}

	t, remote, err := verifyOffer(offer, c.config.Identity.ID(), kind, digest, time.Now())
	if err != nil {
		return err
	}
	c.transcript = *t
	// Checks may begin while the answer is on its way.
	if err := first.start(false, remote.ufrag, remote.password, c.carrier.receive); err != nil {
		return err
	}
	first.addRemote(remote.candidates, c.log)
	c.carrier.current.Store(first)
	local.setup = setupAnswer
	local.candidates = first.firstLocal(ctx)
	sdp := local.marshal(binary.BigEndian.Uint64(sessionID[:]) >> 1)
	c.roam.main = makeAnswer(c.config.Identity, &c.transcript, nonce[:], local, sdp)
	c.roam.described <- remote
	return c.out.put(c.roam.main)
}

// raise waits for the peer's description and a path, then brings up DTLS, SCTP
// and channel 0.
func (c *conn) raise(ctx, runCtx context.Context) error {
	var remote *description
	select {
	case remote = <-c.roam.described:
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return c.roam.noAnswer(ctx)
	}

	if err := c.awaitPath(ctx); err != nil {
		return err
	}

	// DTLS reads from a carrier that Close unblocks; a failure elsewhere must
	// end it too.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(runCtx, cancel)
	defer stop()
	var err error
	c.dtls, err = secure(ctx, c.carrier, c.cert, c.role == answerer, c.transcript.print(c.role.other()), c.log)
	if err != nil {
		if ctx.Err() != nil {
			return c.roam.noPath(ctx)
		}
		if session.KindOf(err) == session.Internal {
			return refused("no secure connection: %w", err)
		}
		return err
	}
	c.carrier.established.Store(true)

	c.carrier.prove()
	ending := endingConn{Conn: c.dtls, heard: c.carrier.prove, ended: func() { close(c.ending) }, resets: new(resets)}
	if c.config.onBulk != nil {
		ending.bulk = func(p []byte) { c.config.onBulk(c, p) }
	}
	c.sctp, err = associate(ctx, ending, c.localInit, remote.sctpInit, min(maxMessageSize, remote.maxMessageSize), c.log)
	if err != nil {
		return err
	}
	c.control, err = datachannel.Dial(c.sctp, controlChannel, channelConfig(true, c.log))
	if err != nil {
		return err
	}
	c.copies, err = newCopies(c.sctp, c.governor.halfRTT)
	if err != nil {
		return err
	}
	c.work.Go(c.acceptStreams)
	return nil
}

// awaitPath waits until packets get through. Before that, the first flight
// would only be lost, and cost a retransmission. It need not be the pair that
// is nominated in the end: waiting for that would cost a round trip, or the
// time a relayed pair must wait.
func (c *conn) awaitPath(ctx context.Context) error {
	ticker := time.NewTicker(pathPoll)
	defer ticker.Stop()
	for {
		select {
		case <-c.roam.connected:
			return nil
		case <-c.done:
			return c.err
		case <-ctx.Done():
			return c.roam.noPath(ctx)
		case <-ticker.C:
			if a := c.carrier.current.Load(); a != nil {
				if kind, ok := a.valid(); ok {
					c.roam.report.provisional(kind)
					return nil
				}
			}
		}
	}
}

// confirmInTime runs S3 and, if it succeeds, starts to serve channel 0.
func (c *conn) confirmInTime(ctx, runCtx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.config.confirmTimeout)
	defer cancel()
	defer context.AfterFunc(runCtx, cancel)()
	stop := context.AfterFunc(ctx, func() { _ = c.control.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := c.confirm(); err != nil {
		return err
	}
	if !stop() {
		return unconfirmed()
	}
	c.work.Go(func() { c.readControl(runCtx) })
	c.work.Go(func() { c.urge(runCtx) })
	if c.copies.wanted.Load() {
		c.work.Go(func() { c.copies.run(runCtx) })
		c.work.Go(c.copies.receive)
	}
	c.roam.confirmed()
	return nil
}

func unconfirmed() error {
	return session.Errorf("link", session.Timeout, "the peer did not confirm the connection in time")
}

// confirm runs S3. The offerer goes first; the answerer confirms only what it
// has verified, and the offerer says ready after that. So each side knows that
// the other has verified it before it opens a stream, and a stream that comes
// earlier is an attack.
func (c *conn) confirm() error {
	self, other := c.role, c.role.other()
	if self == offerer {
		if err := c.sendConfirm(); err != nil {
			return err
		}
	}
	e, err := c.readEnvelope()
	if err != nil {
		return err
	}
	if err := verifyConfirm(&e, &c.transcript, other); err != nil {
		return err
	}
	c.copies.wanted.Store(e.Copies)
	c.lanes = e.Lanes && c.config.onLane != nil
	c.tcp = c.lanes && e.TCP && c.config.allowsTCP()
	c.confirmed.Store(true)
	if self == offerer {
		close(c.ready)
		return c.send(envelope{Type: typeReady})
	}
	if err := c.sendConfirm(); err != nil {
		return err
	}
	if e, err = c.readEnvelope(); err != nil {
		return err
	}
	if e.Type != typeReady {
		return refused("%s before the connection was ready", session.Printable(e.Type))
	}
	close(c.ready)
	return nil
}

func (c *conn) sendConfirm() error {
	e := makeConfirm(c.config.Identity, &c.transcript, c.role)
	e.Lanes, e.TCP = c.config.onLane != nil, c.config.allowsTCP()
	return c.send(e)
}

// send writes one envelope on channel 0.
func (c *conn) send(e envelope) error {
	b, err := e.marshal()
	if err != nil {
		return err
	}
	if _, err = c.control.Write(b); err != nil {
		return peerGone(err)
	}
	return nil
}

// readEnvelope reads one envelope from channel 0.
func (c *conn) readEnvelope() (envelope, error) {
	buf := make([]byte, maxControlMessage)
	n, err := c.control.Read(buf)
	switch {
	case errors.Is(err, sctp.ErrReadDeadlineExceeded):
		return envelope{}, unconfirmed()
	case errors.Is(err, io.ErrShortBuffer):
		return envelope{}, malformed("an oversized message on channel 0")
	case err != nil:
		return envelope{}, peerGone(err)
	}
	return parseEnvelope(buf[:n])
}

// acceptStreams takes the peer's streams until SCTP ends.
func (c *conn) acceptStreams() {
	for {
		s, err := c.sctp.AcceptStream()
		if err != nil {
			return
		}
		if id := s.StreamIdentifier(); id == controlChannel || id == copiesChannel {
			continue // our own opening of it came second
		}
		if !c.confirmed.Load() {
			c.fail(refused("the peer opened a stream before it was confirmed"))
			return
		}
		c.onStream(c, s)
	}
}

// peerGone is the reason of a connection that ended under us.
func peerGone(err error) error {
	if errors.Is(err, io.EOF) {
		return &session.Error{Op: "link", Kind: session.Unavailable, Text: "the peer ended the connection"}
	}
	return &session.Error{Op: "link", Kind: session.Unavailable, Text: "the connection to the peer broke", Err: err}
}

// fail ends the connection for a reason; only the first one counts.
func (c *conn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		c.cancel()
	})
}

// close ends the connection because we want to, and tells the peer.
func (c *conn) close(reason error) {
	c.once.Do(func() {
		c.err = reason
		c.graceful = true
		close(c.done)
		c.cancel()
	})
	<-c.finished
}

// finish takes everything down, in an order that lets the last words out, and
// waits for it.
func (c *conn) finish() {
	defer close(c.finished)
	<-c.done
	<-c.settled
	if c.graceful && c.sctp != nil && c.confirmed.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		if err := c.send(envelope{Type: typeBye, Kind: string(session.Canceled)}); err == nil {
			_ = c.sctp.Shutdown(ctx) // late or not, it ends now
		}
		cancel()
	}
	// Closing the carrier first would swallow the close_notify; what reads
	// from it is unblocked by DTLS and SCTP themselves.
	if c.sctp != nil {
		_ = c.sctp.Close()
	}
	if c.dtls != nil {
		_ = c.dtls.Close()
	}
	_ = c.carrier.Close()
	c.work.Wait()
	c.roam.close()
}
