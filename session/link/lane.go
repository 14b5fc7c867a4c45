package link

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/sctp"
	"golang.org/x/time/rate"

	"tandem/session"
	"tandem/session/link/pace"
)

const (
	// lanesWanted is how many lanes a session opens for bulk data, and maxLanes how
	// many there may be, of both sides together.
	lanesWanted = 2
	maxLanes    = 8
	// laneAfter is how much bulk data a stream has to carry before it is worth a
	// lane, and moreAfter how much a session before it is worth all of them, in bytes.
	laneAfter = 16 << 10
	moreAfter = 4 << 20
	// laneFar is the round trip from which on the first lane is opened before it is known
	// whether there is so much.
	laneFar = 20 * time.Millisecond
	// laneIdle is how long lanes stay after the last bulk data.
	laneIdle = 15 * time.Second
	lanePoll = time.Second
	// laneDead is how long a lane may be silent before what it carried goes another
	// way.
	laneDead = 10 * time.Second
	// laneSetup bounds how long a lane may take to come up, and lanePause is before
	// another try.
	laneSetup = 15 * time.Second
	lanePause = 5 * time.Second
	// laneRate and laneBurst bound how fast a peer may offer lanes.
	laneRate  = 1
	laneBurst = 2 * maxLanes
	// laneQueue is how many envelopes may wait for one lane's set-up.
	laneQueue = 64

	labelLane = "tandem/lane/1"
)

// lanes are the further connections of a session, for bulk data. They are opened
// when there is some and closed when there was none for a while. Whoever has
// something to send opens them; both sides send on all of them.
type lanes struct {
	link   *Link
	base   *Config // of the trunk
	config *Config // of each lane; set by begin, as start and trunk
	start  func(*laneSignaler, role)
	offers *rate.Limiter
	work   sync.WaitGroup // of lanes
	used   atomic.Int64   // when bulk data last came or went, in Unix nanoseconds

	mu       sync.Mutex
	trunk    *conn
	signals  map[uint32]*laneSignaler // of all lanes, from their beginning
	live     []*lane
	mine     uint32 // number of our last lane
	ended    bool   // the session has: no further lanes
	retry    time.Time
	control  *pace.Controller
	stripes  map[uint16]*stripe
	fresh    []cargo    // to be sent
	again    []cargo    // lost, to be sent before those
	room     *sync.Cond // whoever has more parcels waits here
	tcp      tcpLanes
	frames   frames
	taken    int64 // bytes given to lanes
	retained int   // bytes sent and not yet acknowledged
	kept     int   // bytes that arrived out of order

	wake chan struct{} // tells pump that something has changed
}

func newLanes(l *Link, config *Config) *lanes {
	ls := &lanes{
		link: l, base: config, offers: rate.NewLimiter(laneRate, laneBurst),
		signals: make(map[uint32]*laneSignaler), stripes: make(map[uint16]*stripe), wake: make(chan struct{}, 1),
	}
	ls.room = sync.NewCond(&ls.mu)
	if !config.NoLanes {
		config.onLane = ls.envelope
	}
	return ls
}

// end tells that the session has ended: no further lanes.
func (ls *lanes) end() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.ended = true
}

// wait returns when all lanes have ended, after end.
func (ls *lanes) wait() { ls.work.Wait() }

// begin tells of the trunk, when that is up. ctx ends with the session.
func (ls *lanes) begin(ctx context.Context, trunk *conn) {
	config := *ls.base
	config.Context = trunk.transcript.binding()
	config.Nonces = new(Nonces)
	config.Handler, config.OnPath, config.onLane = nil, nil, nil
	config.DeadAfter = laneDead
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.config, ls.trunk = &config, trunk
	ls.start = func(s *laneSignaler, r role) { ls.work.Go(func() { ls.run(ctx, s, r) }) }
	ls.control = pace.New(pace.Config{Packet: leastPacket}, time.Now())
	ls.beginTCP(ctx)
	ls.work.Go(func() { ls.pump(ctx) })
}

// binding is what ties a lane to this session and no other: all that the
// trunk's confirmation covers.
func (t *transcript) binding() []byte {
	return signed(labelLane, []byte(t.kind), t.context[:], t.offerer[:], t.answerer[:],
		t.offerNonce, t.answerNonce, t.offerPrint[:], t.answerPrint[:])
}

// laneKind is what the signatures of a lane's set-up cover.
func laneKind(number uint32) string { return fmt.Sprintf("lane/%d", number) }

// laneSignaler carries the envelopes of one lane over the trunk.
type laneSignaler struct {
	trunk  *conn
	number uint32
	in     chan []byte
}

func (s *laneSignaler) Send(_ context.Context, b []byte) error {
	return s.trunk.send(envelope{Type: typeLane, Number: uint64(s.number), Lane: json.RawMessage(b)})
}

