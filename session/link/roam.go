package link

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/ice/v4"

	"tandem/session"
)

// The timing of roaming.
const (
	tick      = 250 * time.Millisecond // also how often our addresses are compared
	clockJump = 10 * time.Second       // between two ticks, by either clock: we slept
	wakeGrace = 10 * time.Second       // for the peer to be heard after that
	stalled   = time.Second            // between two ticks: we did not run, and heard nothing

	resendFirst   = 500 * time.Millisecond
	restartFirst  = 300 * time.Millisecond // the same for a replacement: somebody waits for it
	offerPause    = 100 * time.Millisecond // between two offers of the same, whoever asks for it
	resendSlowest = 4 * time.Second

	attemptLimit = 12 * time.Second // for a replacement to work, counted from its beginning
	directLimit  = 6 * time.Second
	restartPause = 250 * time.Millisecond // between two beginnings
	requestPause = time.Second            // between two requests of the answerer
	linger       = 3 * time.Second        // how long a replaced path still receives
	pingLook     = 20 * time.Millisecond  // how often to look whether to measure, beside bulk data
)

// upgradeAfter is when a relayed path looks for a direct one, counted from when
// it began; after the last, about every upgradeInterval.
var upgradeAfter = [...]time.Duration{time.Second, 4 * time.Second, 15 * time.Second}

const upgradeInterval = 45 * time.Second

// pathSilent is why a path is replaced of which nothing comes.
const pathSilent = "the path is silent"

// pathReplaced is what the log says when a new path is taken.
const pathReplaced = "path replaced"

// roamer owns the paths of a connection: which one is current, which one is
// being tried, and when a new one is needed. One goroutine runs it; what others
// may touch is marked.
type roamer struct {
	conn      *conn
	envelopes chan received     // to the goroutine
	described chan *description // from it, once: the peer's description
	connected chan struct{}     // closed by it when there is a path for the first time
	poke      chan string       // to it: something happened, start over

	main envelope // S1 or S2, for sending again

	current, next *attempt
	generation    uint32
	started       bool // current has the peer's credentials
	offered       envelope
	answered      envelope
	resendAt      time.Time
	resendDelay   time.Duration
	planned       bool // next was begun although current works
	nextLimit     time.Time
	lastBegin     time.Time
	lastOffer     time.Time
	lastRequest   time.Time
	wanted        string // why a new path is needed, or ""
	requests      uint32 // counts the answerer's requests, so that none is replayed
	// early are candidates that have overtaken the offer of their generation.
	early envelope

	isConfirmed chan struct{}
	up          bool
	reachable   bool // connected is closed
	upgrades    int
	upgradeAt   time.Time

	addresses [sha256.Size]byte
	ticked    time.Time     // when watch last looked
	wall      time.Time     // the same, by the clock on the wall
	resumed   time.Time     // when we last ran again after we had not
	woke      time.Time     // when we last woke, until the peer is heard
	slept     time.Duration // how long we had slept then
	ping      pinger
	vigil     vigil
	switched  time.Time // when the current path was taken
	suspect   *attempt  // the path that the vigil has called dead
	suspected int64     // and when, on the carrier's clock
	factsSent bool
	retired   sync.WaitGroup

	report report // has its own lock
}

type received struct {
	envelope envelope
	trunk    bool
}

func newRoamer(c *conn, first *attempt) *roamer {
	r := &roamer{
		conn: c, envelopes: make(chan received, 16), described: make(chan *description, 1),
		connected: make(chan struct{}), poke: make(chan string, 1),
		current: first, isConfirmed: make(chan struct{}), resendDelay: resendFirst,
		ticked: time.Now(), wall: c.config.wall(),
	}
	r.addresses, _ = c.config.network.snapshot()
	r.resendAt = time.Now().Add(r.resendDelay)
	return r
}

// deliver hands over an envelope that arrived on the Signaler or the trunk.
func (r *roamer) deliver(ctx context.Context, e envelope, trunk bool) {
	select {
	case r.envelopes <- received{e, trunk}:
	case <-ctx.Done():
	}
}

