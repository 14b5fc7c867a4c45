package link

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// fingerprint is the SHA-256 of a DTLS certificate in DER.
type fingerprint [sha256.Size]byte

func (f fingerprint) String() string {
	parts := make([]string, len(f))
	for i, b := range f {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// The values of the setup attribute (RFC 8842). The answerer is always the
// DTLS client.
const (
	setupOffer  = "actpass"
	setupAnswer = "active"
)

// defaultMessageSize is what RFC 8841 says when max-message-size is missing.
const defaultMessageSize = 64 << 10

// description is what a session description says that matters here.
type description struct {
	print          fingerprint
	setup          string
	ufrag          string
	password       string
	maxMessageSize uint32
	sctpInit       []byte // for SNAP; nil if the peer can't
	candidates     []string
}

// marshal writes d as an SDP with one application section (RFC 8866, 8839,
// 8841, 8842).
func (d *description) marshal(sessionID uint64) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- %d 1 IN IP4 127.0.0.1", sessionID)
	line("s=-")
	line("t=0 0")
	line("a=group:BUNDLE 0")
	line("a=fingerprint:sha-256 %s", d.print)
	line("m=application 9 UDP/DTLS/SCTP webrtc-datachannel")
	line("c=IN IP4 0.0.0.0")
	line("a=setup:%s", d.setup)
	line("a=mid:0")
	line("a=sendrecv")
	line("a=sctp-port:5000")
	line("a=max-message-size:%d", d.maxMessageSize)
	line("a=ice-ufrag:%s", d.ufrag)
	line("a=ice-pwd:%s", d.password)
	line("a=ice-options:trickle")
	if d.sctpInit != nil {
		line("a=sctp-init:%s", base64.StdEncoding.EncodeToString(d.sctpInit))
	}
	for _, c := range d.candidates {
		line("a=candidate:%s", c)
	}
	return b.String()
}

// parseDescription reads an SDP from a peer. It refuses whatever has more than
// one meaning: a second fingerprint or media section, and any attribute below
// that is given twice, at whichever level.
func parseDescription(text, setup string) (*description, error) {
	if len(text) > maxSDP {
		return nil, malformed("an SDP of %d bytes", len(text))
	}
	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(text); err != nil {
		return nil, malformed("not an SDP")
	}
	if n := len(parsed.MediaDescriptions); n != 1 {
		return nil, refused("an SDP with %d media sections", n)
	}
	media := parsed.MediaDescriptions[0]
	if media.MediaName.Media != "application" || strings.Join(media.MediaName.Protos, "/") != "UDP/DTLS/SCTP" {
		return nil, refused("an SDP without an application section")
	}

	d := &description{maxMessageSize: defaultMessageSize}
	seen := make(map[string]bool)
	for _, a := range append(parsed.Attributes, media.Attributes...) {
		switch a.Key {
		case "fingerprint", "setup", "ice-ufrag", "ice-pwd", "max-message-size", "sctp-port", "sctp-init":
			if seen[a.Key] {
				return nil, refused("an SDP with two values of %s", a.Key)
			}
			seen[a.Key] = true
		}
		if err := d.set(a.Key, a.Value); err != nil {
			return nil, err
		}
	}
	switch {
	case !seen["fingerprint"]:
		return nil, refused("an SDP without a fingerprint")
	case d.setup != setup:
		return nil, refused("an SDP with the wrong setup role")
	case !validCredential(d.ufrag, 4), !validCredential(d.password, 22):
		return nil, refused("an SDP without ICE credentials")
	}
	return d, checkCandidates(d.candidates)
}

func (d *description) set(key, value string) error {
	switch key {
	case "fingerprint":
		algorithm, digest, _ := strings.Cut(value, " ")
		if !strings.EqualFold(algorithm, "sha-256") {
			return refused("an SDP whose fingerprint is not sha-256")
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(digest, ":", ""))
		if err != nil || len(raw) != len(d.print) {
			return refused("an SDP with a malformed fingerprint")
		}
		copy(d.print[:], raw)
	case "setup":
		d.setup = value
	case "ice-ufrag":
		d.ufrag = value
	case "ice-pwd":
		d.password = value
	case "max-message-size":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return malformed("max-message-size")
		}
		d.maxMessageSize = uint32(n)
		if n == 0 { // RFC 8841: no limit
			d.maxMessageSize = defaultMessageSize
		}
	case "sctp-init":
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(raw) == 0 || len(raw) > 512 {
			return malformed("sctp-init")
		}
		d.sctpInit = raw
	case "candidate":
		d.candidates = append(d.candidates, value)
	}
	return nil
}
