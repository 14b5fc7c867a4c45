package link

import (
	"cmp"
	"slices"
	"time"

	"github.com/pion/ice/v4"

	"tandem/session"
)

var _ session.Candidater = (*Link)(nil)

// Candidates are the addresses of both sides and how each pair of them fared, on the
// path that is in use now. After the session has ended there are none.
func (l *Link) Candidates() session.Candidates {
	if a := l.trunk.carrier.current.Load(); a != nil {
		return a.candidates()
	}
	return session.Candidates{}
}

// candidates asks the agent what it has tried.
func (a *attempt) candidates() (all session.Candidates) {
	local, err := a.agent.GetLocalCandidates()
	if err != nil {
		return all // closed
	}
	remote, err := a.agent.GetRemoteCandidates()
	if err != nil {
		return all
	}
	known := make(map[string]session.Endpoint)
	all.Local, all.Remote = endpoints(local, known), endpoints(remote, known)
	_, chosen := a.status()
	for _, p := range a.agent.GetCandidatePairsStats() {
		ours, here := known[p.LocalCandidateID]
		theirs, there := known[p.RemoteCandidateID]
		if !here || !there {
			continue // it came a moment ago
		}
		all.Pairs = append(all.Pairs, session.Pair{
			Local: ours, Remote: theirs, State: pairState(p.State),
			InUse: chosen != nil && p.LocalCandidateID == chosen.Local.ID() && p.RemoteCandidateID == chosen.Remote.ID(),
			RTT:   time.Duration(p.CurrentRoundTripTime * float64(time.Second)), Checks: p.RequestsSent, Answers: p.ResponsesReceived,
		})
	}
	slices.SortStableFunc(all.Pairs, comparePairs)
	all.Pairs = all.Pairs[:min(len(all.Pairs), session.MaxPairs)]
	return all
}

// endpoints lists candidates, the preferred ones first, and notes each by its ID.
func endpoints(list []ice.Candidate, known map[string]session.Endpoint) []session.Endpoint {
	slices.SortStableFunc(list, func(a, b ice.Candidate) int {
		return cmp.Or(cmp.Compare(b.Priority(), a.Priority()), endpoint(a).Addr.Compare(endpoint(b).Addr))
	})
	all := make([]session.Endpoint, 0, min(len(list), maxCandidates))
	for _, c := range list {
		e := endpoint(c)
		known[c.ID()] = e
		if len(all) < maxCandidates {
			all = append(all, e)
		}
	}
	return all
}

func pairState(s ice.CandidatePairState) session.PairState {
	switch s {
	case ice.CandidatePairStateSucceeded:
		return session.PairSucceeded
	case ice.CandidatePairStateInProgress:
		return session.PairTrying
	case ice.CandidatePairStateFailed:
		return session.PairFailed
	case ice.CandidatePairStateWaiting:
	}
	return session.PairWaiting
}

// comparePairs puts the pair in use first, then by how well they fared.
func comparePairs(a, b session.Pair) int {
	rank := func(p session.Pair) int {
		order := [...]session.PairState{session.PairSucceeded, session.PairTrying, session.PairWaiting, session.PairFailed}
		if p.InUse {
			return -1
		}
		return slices.Index(order[:], p.State)
	}
	return cmp.Or(
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(a.RTT, b.RTT), a.Local.Addr.Compare(b.Local.Addr), a.Remote.Addr.Compare(b.Remote.Addr),
	)
}
