package host

import (
	"context"

	"tandem/session"
	"tandem/session/link"
)

// receiveSealed hands a sealed letter to its conversation, or begins one.
func (h *Host) receiveSealed(letter Letter) {
	sealed, id, err := decodeSealed(h.cfg.Device, letter.Body)
	if err != nil {
		h.cfg.Log.Debug("letter", "error", err)
		return
	}
	h.mu.Lock()
	c := h.conversations[id]
	h.mu.Unlock()
	switch {
	case c != nil:
		c.deliver(letter.From, sealed.Body)
	case sealed.New:
		h.begin(sealed, id, letter.From)
	}
}

// begin answers a conversation that somebody begins who claims to be a known
// peer. Package link verifies the claim.
func (h *Host) begin(sealed sealedLetter, id convID, from string) {
	entry, known, err := h.cfg.Book.Get(sealed.From)
	if err != nil {
		h.cfg.Log.Warn("known peers", "error", err)
	}
	if !known {
		return
	}
	c := newConversation()
	c.send = func(ctx context.Context, envelope []byte) error {
		letter := sealedLetter{Conv: id[:], From: h.cfg.Device.ID(), Body: envelope}
		return h.sendSealed(ctx, entry.Contact, []string{c.from()}, false, letter)
	}
	c.deliver(from, sealed.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.conversations) >= maxConversations || h.inbound[sealed.From] >= maxPerPeer {
		return
	}
	if h.startLocked(func() { h.answer(sealed.From, id, c) }) {
		h.conversations[id] = c
		h.inbound[sealed.From]++
	}
}

// answer accepts the link that a known peer began and keeps it until it ends.
func (h *Host) answer(peer session.PeerID, id convID, c *conversation) {
	defer func() {
		h.forget(id, c)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.inbound[peer]--; h.inbound[peer] == 0 {
			delete(h.inbound, peer)
		}
	}()
	ctx, cancel := h.whileOpen(h.cfg.patience.setup)
	defer cancel()
	l, err := link.Accept(ctx, h.linkConfig(nil), only(peer), c)
	if err != nil {
		h.cfg.Log.Info("a peer could not connect", "peer", peer.Short(), "error", err)
		return
	}
	h.keep(l, c.from(), c)
	<-l.Done()
}

// only expects one peer and no other.
func only(peer session.PeerID) func(session.PeerID) error {
	return func(verified session.PeerID) error {
		if verified != peer {
			return session.Errorf("accept", session.Integrity, "another device answers than the one that was met")
		}
		return nil
	}
}

// forget ends a conversation.
func (h *Host) forget(id convID, c *conversation) {
	c.close()
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.conversations, id)
}