func (s *laneSignaler) Receive(ctx context.Context) ([]byte, error) {
	select {
	case b := <-s.in:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// envelope takes an envelope of a lane from the trunk. A first one begins a lane
// of the peer's; what fits nothing, or is too much, is dropped.
func (ls *lanes) envelope(e envelope) {
	if e.Type == typeTCP {
		ls.tcpEnvelope(e)
		return
	}
	if e.Number > 1<<31 {
		return
	}
	number := uint32(e.Number)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	s := ls.signals[number]
	if s == nil {
		ours := number%2 == 1 == (ls.link.role == offerer)
		if ls.trunk == nil || ls.ended || ours || !isOffer(e.Lane) || len(ls.signals) >= maxLanes || !ls.offers.Allow() {
			return
		}
		s = ls.signal(number)
		ls.start(s, answerer)
	}
	select {
	case s.in <- e.Lane:
	default: // it is sent again
	}
}

// isOffer says whether an envelope begins a lane.
func isOffer(b []byte) bool {
	e, err := parseEnvelope(b)
	return err == nil && e.Type == typeOffer
}

func (ls *lanes) signal(number uint32) *laneSignaler {
	s := &laneSignaler{trunk: ls.trunk, number: number, in: make(chan []byte, laneQueue)}
	ls.signals[number] = s
	return s
}

// want opens lanes if there are too few; ls.mu is held.
func (ls *lanes) want(now time.Time) {
	if ls.trunk == nil || ls.ended || ls.wantTCP(now) || now.Before(ls.retry) {
		return
	}
	wanted := 1
	if ls.taken > moreAfter {
		wanted = lanesWanted
	}
	for len(ls.signals) < wanted {
		if ls.mine == 0 && ls.link.role == answerer {
			ls.mine = 2
		} else if ls.mine == 0 {
			ls.mine = 1
		} else {
			ls.mine += 2
		}
		ls.start(ls.signal(ls.mine), offerer)
	}
}

// foresee opens the first lane with a stream that may carry bulk data, where the round
// trips of a lane's set-up take so long that a transfer could not wait for them; ls.mu is
// held.
func (ls *lanes) foresee(now time.Time) {
	if ls.trunk == nil {
		return
	}
	rtt := 2 * ls.trunk.governor.halfRTT()
	if rtt == 0 { // no ping has come back yet
		rtt = time.Duration(ls.trunk.sctp.SRTT() * float64(time.Millisecond))
	}
	if rtt >= laneFar {
		ls.want(now)
	}
}

// run is one lane from its first envelope to its end.
func (ls *lanes) run(ctx context.Context, s *laneSignaler, r role) {
	err := ls.carry(ctx, s, r)
	if err != nil {
		ls.trunk.log.Debug("no lane", "number", s.number, "error", err)
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.signals, s.number)
	if err != nil && r == offerer {
		ls.retry = time.Now().Add(lanePause)
	}
}

func (ls *lanes) carry(ctx context.Context, s *laneSignaler, r role) error {
	setup, cancel := context.WithTimeout(ctx, laneSetup)
	defer cancel()
	kind, peer, config := laneKind(s.number), ls.link.peer.ID, *ls.config
	config.directOnly = s.trunk.path().Kind == session.Direct
	var offer *envelope
	if r == answerer {
		var t *transcript
		var err error
		if offer, t, err = receiveOffer(setup, &config, kind, s); err != nil {
			return err
		}
		if t.offerer != peer {
			return refused("a lane offered by somebody else")
		}
	}
	l := newLane(ls, s.number)
	config.onBulk = l.receive
	c, err := connect(setup, &config, kind, r, peer, offer, s, func(c *conn, _ *sctp.Stream) {
		c.fail(refused("the peer opened a stream on a lane"))
	})
	if err != nil {
		return err
	}
	acknowledged := make(chan struct{})
	go func() {
		defer close(acknowledged)
		l.acknowledge(c)
	}()
	ls.add(l, c)
	ls.watch(ctx, l, r)
	ls.drop(l)
	c.close(&session.Error{Op: "lane", Kind: session.Canceled, Text: "the lane was closed here"})
	<-acknowledged
	return nil
}

// watch returns when a lane is over: broken, idle for a while, or the session is.
func (ls *lanes) watch(ctx context.Context, l *lane, r role) {
	ticker := time.NewTicker(lanePoll)
	defer ticker.Stop()
	ls.touch()
	for {
		select {
		case <-l.conn.done:
			return
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if r == offerer && now.Sub(time.Unix(0, ls.used.Load())) > laneIdle {
				return
			}
		}
	}
}

func (ls *lanes) touch() { ls.used.Store(time.Now().UnixNano()) }
