package signaling_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"tandem/signaling"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

func eager(t *testing.T, url string) *signaling.Client {
	t.Helper()
	c, err := signaling.New(signaling.Config{Servers: []string{url}, Key: signalingtest.NewKey(t), EagerRelays: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// The server is asked once, by itself, and everybody gets that answer.
func TestEagerRelays(t *testing.T) {
	var asked atomic.Int32
	relays := func(_ context.Context, mailbox string) ([]signaling.Relay, error) {
		asked.Add(1)
		return []signaling.Relay{{URLs: []string{"turn:192.0.2.1:3478"}, Username: mailbox, Password: "p", TTL: 600}}, nil
	}
	s := signalingtest.Start(t, server.Config{Relays: relays})
	c := eager(t, s.URL)
	for range 3 {
		got, err := c.Relays(signalingtest.Within(t))
		if err != nil || len(got) != 1 || got[0].Username != c.Mailbox() {
			t.Fatalf("relays %+v, %v", got, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times, not once", n)
	}
	s.Down()
	signalingtest.Eventually(t, "the connection is lost", func() bool { return !c.Status()[0].Connected })
	s.Up()
	signalingtest.Eventually(t, "the next connection asks again", func() bool { return asked.Load() == 2 })
}

// The request leaves with the claim: it is there before the server has answered that.
// What a server answers to it, or whether, leaves the client as it was.
func TestEagerRequest(t *testing.T) {
	for name, c := range map[string]struct {
		answers []string
		again   bool // the client asks by itself
	}{
		"an answer":   {[]string{`{"type":"relays","id":1,"relays":[{"urls":["turn:192.0.2.1"]}]}`}, false},
		"two answers": {[]string{`{"type":"relays","id":1,"relays":[{"urls":["turn:192.0.2.1"]}]}`, `{"type":"relays","id":1}`}, false},
		"an error":    {[]string{`{"type":"error","id":1,"kind":"unsupported"}`}, true},
		"nonsense":    {[]string{`{"type":"pong","id":1}`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			early, again := make(chan signaling.Message, 8), make(chan struct{}, 8)
			url := hostile(t, func(ctx context.Context, ws *websocket.Conn, host string) {
				_ = say(ctx, ws, `{"type":"welcome","version":1,"min_version":1,"host":%q,"nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}`, host)
				var key []byte
				for range 2 {
					_, data, err := ws.Read(ctx)
					m, decodeErr := signaling.Decode(data)
					if err != nil || decodeErr != nil {
						return
					}
					if m.Type == signaling.TypeClaim {
						key = m.Key
					}
					early <- m
				}
				_ = say(ctx, ws, `{"type":"claimed","mailbox":%q}`, signaling.MailboxOf(key))
				for _, answer := range c.answers {
					_ = say(ctx, ws, "%s", answer)
				}
				for {
					_, data, err := ws.Read(ctx)
					m, decodeErr := signaling.Decode(data)
					if err != nil || decodeErr != nil {
						return
					}
					if m.Type == signaling.TypeRelay {
						again <- struct{}{}
						_ = say(ctx, ws, `{"type":"relays","id":%d,"relays":[{"urls":["turn:192.0.2.1"]}]}`, m.ID)
					}
				}
			})
			client := eager(t, url)
			got, err := client.Relays(signalingtest.Within(t))
			if err != nil || len(got) != 1 {
				t.Errorf("relays %+v, %v", got, err)
			}
			if asked := len(again) > 0; asked != c.again {
				t.Errorf("asked again: %v", asked)
			}
			for _, want := range []string{signaling.TypeClaim, signaling.TypeRelay} {
				if m := <-early; m.Type != want {
					t.Errorf("a %s where %s belongs", m.Type, want)
				}
			}
		})
	}
}

// A server that does not answer keeps nobody waiting for longer than the connection lasts.
func TestEagerSilence(t *testing.T) {
	url := hostile(t, func(ctx context.Context, ws *websocket.Conn, host string) {
		if admit(ctx, ws, host) != "" {
			_, _, _ = ws.Read(ctx) // the request, and then the end
		}
	})
	if got, err := eager(t, url).Relays(signalingtest.Within(t)); err == nil {
		t.Errorf("relays %+v of a server that gave none", got)
	}
}
