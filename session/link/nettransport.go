package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"strconv"
	"time"

	"github.com/pion/dtls/v3"
	dtlselliptic "github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/sctp"
)

const (
	dtlsFlight     = 150 * time.Millisecond
	dtlsReplay     = 4096 // packets: reordering between two paths must not drop data
	sctpMTU        = 1191 // what fits in a UDP packet of 1280 bytes, as pion/webrtc has it
	sctpRTOMax     = 2 * time.Second
	sctpReceive    = 4 << 20
	maxMessageSize = 1 + 64<<10
	// sctpLeast is the least congestion window, and sctpStep by how much it grows
	// in a round trip. What is outstanding when a path dies has to be sent again
	// through that window, ahead of everything else. Of one packet, as RFC 9260
	// has it after a timeout, that takes minutes on a long path; and it is the
	// governor that keeps the queue short.
	sctpLeast = 128 << 10
	sctpStep  = 8 << 10
)

// certificate is made for one connection and never used again.
type certificate struct {
	tls   tls.Certificate
	print fingerprint
}

func newCertificate(now time.Time) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"}, // says nothing about us
		NotBefore:    now.Add(-24 * time.Hour),
		NotAfter:     now.Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &certificate{
		tls:   tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		print: sha256.Sum256(der),
	}, nil
}

// secure runs the DTLS handshake over c. The peer must show a certificate
// whose fingerprint is want.
func secure(ctx context.Context, c *carrier, cert *certificate, client bool, want fingerprint, log *slog.Logger) (*dtls.Conn, error) {
	shared := []dtls.Option{
		dtls.WithCertificates(cert.tls),
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
		dtls.WithEllipticCurves(dtlselliptic.X25519, dtlselliptic.P256),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		// Self-signed by design: the fingerprint decides, not a chain.
		dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 || sha256.Sum256(raw[0]) != want {
				return refused("the peer's certificate is not the one it signed")
			}
			return nil
		}),
		dtls.WithFlightInterval(dtlsFlight),
		dtls.WithReplayProtectionWindow(dtlsReplay),
		// Media is never sent; WebRTC stacks insist on agreeing on a profile.
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithLoggerFactory(pionLog{log}),
	}
	var conn *dtls.Conn
	var err error
	if client {
		options := make([]dtls.ClientOption, len(shared))
		for i, o := range shared {
			options[i] = o
		}
		conn, err = dtls.ClientWithOptions(c, carrierAddr{}, options...)
	} else {
		options := make([]dtls.ServerOption, len(shared), len(shared)+2)
		for i, o := range shared {
			options[i] = o
		}
		options = append(options,
			dtls.WithClientAuth(dtls.RequireAnyClientCert),
			// HelloVerify proves that the client receives at its address; ICE
			// has proved that already, with a password from the signed SDP.
			dtls.WithInsecureSkipVerifyHello(true))
		conn, err = dtls.ServerWithOptions(c, carrierAddr{}, options...)
	}
	if err != nil {
		return nil, err
	}
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error says why
		return nil, err
	}
	// Once more, after the fact: whatever the handshake thought, this is the
	// certificate whose key it used.
	state, ok := conn.ConnectionState()
	if !ok || len(state.PeerCertificates) == 0 || sha256.Sum256(state.PeerCertificates[0]) != want {
		_ = conn.Close()
		return nil, refused("the peer's certificate is not the one it signed")
	}
	return conn, nil
}

// endingConn tells when the peer was heard, and when the connection under SCTP
// has ended, before SCTP learns of it and fails its streams. SCTP reads no more
// after an error. Each Read and Write is one packet of SCTP.
type endingConn struct {
	*dtls.Conn
	heard, ended func()
	resets       *resets
	bulk         func([]byte) // takes what is not SCTP; nil if all is
}

func (c endingConn) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil {
			c.ended()
			return n, err
		}
		c.heard()
		if c.bulk != nil && n > 0 && p[0] == bulkMark {
			c.bulk(p[:n])
			continue
		}
		if c.resets.admits(p[:n]) {
			return n, nil
		}
	}
}

func (c endingConn) Write(p []byte) (int, error) {
	c.resets.sends(p)
	return c.Conn.Write(p)
}

// sctpOptions are those that go into the SCTP init, in band or in the SDP.
func sctpOptions() []sctp.ClientOption {
	return []sctp.ClientOption{sctp.WithMaxReceiveBufferSize(sctpReceive), sctp.WithEnableZeroChecksum(true)}
}

// newSCTPInit makes our half of an SCTP handshake that is done in the SDP
// (SNAP, draft-hancke-tsvwg-snap).
func newSCTPInit() ([]byte, error) { return sctp.GenerateOutOfBandToken(sctpOptions()...) }

// associationOptions are those that stay on our side.
func associationOptions(maxMessage uint32, log *slog.Logger) []sctp.ClientOption {
	return append(sctpOptions(),
		sctp.WithMTU(sctpMTU),
		sctp.WithCwndCAStep(sctpStep),
		sctp.WithMaxMessageSize(maxMessage),
		sctp.WithRTOMax(float64(sctpRTOMax/time.Millisecond)),
		sctp.WithMinCwnd(sctpLeast),
		sctp.WithLoggerFactory(pionLog{log}),
	)
}

// associate begins SCTP over an established DTLS connection. With both inits
// nothing more needs to be exchanged.
func associate(ctx context.Context, conn endingConn, localInit, remoteInit []byte, maxMessage uint32, log *slog.Logger) (*sctp.Association, error) {
	options := append(associationOptions(maxMessage, log), sctp.WithNetConn(conn))
	if localInit != nil && remoteInit != nil {
		options = append(options, sctp.WithSNAP(localInit, remoteInit))
	}
	return sctp.ClientContext(ctx, options...)
}

func portText(port int) string { return strconv.Itoa(port) }
