package link

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"

	"tandem/session"
)

// The timing of ICE. The waits are those before a pair of that candidate type
// may be nominated; a relayed start is replaced by a direct path afterwards.
const (
	iceDisconnected = 2 * time.Second
	iceFailed       = 8 * time.Second
	iceKeepalive    = 500 * time.Millisecond
	iceCheck        = 25 * time.Millisecond
	iceMaxChecks    = 200 // iceCheck × iceMaxChecks: how long a pair is tried
	relayWait       = 300 * time.Millisecond
	relayWaitAgain  = 150 * time.Millisecond // for a replacement: a gap may be growing
	// streamRelayWait is how long relays over UDP have before those over TCP
	// and TLS are tried.
	streamRelayWait = 250 * time.Millisecond
	stunTimeout     = 3 * time.Second
	// closeGrace is how long a closing attempt waits for servers' answers.
	closeGrace = 250 * time.Millisecond

	// gatherQuiet and gatherMost bound the wait for the candidates that are
	// known at once.
	gatherQuiet = 4 * time.Millisecond
	gatherMost  = 40 * time.Millisecond

	// relayMargin is how long before their expiry relay credentials are
	// replaced, or a fifth of what was left of them if that is less, but if
	// possible pathTime, which a new path may well take. If they have expired
	// already when they come, others are asked for after relayPause.
	relayMargin = time.Minute
	pathTime    = 2 * time.Second
	relayPause  = 15 * time.Second
)

// attempt is one ICE agent with sockets of its own: one generation of
// candidates and checks. A connection's first path is an attempt, and so is
// each replacement: the old one carries data until the new one works.
type attempt struct {
	generation uint32
	directOnly bool
	agent      *ice.Agent
	ufrag      string
	password   string
	hasSTUN    bool
	hasRelay   bool
	began      time.Time
	// renewAt is when to replace relays whose credentials expire; zero is never.
	renewAt time.Time
	// wake tells that local candidates, gathering, state or the selected pair
	// have changed. It has room for one and is never closed.
	wake chan struct{}
	// udpRelay is closed by the first relayed candidate whose relay is reached
	// over UDP.
	udpRelay chan struct{}
	sockets  *sockets
	guesses  guesses
	udpOnce  sync.Once

	mu       sync.Mutex
	local    []string
	taken    int // how much of local has been sent
	gathered bool
	state    ice.ConnectionState
	pair     *ice.CandidatePair
	reflexed bool // a STUN server has answered
	remote   int  // how many remote candidates were added
	ours     families
	theirs   families

	conn    atomic.Pointer[ice.Conn] // set by start
	heard   atomic.Int64             // when its last packet arrived, on the carrier's clock
	reading sync.WaitGroup
}

type attemptConfig struct {
	generation uint32
	directOnly bool
	relayOnly  bool
	relays     []Relay
	observed   []netip.Addr
	network    *network
	relayTLS   *tls.Config
	log        *slog.Logger
}

// newAttempt makes an agent and begins to gather.
func newAttempt(c attemptConfig) (*attempt, error) {
	urls, tlsRelays := relayURLs(c.relays, c.directOnly)
	_, loopbackOnly := c.network.snapshot()
	types := []ice.CandidateType{ice.CandidateTypeHost, ice.CandidateTypeServerReflexive, ice.CandidateTypeRelay}
	wait := relayWait
	udpRelay, began := make(chan struct{}), time.Now()
	if c.generation > 0 {
		wait = relayWaitAgain
	}
	sockets := &sockets{network: c.network}
	needStream := began
	if hasUDPRelay(urls) {
		needStream = began.Add(streamRelayWait)
	}
	switch {
	case c.relayOnly:
		types, wait = types[2:], 0
	case c.directOnly:
		types = types[:2]
	}
	dialer := newRelayDialer(tlsRelays, udpRelay, needStream)
	dialer.config = c.relayTLS
	agent, err := ice.NewAgentWithOptions(
		ice.WithUrls(urls),
		ice.WithCandidateTypes(types),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6}),
		ice.WithNet(sockets),
		ice.WithIncludeLoopback(), // the network lists loopback only where nothing else exists
		ice.WithRemoteIPFilter(func(ip net.IP) bool { return acceptRemote(ip, loopbackOnly) }),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithProxyDialer(dialer),
		ice.WithDisableActiveTCP(),
		ice.WithCheckInterval(iceCheck),
		ice.WithMaxBindingRequests(iceMaxChecks),
		ice.WithHostAcceptanceMinWait(0),
		ice.WithSrflxAcceptanceMinWait(0),
		ice.WithPrflxAcceptanceMinWait(0),
		ice.WithRelayAcceptanceMinWait(wait),
		ice.WithDisconnectedTimeout(iceDisconnected),
		ice.WithFailedTimeout(iceFailed),
		ice.WithKeepaliveInterval(iceKeepalive),
		ice.WithSTUNGatherTimeout(stunTimeout),
		ice.WithLoggerFactory(pionLog{c.log}),
	)
	if err != nil {
		return nil, err
	}
	a := &attempt{
		generation: c.generation, directOnly: c.directOnly, agent: agent, hasSTUN: len(urls) > 0,
		hasRelay: len(tlsRelays) > 0 || hasTURN(urls), began: began, wake: make(chan struct{}, 1), udpRelay: udpRelay,
		sockets: sockets, guesses: guesses{observed: c.observed},
	}
	if expires := earliestExpiry(c.relays); !expires.IsZero() {
		a.renewAt = renewal(expires, began)
	}
	if err := a.gather(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *attempt) gather() (err error) {
	if a.ufrag, a.password, err = a.agent.GetLocalUserCredentials(); err != nil {
		return err
	}
	if err := a.agent.OnCandidate(a.onCandidate); err != nil {
		return err
	}
	if err := a.agent.OnConnectionStateChange(a.onState); err != nil {
		return err
	}
	if err := a.agent.OnSelectedCandidatePairChange(a.onPair); err != nil {
		return err
	}
	return a.agent.GatherCandidates()
}