// rebind asks for a new path because the network may have changed. It never
// blocks.
func (r *roamer) rebind(why string) {
	select {
	case r.poke <- why:
	default:
	}
}

// confirmed tells that S3 is done.
func (r *roamer) confirmed() { close(r.isConfirmed) }

func (r *roamer) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	pings := time.NewTimer(tick) // runs while bulk data flows
	defer pings.Stop()
	looks := time.NewTimer(tick) // runs while there are streams
	defer looks.Stop()
	listening := true
	isConfirmed := r.isConfirmed
	for {
		var nextWake chan struct{}
		if r.next != nil {
			nextWake = r.next.wake
		}
		select {
		case <-ctx.Done():
			return
		case got := <-r.envelopes:
			r.receive(ctx, got)
		case <-r.current.wake:
			r.trickle(r.current)
		case <-nextWake:
			r.trickle(r.next)
		case why := <-r.poke:
			r.wanted = why
		case <-isConfirmed:
			isConfirmed = nil
			r.up = true
			r.report.begin(time.Now())
			r.tell(r.ping.next(time.Now()))
		case <-ticker.C:
			r.watch(time.Now())
			if interval := r.conn.governor.pingInterval(time.Now()); interval != 0 && interval < tick {
				pings.Reset(interval)
			}
			if !listening {
				listening = true
				looks.Reset(0)
			}
		case <-looks.C:
			next := r.listen(time.Now())
			if listening = next != 0; listening {
				looks.Reset(next)
			}
		case <-pings.C:
			if interval := r.measure(time.Now()); interval != 0 {
				pings.Reset(interval)
			}
		}
		r.step(ctx, time.Now())
	}
}

// close ends every path, after run has returned.
func (r *roamer) close() {
	r.current.close()
	if r.next != nil {
		r.next.close()
	}
	r.retired.Wait()
}

func (r *roamer) trickle(a *attempt) {
	fresh := a.takeLocal()
	if len(fresh) == 0 {
		return
	}
	r.conn.out.trickle(a.generation, fresh)
	if r.up {
		r.tell(envelope{Type: typeCandidates, Generation: a.generation, Candidates: fresh})
	}
}

// tell sends on channel 0, if that is open. A failure shows elsewhere.
func (r *roamer) tell(e envelope) {
	if r.up {
		_ = r.conn.send(e)
	}
}

// receive acts on one envelope. Whatever does not fit the moment is dropped:
// envelopes may be old, repeated or forged.
func (r *roamer) receive(ctx context.Context, got received) {
	e := &got.envelope
	switch e.Type {
	case typeOffer:
		// The same S1 again: our S2 was lost.
		if r.conn.role == answerer && string(e.Nonce) == string(r.conn.transcript.offerNonce) && !r.up {
			r.sendMainAgain()
		}
	case typeAnswer:
		r.receiveAnswer(e)
	case typeRefuse:
		if r.conn.role == offerer && !r.started {
			if refusal, ok := verifyRefusal(e, &r.conn.transcript); ok {
				r.conn.fail(refusal)
			}
		}
	case typeCandidates:
		for _, a := range []*attempt{r.current, r.next} {
			if a != nil && a.generation == e.Generation {
				a.addRemote(e.Candidates, r.conn.log)
			}
		}
		r.keepEarly(e)
	case typeRestart:
		r.receiveRestart(ctx, e)
	case typePong:
		if r.ping.pong(e.Number, time.Now()) {
			r.report.setRTT(r.ping.rtt)
			r.conn.governor.roundTrip(r.ping.rtt, r.conn.sctp.CWND(), time.Now())
		}
	case typeFacts:
		if got.trunk {
			r.report.setPeerFacts(e.STUNFailed)
		}
	}
}

// keepEarly keeps candidates of a generation that has not been offered yet:
// the Signaler may reorder, and they are sent only once.
func (r *roamer) keepEarly(e *envelope) {
	if r.conn.role == offerer || e.Generation <= r.generation {
		return
	}
	if r.early.Generation != e.Generation {
		r.early = envelope{Generation: e.Generation}
	}
	room := maxCandidates - len(r.early.Candidates)
	r.early.Candidates = append(r.early.Candidates, e.Candidates[:min(len(e.Candidates), room)]...)
}

