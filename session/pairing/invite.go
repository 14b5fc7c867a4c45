package pairing

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"tandem/session"
	"tandem/session/identity/words"
)

const (
	opPair   = "pair"
	opInvite = "invite"

	codeWords    = 3
	secretSize   = 16
	maxNameplate = 10
	maxLink      = 4 << 10
	maxServers   = 8
	maxServer    = 256
	maxAttempts  = 10_000
	linkPath     = "/j"

	defaultUses     = 1
	spareAttempts   = 2
	defaultLifetime = 10 * time.Minute
)

// secretEncoding is that of session.PeerID's text, before it is lowered.
var secretEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// InviteID names an invite in the ledger. It never leaves the host.
type InviteID [16]byte

func (id InviteID) String() string { return hex.EncodeToString(id[:]) }

// Options limit an invite. Zero values stand for the defaults.
type Options struct {
	// Uses is how often the invite may succeed; 1 by default.
	Uses int
	// Attempts is how often it may be tried, successes included; two more than
	// Uses by default.
	Attempts int
	// Lifetime is how long it lasts; ten minutes by default.
	Lifetime time.Duration
}

// Invite is an invite as its host has it. It holds the secrets of both forms.
type Invite struct {
	id        InviteID
	nameplate string
	host      session.PeerID
	words     string // joined by "-"
	secret    [secretSize]byte
	made      time.Time // with the monotonic clock's reading, if now had one
	lifetime  time.Duration
	attempts  int
	uses      int
}

// NewInvite draws the secrets of an invite by host, under a nameplate that a
// signaling server has given out. It counts for nothing until a Ledger has it.
func NewInvite(nameplate string, host session.PeerID, now time.Time, o Options) (*Invite, error) {
	if !validNameplate(nameplate) {
		return nil, session.Errorf(opInvite, session.Invalid, "a nameplate is one to %d digits", maxNameplate)
	}
	i := &Invite{nameplate: nameplate, host: host, made: now}
	i.uses = cmp.Or(o.Uses, defaultUses)
	i.attempts = cmp.Or(o.Attempts, i.uses+spareAttempts)
	i.lifetime = cmp.Or(o.Lifetime, defaultLifetime)
	if i.uses < 1 || i.attempts < i.uses || i.attempts > maxAttempts || i.lifetime < 0 {
		return nil, session.Errorf(opInvite, session.Invalid,
			"an invite allows at least one use, at least as many attempts, and at most %d", maxAttempts)
	}
	// crypto/rand never fails; it ends the process instead.
	_, _ = rand.Read(i.id[:])
	_, _ = rand.Read(i.secret[:])
	var drawn [codeWords]string
	for n := range drawn {
		var b [2]byte
		_, _ = rand.Read(b[:])
		drawn[n] = words.At(int(binary.BigEndian.Uint16(b[:])) % words.Count) // divides evenly: no bias
	}
	i.words = strings.Join(drawn[:], "-")
	return i, nil
}

// ID names the invite in a Ledger.
func (i *Invite) ID() InviteID { return i.id }

// Nameplate is where a signaling server finds the host.
func (i *Invite) Nameplate() string { return i.nameplate }

// Expires is when the invite ends at the latest.
func (i *Invite) Expires() time.Time { return i.made.Add(i.lifetime) }

// Uses is how often the invite may succeed.
func (i *Invite) Uses() int { return i.uses }

// Code is the form to read to somebody.
func (i *Invite) Code() string { return i.nameplate + "-" + i.words }

// Link is the form to send to somebody, with one to eight servers, the first of
// which its address shows. A server is an http or https URL without user,
// query and fragment.
func (i *Invite) Link(servers ...string) (string, error) {
	if len(servers) == 0 || len(servers) > maxServers {
		return "", session.Errorf(opInvite, session.Invalid, "a link names one to %d servers", maxServers)
	}
	var link strings.Builder
	for n, s := range servers {
		base, err := parseServer(s)
		if err != nil {
			return "", err
		}
		if n == 0 {
			fmt.Fprintf(&link, "%s%s#%s.%s.%s", base, linkPath, i.nameplate,
				strings.ToLower(secretEncoding.EncodeToString(i.secret[:])), i.host)
		} else {
			link.WriteString("&s=" + url.QueryEscape(base))
		}
	}
	if link.Len() > maxLink {
		return "", session.Errorf(opInvite, session.TooLarge, "the servers' addresses are too long for a link")
	}
	return link.String(), nil
}

// String leaves the secrets out.
func (i *Invite) String() string { return "invite " + i.nameplate }

// Matches reports whether a ticket is this invite's.
func (i *Invite) Matches(t *Ticket) bool {
	return t.Nameplate == i.nameplate && (t.Host.IsZero() || t.Host == i.host) &&
		subtle.ConstantTimeCompare(t.password, i.password(t.Kind)) == 1
}

// expired reports whether the invite's time is over, by the wall clock or, so
// that setting that back gains nothing, by the monotonic one.
func (i *Invite) expired(now time.Time) bool {
	return now.Sub(i.made) >= i.lifetime || !now.Round(0).Before(i.Expires().Round(0))
}

// password is the PRS for a guest that holds the given form.
func (i *Invite) password(k Kind) []byte {
	if k == Link {
		return i.secret[:]
	}
	return []byte(i.words)
}

func validNameplate(s string) bool {
	return len(s) >= 1 && len(s) <= maxNameplate && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// parseServer checks a server's address and returns it without a final slash.
func parseServer(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxServer || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || session.Printable(s) != s {
		return "", &session.Error{
			Op: opInvite, Kind: session.Invalid, Text: "the server's address is not usable",
			Hint: "an address looks like https://tandem.example",
		}
	}
	return strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"), nil
}