func (a *attempt) onCandidate(c ice.Candidate) {
	a.mu.Lock()
	switch {
	case c == nil:
		a.gathered = true
	case len(a.local) < maxCandidates:
		a.local = append(a.local, c.Marshal())
		a.local = append(a.local, a.guesses.of(c)...)
		a.ours.add(c)
		a.reflexed = a.reflexed || c.Type() == ice.CandidateTypeServerReflexive
	}
	a.mu.Unlock()
	if r, ok := c.(*ice.CandidateRelay); ok && r.RelayProtocol() == "udp" {
		a.udpOnce.Do(func() { close(a.udpRelay) })
	}
	a.signal()
}

func (a *attempt) onState(s ice.ConnectionState) {
	a.mu.Lock()
	a.state = s
	a.mu.Unlock()
	a.signal()
}

func (a *attempt) onPair(local, remote ice.Candidate) {
	a.mu.Lock()
	a.pair = &ice.CandidatePair{Local: local, Remote: remote}
	a.mu.Unlock()
	a.signal()
}

func (a *attempt) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// status is a snapshot of the agent's progress.
func (a *attempt) status() (ice.ConnectionState, *ice.CandidatePair) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, a.pair
}

// hasGathered reports whether all local candidates are known.
func (a *attempt) hasGathered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gathered
}

// needsRenewal reports whether it is time for new relay credentials.
func (a *attempt) needsRenewal(now time.Time) bool {
	return !a.renewAt.IsZero() && now.After(a.renewAt)
}

// renewal is when to replace credentials that were got now.
func renewal(expires, now time.Time) time.Time {
	left := expires.Sub(now)
	if left <= 0 {
		return now.Add(relayPause)
	}
	return now.Add(left - min(relayMargin, max(left/5, min(left/2, pathTime))))
}

// stunFailed reports whether gathering has ended without an answer from any
// STUN server.
func (a *attempt) stunFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hasSTUN && a.gathered && !a.reflexed
}

// apart is why there can't be a direct path, or "" if there may be one or not all
// is known yet.
func (a *attempt) apart() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.gathered || a.remote == 0 {
		return ""
	}
	return apart(a.ours, a.theirs)
}

// valid reports whether some pair has passed its check, and of what kind.
func (a *attempt) valid() (session.PathKind, bool) {
	conn := a.conn.Load()
	if conn == nil {
		return "", false
	}
	for _, p := range conn.GetCandidatePairsInfo() {
		if p.State != ice.CandidatePairStateSucceeded {
			continue
		}
		if p.LocalCandidateType == ice.CandidateTypeRelay || p.RemoteCandidateType == ice.CandidateTypeRelay {
			return session.Relayed, true
		}
		return session.Direct, true
	}
	return "", false
}

// takeLocal returns the local candidates not taken yet.
func (a *attempt) takeLocal() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := a.local[a.taken:]
	a.taken = len(a.local)
	return append([]string(nil), fresh...)
}

// known returns all local candidates so far, taken or not.
func (a *attempt) known() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.local...)
}

