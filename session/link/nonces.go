package link

import (
	"sync"
	"time"

	"tandem/session"
)

// The bounds of a Nonces.
const (
	maxNonces        = 8192
	maxNoncesPerPeer = 256
)

// Nonces remembers the nonces of the offers that were answered, until those
// offers have expired, so that no offer is answered twice. A node shares one
// between all its Accepts. The zero value is ready; it may be used
// concurrently. It holds at most 8192 nonces and 256 of one peer: over that,
// offers are refused rather than nonces forgotten.
type Nonces struct {
	mu      sync.Mutex
	expires map[nonceKey]time.Time
	perPeer map[session.PeerID]int
}

type nonceKey struct {
	peer  session.PeerID
	nonce [nonceSize]byte
}

// use spends a nonce of peer. It fails if the nonce was used before or if too
// many are live.
func (n *Nonces) use(peer session.PeerID, nonce []byte, expires, now time.Time) error {
	key := nonceKey{peer: peer, nonce: [nonceSize]byte(nonce)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.expires == nil {
		n.expires = make(map[nonceKey]time.Time)
		n.perPeer = make(map[session.PeerID]int)
	}
	if _, used := n.expires[key]; used {
		return refused("this offer was answered before")
	}
	if len(n.expires) >= maxNonces || n.perPeer[peer] >= maxNoncesPerPeer {
		n.prune(now)
	}
	if len(n.expires) >= maxNonces || n.perPeer[peer] >= maxNoncesPerPeer {
		return session.Errorf("link", session.Busy, "too many offers at once")
	}
	n.expires[key] = expires
	n.perPeer[peer]++
	return nil
}

func (n *Nonces) prune(now time.Time) {
	for key, expires := range n.expires {
		if !now.After(expires) {
			continue
		}
		delete(n.expires, key)
		if n.perPeer[key.peer]--; n.perPeer[key.peer] == 0 {
			delete(n.perPeer, key.peer)
		}
	}
}
