package link

import (
	"context"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/sctp"

	"tandem/session"
	"tandem/session/link/stream"
)

// The stream IDs of either side: the offerer, who is the DTLS server, has the
// odd ones (RFC 8832); 0 and 2 are negotiated. 65535 is reserved (RFC 8831).
const (
	firstOffererID  = 1
	firstAnswererID = 4
	maxStreamID     = 65534
)

// Open starts a request on a data channel of its own.
func (l *Link) Open(ctx context.Context, h session.Header) (session.Stream, error) {
	if err := l.opens.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &session.Error{Op: "open", Kind: session.Timeout, Text: "too many streams wait to be opened", Err: err}
	}
	id, err := l.reserve()
	if err != nil {
		return nil, err
	}
	s, err := l.open(id, h)
	if err != nil {
		l.release(id, false)
		if sessionErr := l.Err(); sessionErr != nil {
			return nil, sessionErr
		}
		return nil, err
	}
	if err := l.register(id, s); err != nil {
		s.Fail(err)
	}
	l.work.Go(func() {
		<-s.Done()
		l.release(id, false)
	})
	return s, nil
}

func (l *Link) open(id uint16, h session.Header) (*stream.Stream, error) {
	config, options := channelConfig(false, l.trunk.log), l.streamOptions()
	bulk := h.Bulk && l.trunk.lanes
	if bulk {
		config.Protocol = bulkProtocol
	}
	dc, err := datachannel.Dial(l.trunk.sctp, id, config)
	if err != nil {
		return nil, peerGone(err)
	}
	trunk := newChannel(l.trunk, dc, &l.sent, &l.received)
	if !bulk {
		return stream.Open(trunk, h, options)
	}
	options.Window, options.MaxWindow = bulkWindow, bulkMaxWindow
	return stream.Open(l.lanes.stripe(trunk, true), h, options)
}

func (l *Link) streamOptions() stream.Options {
	return stream.Options{
		Peer:   l.peer,
		Local:  stream.Addr(l.config.Identity.ID().String()),
		Remote: stream.Addr(l.peer.ID.String()),
	}
}

// reserve takes a stream ID of our parity. IDs go round, so that one is used
// again only long after both ends have forgotten it.
func (l *Link) reserve() (uint16, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if l.opened >= MaxStreams {
		return 0, session.Errorf("open", session.Busy, "%d streams are open with this peer", l.opened)
	}
	for {
		id := l.nextID
		if l.nextID += 2; l.nextID > maxStreamID || l.nextID < 2 {
			l.nextID = firstOffererID
			if l.role == answerer {
				l.nextID = firstAnswererID
			}
		}
		if _, busy := l.streams[id]; !busy {
			l.streams[id] = nil
			l.opened++
			l.config.streams.Add(1)
			return id, nil
		}
	}
}

// register notes a stream that was made, or says that the session is over.
func (l *Link) register(id uint16, s *stream.Stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.streams[id] = s
	return nil
}

// release frees what reserve and admit took.
func (l *Link) release(id uint16, incoming bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, id)
	l.config.streams.Add(-1)
	if incoming {
		l.incoming--
	} else {
		l.opened--
	}
}

// admit counts a stream of the peer. Over the limit it is refused with a
// reason, and over the limit on those refusals without one.
func (l *Link) admit() (ok, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil || l.incoming >= MaxStreams+MaxStreams/10 {
		return false, true
	}
	l.incoming++
	l.config.streams.Add(1)
	return true, l.incoming > MaxStreams
}

// accept takes a stream of the peer. It slows the peer down when it opens too
// many too fast: SCTP makes it send again what is not accepted.
func (l *Link) accept(handlers context.Context, c *conn, s *sctp.Stream) {
	if l.rates.Wait(handlers) != nil {
		return
	}
	id := s.StreamIdentifier()
	ours := id%2 == 1 == (l.role == offerer)
	ok, busy := l.admit()
	if !ok || ours {
		if ok {
			l.release(id, true)
		}
		_ = s.Close() // not a stream of the peer's
		return
	}
	l.work.Go(func() {
		defer l.release(id, true)
		l.serve(handlers, c, s, id, busy)
	})
}

// serve runs one offer of the peer from its first byte to the end of its
// stream.
func (l *Link) serve(handlers context.Context, c *conn, s *sctp.Stream, id uint16, busy bool) {
	ctx, cancel := context.WithTimeout(handlers, headerTimeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	_ = s.SetReadDeadline(deadline)
	s.SetDefaultPayloadType(sctp.PayloadTypeWebRTCBinary)
	config := channelConfig(false, c.log)
	dc, err := datachannel.Server(s, config)
	_ = s.SetReadDeadline(time.Time{}) // ends pion's timer as well
	if err != nil || config.ChannelType != datachannel.ChannelTypeReliable {
		_ = s.Close() // not a data channel as we know them
		return
	}
	var ch stream.Channel = newChannel(c, dc, &l.sent, &l.received)
	options := l.streamOptions()
	if config.Protocol == bulkProtocol && c.lanes {
		ch = l.lanes.stripe(ch.(*channel), false)
		options.Window, options.MaxWindow = bulkWindow, bulkMaxWindow
	}
	offer, err := stream.Receive(ctx, ch, options)
	if err != nil {
		c.log.Debug("no header", "error", err)
		return
	}
	if err := l.register(id, offer.Stream()); err != nil {
		offer.Stream().Fail(err)
	}
	switch {
	case busy:
		_ = offer.Reject(session.Busy, "too many streams are open")
	case l.config.Handler != nil:
		l.config.Handler(handlers, offer)
	}
	// No effect on an offer that was answered.
	_ = offer.Reject(session.Unsupported, "nothing here answers to that")
	<-offer.Stream().Done()
}