// firstLocal waits for the candidates that are known at once, those of our own
// interfaces, and takes them. Others trickle later.
func (a *attempt) firstLocal(ctx context.Context) []string {
	most := time.NewTimer(gatherMost)
	defer most.Stop()
	var quiet <-chan time.Time
	for {
		a.mu.Lock()
		known, gathered := len(a.local), a.gathered
		a.mu.Unlock()
		if gathered {
			return a.takeLocal()
		}
		if known > 0 {
			quiet = time.After(gatherQuiet)
		}
		select {
		case <-a.wake:
		case <-quiet:
			return a.takeLocal()
		case <-most.C:
			return a.takeLocal()
		case <-ctx.Done():
			return nil
		}
	}
}

// start begins the checks against the peer's credentials. Packets that arrive
// are handed to receive, in a goroutine that ends with the attempt.
func (a *attempt) start(controlling bool, ufrag, password string, receive func(*attempt, []byte)) error {
	begin := a.agent.StartAccept
	if controlling {
		begin = a.agent.StartDial
	}
	conn, err := begin(ufrag, password)
	if err != nil {
		return err
	}
	a.conn.Store(conn)
	a.reading.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			receive(a, buf[:n])
		}
	})
	return nil
}

// addRemote adds the peer's candidates: those that parse, are UDP and named by
// address, up to the limit on their number.
func (a *attempt) addRemote(lines []string, log *slog.Logger) {
	for _, line := range lines {
		c, err := ice.UnmarshalCandidate(line)
		if err != nil || net.ParseIP(c.Address()) == nil || !c.NetworkType().IsUDP() {
			log.Debug("candidate ignored", "candidate", line)
			continue
		}
		a.mu.Lock()
		over := a.remote >= maxCandidates
		a.remote++
		a.theirs.add(c)
		a.mu.Unlock()
		if over {
			return
		}
		if err := a.agent.AddRemoteCandidate(c); err != nil {
			log.Debug("candidate refused", "candidate", line, "error", err)
		}
	}
}

// close ends the agent, its sockets and its reader, and waits for them.
func (a *attempt) close() {
	a.udpOnce.Do(func() { close(a.udpRelay) }) // nobody waits for a relay over TCP either
	hurry := time.AfterFunc(closeGrace, a.sockets.close)
	defer hurry.Stop()
	_ = a.agent.GracefulClose() // gives relayed addresses back
	a.reading.Wait()
}

// relayURLs turns relays into what ICE gathers from, and lists the TLS ones by
// host and port. Of the addresses of one server, one is asked who we are. Without relaying, only those that can tell our address over
// UDP are kept, as STUN servers.
func relayURLs(relays []Relay, directOnly bool) (urls []*stun.URI, tlsRelays map[string]bool) {
	tlsRelays = make(map[string]bool)
	at := func(u *stun.URI) string { return net.JoinHostPort(u.Host, portText(u.Port)) }
	answers := make(map[string]bool) // relays that are STUN servers as well
	for _, r := range relays {
		for _, raw := range r.URLs {
			u, err := stun.ParseURI(raw)
			if err != nil {
				continue
			}
			if u.Scheme == stun.SchemeTypeTURN || u.Scheme == stun.SchemeTypeTURNS {
				if directOnly && (u.Scheme == stun.SchemeTypeTURNS || u.Proto == stun.ProtoTypeTCP) {
					continue
				}
				u.Username, u.Password = r.Username, r.Password
			}
			if u.Scheme == stun.SchemeTypeTURNS && u.Proto == stun.ProtoTypeTCP {
				tlsRelays[at(u)] = true
			}
			answers[at(u)] = answers[at(u)] || isUDPRelay(u)
			urls = append(urls, u)
		}
	}
	// To be told our address by the same server twice makes twice the pairs.
	urls = slices.DeleteFunc(urls, func(u *stun.URI) bool { return u.Scheme == stun.SchemeTypeSTUN && answers[at(u)] })
	return urls, tlsRelays
}

// earliestExpiry is when the first of the relays' credentials expires.
func earliestExpiry(relays []Relay) (first time.Time) {
	for _, r := range relays {
		if !r.Expires.IsZero() && (first.IsZero() || r.Expires.Before(first)) {
			first = r.Expires
		}
	}
	return first
}

func hasUDPRelay(urls []*stun.URI) bool { return slices.ContainsFunc(urls, isUDPRelay) }

func isUDPRelay(u *stun.URI) bool {
	return u.Scheme == stun.SchemeTypeTURN && u.Proto == stun.ProtoTypeUDP
}

func hasTURN(urls []*stun.URI) bool {
	for _, u := range urls {
		if u.Scheme == stun.SchemeTypeTURN || u.Scheme == stun.SchemeTypeTURNS {
			return true
		}
	}
	return false
}