func (r *roamer) receiveAnswer(e *envelope) {
	if r.conn.role != offerer || r.started {
		return
	}
	remote, err := verifyAnswer(e, &r.conn.transcript)
	if err != nil {
		r.conn.log.Debug("answer refused", "error", err)
		r.report.setRefused(err)
		return
	}
	if err := r.current.start(true, remote.ufrag, remote.password, r.conn.carrier.receive); err != nil {
		r.conn.fail(err)
		return
	}
	r.started = true
	r.current.addRemote(remote.candidates, r.conn.log)
	r.conn.carrier.current.Store(r.current)
	r.described <- remote
}

// watch looks at what nobody tells us: our addresses, the clock, silence.
func (r *roamer) watch(now time.Time) {
	if addresses, _ := r.conn.config.network.snapshot(); addresses != r.addresses {
		r.addresses = addresses
		r.wanted = "our addresses have changed"
	}
	if now.Sub(r.ticked) > stalled {
		r.resumed = now
	}
	r.watchSleep(now, r.conn.config.wall())
	if !r.up {
		return
	}
	if err := r.dead(now); err != nil {
		r.conn.fail(err)
		return
	}
	if r.ping.due(now, r.conn.config.active(), r.conn.config.DeadAfter/4) {
		r.tell(r.ping.next(now))
	}
}

// measure sends a ping if the governor wants one and none is on its way, and
// says when to look again.
func (r *roamer) measure(now time.Time) time.Duration {
	interval := r.conn.governor.pingInterval(now)
	if interval != 0 && r.up && !r.ping.waiting && now.Sub(r.ping.sent) >= interval {
		r.tell(r.ping.next(now))
	}
	return min(interval, pingLook)
}

// watchSleep notices that we did not run for a while. While a machine sleeps,
// the monotonic clock stops on most systems and the wall clock never does; while
// a process is stopped, both go on.
func (r *roamer) watchSleep(now, wall time.Time) {
	away := max(now.Sub(r.ticked), wall.Round(0).Sub(r.wall.Round(0)).Abs())
	r.ticked, r.wall = now, wall
	if away > clockJump {
		r.woke, r.slept = now, away
		r.wanted = "this device slept, or its clock was set"
	}
}

// dead says why the session has ended, if nothing was heard for so long. A peer
// gets a little time to be heard after we woke: then it has not been silent, we
// have been deaf. If we slept for longer than it waits, it ended the session.
func (r *roamer) dead(now time.Time) error {
	limit, silence := r.conn.config.DeadAfter, r.conn.carrier.silence()
	if !r.woke.IsZero() {
		since := now.Sub(r.woke)
		switch {
		case silence < since:
			r.woke = time.Time{}
		case since > min(wakeGrace, limit) && max(r.slept, silence) > limit:
			return &session.Error{
				Op: "link", Kind: session.Unavailable,
				Text: "this device slept for " + r.slept.Round(time.Second).String() + ", and the peer has not waited",
			}
		}
		return nil
	}
	if silence > limit {
		return &session.Error{
			Op: "link", Kind: session.Unavailable,
			Text: "nothing was heard from the peer for " + silence.Round(time.Second).String(),
		}
	}
	return nil
}

// step does whatever the state of the paths calls for.
func (r *roamer) step(ctx context.Context, now time.Time) {
	if r.conn.role == offerer && !r.started {
		// S1 again, until there is an answer.
		if now.After(r.resendAt) {
			r.sendMainAgain()
			r.resendLater(now)
		}
		return
	}

	state, pair := r.current.status()
	r.observe(now, pair, state)
	if state == ice.ConnectionStateConnected && !r.reachable {
		r.reachable = true
		close(r.connected)
	}
	if r.next != nil {
		r.stepNext(now)
		state, pair = r.current.status() // it may be another one now
	}
	switch state {
	case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
		// Where the machine is so busy that we did not run, ICE may look at the
		// clock before what has arrived is read: it finds out soon.
		deaf := state == ice.ConnectionStateDisconnected && now.Sub(r.resumed) < stalled
		if r.wanted == "" && (r.next == nil || r.planned) && !deaf {
			r.wanted = pathSilent
		}
	}
	if r.wanted != "" {
		r.replace(ctx, now, r.wanted, false)
		return
	}
	if r.up && r.next == nil && state == ice.ConnectionStateConnected {
		r.improve(ctx, now, pair)
	}
}

