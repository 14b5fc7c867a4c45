package link

import (
	"net/netip"

	"github.com/pion/ice/v4"
)

// maxGuesses is for how many of our own candidates one is guessed: packets to the
// Internet leave by the first or second interface.
const maxGuesses = 2

// guesses are server reflexive candidates that no server has told us. Most NATs
// keep the port of a socket when they can (RFC 4787, section 4.2.1), so what is
// at our private address and some port is likely to be seen at our public address
// and the same port, and a peer that knows it need not wait for STUN. A wrong
// guess wastes checks.
type guesses struct {
	observed []netip.Addr // our public addresses
	made     int
}

// of is the guess that goes with a candidate of ours, if there is one.
func (g *guesses) of(c ice.Candidate) (lines []string) {
	inside, err := netip.ParseAddr(c.Address())
	if err != nil || c.Type() != ice.CandidateTypeHost || !inside.Unmap().Is4() || !isInside(inside) || inside.IsLoopback() {
		return nil
	}
	for _, public := range g.observed {
		public = public.Unmap()
		if !public.Is4() || isInside(public) || !public.IsGlobalUnicast() || g.made >= maxGuesses {
			continue
		}
		guess, err := ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: public.String(), Port: c.Port(), Component: c.Component(),
			RelAddr: inside.String(), RelPort: c.Port(),
		})
		if err != nil {
			continue
		}
		g.made++
		lines = append(lines, guess.Marshal())
	}
	return lines
}
