package node

import (
	"context"

	"tandem/session"
	"tandem/session/grant"
	"tandem/share/offers"
)

// Offers asks a peer what we may do there at this moment. The error's kind is
// Denied if that is nothing.
func Offers(ctx context.Context, b Backend, peer string) ([]Right, error) {
	told, err := offers.Ask(ctx, Bound{Backend: b, Peer: peer})
	if err != nil {
		return nil, err
	}
	rights := make([]Right, len(told))
	for i, o := range told {
		rights[i] = Right(o)
	}
	return rights, nil
}

// allowed is what offers/1 tells a peer.
func (n *Node) allowed(peer session.PeerID) []offers.Offer {
	var told []offers.Offer
	for _, r := range n.grants.Rights(peer) {
		told = append(told, offers.Offer(r))
	}
	return told[:min(len(told), offers.MaxOffers)]
}

// knowing is a table of grants that lets whoever may do anything ask what.
type knowing struct{ grants *grant.Table }

// Allow permits r as the table does.
func (k knowing) Allow(ctx context.Context, r session.Request) (session.Permit, error) {
	if r.Service == offers.ServiceName && r.Resource == "" && r.Action == offers.Read && len(k.grants.Rights(r.Peer)) > 0 {
		return session.Permit{}, nil
	}
	return k.grants.Allow(ctx, r)
}