// stepNext follows the replacement: promotes it when it works, gives up on it
// when it doesn't.
func (r *roamer) stepNext(now time.Time) {
	state, _ := r.next.status()
	switch {
	case state == ice.ConnectionStateConnected:
		r.promote(now)
	case state == ice.ConnectionStateFailed, now.After(r.nextLimit):
		r.conn.log.Debug("replacement path failed", "generation", r.next.generation)
		r.report.attemptFailed(r.next)
		r.retire(r.next, 0)
		r.next = nil
	case r.conn.role == offerer && r.next.conn.Load() == nil && now.After(r.resendAt):
		r.offerAgain(now)
		r.resendLater(now)
	}
}

// offerAgain repeats the offer of the replacement, with all candidates: those
// that went by themselves may be lost as well.
func (r *roamer) offerAgain(now time.Time) {
	r.offered.Candidates = r.next.known()
	r.lastOffer = now
	r.sendRestart(r.offered)
}

// sendMainAgain sends S1 or S2 again, and with it all candidates: what was lost
// may have been more than one envelope.
func (r *roamer) sendMainAgain() {
	_ = r.conn.out.put(r.main) // was sent before, so it fits
	r.conn.out.trickle(0, r.current.known())
}

func (r *roamer) resendLater(now time.Time) {
	r.resendDelay = min(2*r.resendDelay, resendSlowest)
	r.resendAt = now.Add(r.resendDelay)
}

func (r *roamer) promote(now time.Time) {
	old := r.current
	r.current, r.next = r.next, nil
	r.switched, r.vigil.probes = now, 0
	r.conn.carrier.switchTo(r.current)
	r.conn.governor.forget(now)
	r.ping.waiting = false // its pong would tell of the path before
	r.retire(old, linger)
	_, pair := r.current.status()
	r.conn.log.Debug(pathReplaced, "generation", r.current.generation)
	r.observe(now, pair, ice.ConnectionStateConnected)
}

// retire closes a path after a while, so that what is on its way still arrives.
func (r *roamer) retire(a *attempt, after time.Duration) {
	r.retired.Go(func() {
		t := time.NewTimer(after)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.conn.done:
		}
		a.close()
	})
}

// improve looks for something better than a path that works.
func (r *roamer) improve(ctx context.Context, now time.Time, pair *ice.CandidatePair) {
	if pair == nil {
		return
	}
	if pair.Local.Type() == ice.CandidateTypeRelay && r.current.needsRenewal(now) {
		r.replace(ctx, now, "the relay's credentials expire", true)
		return
	}
	if !isRelayed(pair) {
		r.upgrades, r.upgradeAt = 0, time.Time{}
		return
	}
	if r.conn.role != offerer || r.conn.config.RelayOnly {
		return
	}
	if r.upgradeAt.IsZero() {
		r.upgradeAt = now.Add(upgradeAfter[0])
	}
	if now.Before(r.upgradeAt) {
		return
	}
	r.upgrades++
	if r.upgrades < len(upgradeAfter) {
		r.upgradeAt = now.Add(upgradeAfter[r.upgrades])
	} else {
		r.upgradeAt = now.Add(upgradeInterval + rand.N(upgradeInterval/3) - upgradeInterval/6)
	}
	if err := r.begin(ctx, now, true, true); err != nil {
		r.conn.log.Debug("no direct attempt", "error", err)
	}
}

func isRelayed(p *ice.CandidatePair) bool {
	return p.Local.Type() == ice.CandidateTypeRelay || p.Remote.Type() == ice.CandidateTypeRelay
}
