package signalingtest

import (
	"context"
	"crypto/ed25519"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"tandem/signaling"
)

// Raw is a connection to a server on which a test writes the messages itself.
type Raw struct {
	WS      *websocket.Conn
	Welcome signaling.Message
	Mailbox string // once it is claimed

	t testing.TB
}

// Connect opens a connection and reads the welcome.
func Connect(t testing.TB, server string) *Raw {
	t.Helper()
	r := &Raw{t: t}
	ws, _, err := websocket.Dial(Within(t), server+"/v1/ws", nil) //nolint:bodyclose // Dial says it never needs closing
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(2 * signaling.MaxFrame)
	t.Cleanup(func() { _ = ws.CloseNow() })
	r.WS = ws
	r.Welcome = r.Expect(signaling.TypeWelcome)
	return r
}

// Speak opens a connection and claims key's mailbox.
func Speak(t testing.TB, server string, key ed25519.PrivateKey) *Raw {
	t.Helper()
	r := Connect(t, server)
	r.Send(r.Claim(server, key))
	r.Mailbox = r.Expect(signaling.TypeClaimed).Mailbox
	return r
}

// Claim is the claim of key's mailbox that fits the welcome.
func (r *Raw) Claim(server string, key ed25519.PrivateKey) signaling.Message {
	u, err := url.Parse(server)
	if err != nil {
		r.t.Fatal(err)
	}
	return signaling.Message{
		Type: signaling.TypeClaim, Version: 1, Key: key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, signaling.ClaimBytes(r.Welcome.Nonce, signaling.CanonicalHost(u.Host))),
	}
}

// Send writes a message.
func (r *Raw) Send(m signaling.Message) {
	r.t.Helper()
	data, err := signaling.Encode(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.Write(websocket.MessageText, data)
}

// Write writes what may be no message.
func (r *Raw) Write(kind websocket.MessageType, data []byte) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.WS.Write(ctx, kind, data); err != nil {
		r.t.Fatal(err)
	}
}

// Next reads a message; an error means that the connection ended or that it is
// none.
func (r *Raw) Next() (signaling.Message, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := r.WS.Read(ctx)
	if err != nil {
		return signaling.Message{}, err
	}
	return signaling.Decode(data)
}

// Expect reads a message of one type.
func (r *Raw) Expect(kind string) signaling.Message {
	r.t.Helper()
	m, err := r.Next()
	if err != nil {
		r.t.Fatal(err)
	}
	if m.Type != kind {
		r.t.Fatalf("got %+v, want %s", m, kind)
	}
	return m
}

// ExpectEnd wants an error that ends the connection, and the end.
func (r *Raw) ExpectEnd(kind string) {
	r.t.Helper()
	if m := r.Expect(signaling.TypeError); m.Kind != kind || m.ID != 0 {
		r.t.Fatalf("got %+v, want %s", m, kind)
	}
	if m, err := r.Next(); err == nil {
		r.t.Fatalf("got %+v after the end", m)
	}
}
