package link

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"

	"tandem/session"
)

// report is what is known about the path, for whoever asks. It has its own
// lock.
type report struct {
	mu      sync.Mutex
	path    session.Path
	refused error // the last description that was refused

	apart          string // why no direct path can exist
	stunFailed     bool
	peerSTUNFailed bool
	directFailed   bool
	relayOnly      bool
}

func (r *report) begin(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path.Since.IsZero() {
		r.path.Since = now
	}
}

// provisional notes how packets travel before a path is settled on.
func (r *report) provisional(kind session.PathKind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path.Kind == "" {
		r.path.Kind = kind
	}
}

func (r *report) setRTT(rtt time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.path.RTT = rtt
}

func (r *report) setRefused(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
}

func (r *report) lastRefused() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

func (r *report) setFacts(stunFailed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stunFailed = stunFailed
}

func (r *report) setApart(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apart = why
}

func (r *report) setPeerFacts(stunFailed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.peerSTUNFailed = stunFailed
}

func (r *report) attemptFailed(a *attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stunFailed = a.stunFailed()
	r.directFailed = r.directFailed || a.directOnly
}

func (r *report) snapshot() session.Path {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.path
	if p.Kind == session.Relayed {
		p.WhyNotDirect = r.whyNotDirect()
	}
	return p
}

func (r *report) whyNotDirect() string {
	switch {
	case r.relayOnly:
		return "this side was told to use relays only"
	case r.apart != "":
		return r.apart
	case r.stunFailed && r.peerSTUNFailed:
		return "no server answered either side over UDP: UDP seems to be blocked on both"
	case r.stunFailed:
		return "no server answered over UDP: UDP seems to be blocked here"
	case r.peerSTUNFailed:
		return "no server answered the peer over UDP: UDP seems to be blocked there"
	case r.directFailed:
		return "packets between both sides' addresses did not get through: a firewall or a NAT that uses a new port for each destination is in between"
	}
	return "still looking for a direct path"
}

// set records the path in use and reports whether it is another one.
func (r *report) set(kind session.PathKind, local, remote session.Endpoint, now time.Time, gap time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.path.Kind == kind && r.path.Local == local && r.path.Remote == remote {
		return false
	}
	if r.path.Local.Addr.IsValid() {
		r.path.Changes++
	}
	r.path.Kind, r.path.Local, r.path.Remote, r.path.Since, r.path.LastGap = kind, local, remote, now, gap
	return true
}

// observe updates the report with the state of the current path.
func (r *roamer) observe(now time.Time, pair *ice.CandidatePair, state ice.ConnectionState) {
	if pair == nil {
		return
	}
	if r.up && !r.factsSent && r.current.hasGathered() {
		r.factsSent = true
		r.report.setFacts(r.current.stunFailed())
		r.tell(envelope{Type: typeFacts, STUNFailed: r.current.stunFailed()})
	}
	kind := session.Direct
	if isRelayed(pair) {
		kind = session.Relayed
		if !r.current.directOnly {
			r.report.setApart(r.current.apart())
		}
	}
	if state == ice.ConnectionStateDisconnected || state == ice.ConnectionStateFailed {
		kind = session.NoPath
	}
	gap := time.Duration(r.conn.carrier.gap.Load())
	if r.report.set(kind, endpoint(pair.Local), endpoint(pair.Remote), now, gap) {
		path := r.conn.path()
		r.conn.log.Debug("path", "kind", path.Kind, "local", path.Local, "remote", path.Remote)
		if r.conn.config.OnPath != nil {
			r.conn.config.OnPath(path)
		}
	}
}

func endpoint(c ice.Candidate) session.Endpoint {
	e := session.Endpoint{Type: c.Type().String(), Protocol: c.NetworkType().NetworkShort()}
	if relay, ok := c.(*ice.CandidateRelay); ok && relay.RelayProtocol() != "" {
		e.Protocol = relay.RelayProtocol()
	}
	if ip, err := netip.ParseAddr(c.Address()); err == nil {
		e.Addr = netip.AddrPortFrom(ip.Unmap(), uint16(c.Port()))
	}
	return e
}

// path is the report with what only the connection knows.
func (c *conn) path() session.Path {
	p := c.roam.report.snapshot()
	if p.Kind == "" {
		p.Kind = session.NoPath
	}
	if c.carrier.proved.Load() > 0 {
		p.Heard = time.Now().Add(-c.carrier.silence())
	}
	if gap := time.Duration(c.carrier.gap.Load()); p.Changes > 0 && gap > 0 {
		p.LastGap = gap
	}
	return p
}

// noAnswer is why there is no S2.
func (r *roamer) noAnswer(ctx context.Context) error {
	if err := r.report.lastRefused(); err != nil {
		return err
	}
	e := &session.Error{Op: "link", Kind: session.KindOf(ctx.Err()), Err: ctx.Err(), Text: "the peer did not answer"}
	return e
}

// noPath is why DTLS could not begin.
func (r *roamer) noPath(ctx context.Context) error {
	e := &session.Error{Op: "link", Kind: session.KindOf(ctx.Err()), Err: ctx.Err(), Text: "no path to the peer was found"}
	if e.Kind == session.Timeout {
		e.Hint = "run tandem doctor on both sides; a relay helps where UDP is blocked"
	}
	return e
}
