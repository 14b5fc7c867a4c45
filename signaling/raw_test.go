package signaling_test

import (
	"context"
	"crypto/ed25519"
	"net/url"
	"testing"

	"github.com/coder/websocket"

	"tandem/signaling"
)

// raw speaks the protocol by hand.
type raw struct {
	t       *testing.T
	ctx     context.Context
	ws      *websocket.Conn
	welcome signaling.Message
	mailbox string
}

// connect stops after the welcome.
func connect(t *testing.T, server string) *raw {
	t.Helper()
	r := &raw{t: t, ctx: within(t)}
	ws, _, err := websocket.Dial(r.ctx, server+"/v1/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(2 * signaling.MaxFrame)
	t.Cleanup(func() { _ = ws.CloseNow() })
	r.ws = ws
	r.welcome = r.expect(signaling.TypeWelcome)
	return r
}

// speak claims key's mailbox.
func speak(t *testing.T, server string, key ed25519.PrivateKey) *raw {
	t.Helper()
	r := connect(t, server)
	r.send(r.claim(server, key))
	r.mailbox = r.expect(signaling.TypeClaimed).Mailbox
	return r
}

func (r *raw) claim(server string, key ed25519.PrivateKey) signaling.Message {
	u, err := url.Parse(server)
	if err != nil {
		r.t.Fatal(err)
	}
	return signaling.Message{
		Type: signaling.TypeClaim, Version: 1, Key: key.Public().(ed25519.PublicKey),
		Signature: ed25519.Sign(key, signaling.ClaimBytes(r.welcome.Nonce, signaling.CanonicalHost(u.Host))),
	}
}

func (r *raw) send(m signaling.Message) {
	r.t.Helper()
	data, err := signaling.Encode(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(websocket.MessageText, data)
}

func (r *raw) write(kind websocket.MessageType, data []byte) {
	r.t.Helper()
	if err := r.ws.Write(r.ctx, kind, data); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) next() (signaling.Message, error) {
	_, data, err := r.ws.Read(r.ctx)
	if err != nil {
		return signaling.Message{}, err
	}
	return signaling.Decode(data)
}

func (r *raw) expect(kind string) signaling.Message {
	r.t.Helper()
	m, err := r.next()
	if err != nil {
		r.t.Fatal(err)
	}
	if m.Type != kind {
		r.t.Fatalf("got %+v, want %s", m, kind)
	}
	return m
}

// expectEnd wants an error that ends the connection, and the end.
func (r *raw) expectEnd(kind string) {
	r.t.Helper()
	if m := r.expect(signaling.TypeError); m.Kind != kind || m.ID != 0 {
		r.t.Fatalf("got %+v, want %s", m, kind)
	}
	if m, err := r.next(); err == nil {
		r.t.Fatalf("got %+v after the end", m)
	}
}
