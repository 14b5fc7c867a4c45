package relay

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // fixed by the TURN REST scheme
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/pion/stun/v4"
)

// maxUsername is the longest username accepted from a client, in bytes.
const maxUsername = 128

// An Issuer makes credentials that a relay with the same secret accepts,
// this package's or coturn's.
type Issuer struct {
	// Secret is shared with the relay.
	Secret string
	// TTL is how long credentials are valid.
	TTL time.Duration
}

// Credentials makes a username and password that are valid for ttl from now.
// The user is an opaque name, of at most 64 bytes, to which the relay's limits
// per user apply; it travels in clear text, so it should tell nobody anything.
func (i Issuer) Credentials(user string, now time.Time) (username, password string, ttl time.Duration) {
	username = strconv.FormatInt(now.Add(i.TTL).Unix(), 10) + ":" + user
	return username, password64(i.Secret, username), i.TTL
}

func password64(secret, username string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// verdict is what became of a request's credentials.
type verdict int

const (
	anonymous verdict = iota // it carried none
	wrong                    // malformed, unknown realm, or a bad integrity
	expired
	valid
)

// identity is the user that a request has proved to come from.
type identity struct {
	username, user string
	key            []byte // the long-term key, RFC 8489 section 9.2.2
}

// verifier checks credentials against every live secret.
type verifier struct {
	realm   string
	secrets []string
}

// verify checks the MESSAGE-INTEGRITY of m. Only a valid verdict comes with an
// identity.
func (v verifier) verify(m *stun.Message, now time.Time) (identity, verdict) {
	if !m.Contains(stun.AttrMessageIntegrity) {
		return identity{}, anonymous
	}
	var username stun.Username
	var realm stun.Realm
	if username.GetFrom(m) != nil || realm.GetFrom(m) != nil ||
		len(username) > maxUsername || realm.String() != v.realm {
		return identity{}, wrong
	}
	name := username.String()
	expiry, user, ok := strings.Cut(name, ":")
	seconds, err := strconv.ParseInt(expiry, 10, 64)
	if !ok || err != nil || user == "" {
		return identity{}, wrong
	}
	// Integrity first: who can't prove the name learns nothing about it.
	for _, secret := range v.secrets {
		key := stun.NewLongTermIntegrity(name, v.realm, password64(secret, name))
		if key.Check(m) != nil {
			continue
		}
		if seconds <= now.Unix() {
			return identity{}, expired
		}
		return identity{username: name, user: user, key: key}, valid
	}
	return identity{}, wrong
}

// withoutCredentials is the request m as a client that has none would send it:
// the answer is 401 with a realm and a nonce.
func withoutCredentials(m *stun.Message) []byte {
	bare := stun.Message{Type: m.Type, TransactionID: m.TransactionID}
	bare.WriteHeader()
	return bare.Raw
}
