package pairing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"

	"tandem/session"
)

const (
	labelPair      = "tandem/pair/1"
	labelSignature = "tandem/pair/1 signature"
	roleHost       = "host"
	roleGuest      = "guest"
	dataVersion    = "1"
)

// Signer is a device key; *identity.Device is one.
type Signer interface {
	ID() session.PeerID
	Sign(message []byte) []byte
}

// Meeting is a peer whose key has been verified by an exchange.
type Meeting struct {
	// Peer is who it was.
	Peer session.PeerID
	// Context names the exchange, for signatures that belong to it: 64 bytes,
	// the same on both sides, different each time, not secret.
	Context []byte
	// Sealer carries further messages.
	Sealer *Sealer
}

// exchange is what both sides know once both shares are on the table.
type exchange struct {
	sid, isk, transcript         []byte
	shareG, dataG, shareH, dataH []byte
	guest, host                  session.PeerID
	*Sealer
}

// terms are what an exchange starts from.
type terms struct {
	attempt        Attempt
	kind           Kind
	nameplate      string
	password       []byte
	nonceH, nonceG [nonceSize]byte
}

func (t *terms) sid() []byte { return append(bytes.Clone(t.nonceH[:]), t.nonceG[:]...) }

// share is the public share for a secret scalar.
func (t *terms) share(scalar []byte) ([]byte, error) {
	return scalarMult(scalar, generator(t.password, lvCat(labelPair, t.nameplate, t.kind.String()), t.sid()))
}

// finish computes the keys from our scalar and both shares. It fails if the
// other side's share has low order.
func (t *terms) finish(scalar []byte, guest session.PeerID, shareG []byte, host session.PeerID, shareH []byte, weAreHost bool) (*exchange, error) {
	theirs := shareH
	if weAreHost {
		theirs = shareG
	}
	k, err := scalarMult(scalar, theirs)
	if err != nil {
		return nil, session.Errorf(opPair, session.Integrity, "the other side's share is not a usable point")
	}
	x := &exchange{
		sid: t.sid(), guest: guest, host: host, shareG: shareG, shareH: shareH,
		dataG: lvCat(roleGuest, dataVersion, string(guest[:])), dataH: lvCat(roleHost, dataVersion, string(host[:])),
	}
	x.transcript = transcriptIR(shareG, x.dataG, shareH, x.dataH)
	x.isk = intermediateKey(x.sid, k, x.transcript)
	x.Sealer, err = newSealer(t.attempt, x.sid, x.isk, weAreHost)
	return x, err
}

func (x *exchange) tagG() []byte { return confirmation(x.sid, x.isk, x.shareG, x.dataG) }
func (x *exchange) tagH() []byte { return confirmation(x.sid, x.isk, x.shareH, x.dataH) }

// statement is what each device signs.
func (x *exchange) statement(role string) []byte {
	return lvCat([]byte(labelSignature), []byte(role), x.sid, x.transcript)
}

func (x *exchange) meeting(peer session.PeerID) *Meeting {
	return &Meeting{Peer: peer, Context: sidOutput(x.transcript), Sealer: x.Sealer}
}

// openM2 is the guest's judgement of the host; a wrong tag comes of a wrong
// code far more often than of an attack.
func (x *exchange) openM2(head []byte, m *m2) error {
	if !hmac.Equal(m.tag[:], x.tagH()) {
		return &session.Error{
			Op: opJoin, Kind: session.Integrity,
			Text: "the code is wrong, or somebody is in the middle", Hint: "compare the code, and " + hintNew,
		}
	}
	signature, err := x.unbox(head, m.box)
	if err != nil || !x.host.Verify(x.statement(roleHost), signature) {
		return &session.Error{
			Op: opJoin, Kind: session.Integrity,
			Text: "the host does not hold the key it names", Hint: "somebody else has this code; " + hintNew,
		}
	}
	return nil
}

// openM3 is the host's judgement of the guest.
func (x *exchange) openM3(head []byte, m *m3) (offer []byte, err error) {
	if !hmac.Equal(m.tag[:], x.tagG()) {
		return nil, session.Errorf(opPair, session.Integrity, "the guest does not have the code")
	}
	content, err := x.unbox(head, m.box)
	if err != nil {
		return nil, err
	}
	if len(content) < ed25519.SignatureSize || !x.guest.Verify(x.statement(roleGuest), content[:ed25519.SignatureSize]) {
		return nil, session.Errorf(opPair, session.Integrity, "the guest does not hold the key it names")
	}
	return content[ed25519.SignatureSize:], nil
}
