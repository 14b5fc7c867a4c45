package identity

import (
	"crypto/sha256"
	"strings"

	"tandem/session"
	"tandem/session/identity/words"
)

const (
	fingerprintLabel = "tandem/fingerprint/1"
	fingerprintWords = 12
)

// Words is the fingerprint of an ID: twelve words for 132 bits. Two people who
// read the same words to each other have the same ID in front of them.
func Words(id session.PeerID) []string {
	sum := sha256.Sum256(append([]byte(fingerprintLabel), id[:]...))
	out := make([]string, 0, fingerprintWords)
	bits, have := 0, 0
	for _, b := range sum {
		bits, have = bits<<8|int(b), have+8
		if have >= words.Bits && len(out) < fingerprintWords {
			have -= words.Bits
			out = append(out, words.At(bits>>have))
			bits &= 1<<have - 1
		}
	}
	return out
}

// Groups is the fingerprint as it is shown: three groups of four words.
func Groups(id session.PeerID) [3]string {
	w := Words(id)
	return [3]string{strings.Join(w[:4], " "), strings.Join(w[4:8], " "), strings.Join(w[8:], " ")}
}
