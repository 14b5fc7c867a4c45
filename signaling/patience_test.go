package signaling_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"tandem/signaling"
	"tandem/signaling/signalingtest"
)

// pipes is a listener and the dialer for it, without a network, so that a
// synctest bubble's clock drives both ends.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// scripted runs a client in the bubble against a server that handles each
// connection as serve says, and calls check before it ends both.
func scripted(t *testing.T, serve func(ctx context.Context, ws *websocket.Conn), check func(c *signaling.Client)) {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	h := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		work.Add(1)
		defer work.Done()
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			serve(ctx, ws)
			_ = ws.CloseNow()
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(p) })
	transport := &http.Transport{DialContext: p.dial}
	c, err := signaling.New(signaling.Config{
		Servers: []string{"http://localhost"}, Key: signalingtest.NewKey(t), HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		t.Fatal(err)
	}
	check(c)
	cancel()
	_ = c.Close()
	_ = h.Close()
	transport.CloseIdleConnections()
	serving.Wait()
	work.Wait()
}

// The client that lost its mailbox to another process waits, and then asks
// for it only if it is free.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var yields []bool
		var at []time.Duration
		began := time.Now()
		scripted(t, func(ctx context.Context, ws *websocket.Conn) {
			_ = say(ctx, ws, `{"type":"welcome","version":1,"min_version":1,"host":"localhost","nonce":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="}`)
			_, data, err := ws.Read(ctx)
			m, err2 := signaling.Decode(data)
			if err != nil || err2 != nil {
				return
			}
			mu.Lock()
			n := len(yields)
			yields, at = append(yields, m.Yield), append(at, time.Since(began))
			mu.Unlock()
			switch n {
			case 0:
				_ = say(ctx, ws, `{"type":"claimed","mailbox":%q}`, signaling.MailboxOf(m.Key))
				_ = say(ctx, ws, `{"type":"error","kind":"replaced"}`)
			case 1:
				_ = say(ctx, ws, `{"type":"error","kind":"exists"}`)
			case 2:
				_ = say(ctx, ws, `{"type":"claimed","mailbox":%q}`, signaling.MailboxOf(m.Key))
			}
			time.Sleep(time.Second)
		}, func(*signaling.Client) { time.Sleep(50 * time.Second) })
		mu.Lock()
		defer mu.Unlock()
		if len(yields) < 4 || yields[0] || !yields[1] || !yields[2] || yields[3] {
			t.Errorf("yield: %v", yields)
		}
		for i := range 2 {
			if pause := at[i+1] - at[i]; pause < 10*time.Second {
				t.Errorf("it came back after %v", pause)
			}
		}
	})
}

// A server that takes the claim and then says nothing is left for a new try.
func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		scripted(t, func(ctx context.Context, ws *websocket.Conn) {
			admit(ctx, ws, "localhost")
			tries.Add(1)
			var err error
			for err == nil { // it listens, but
				_, _, err = ws.Read(ctx)
			}
		}, func(c *signaling.Client) {
			if err := c.Online(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := c.Relays(ctx); signaling.KindOf(err) != signaling.KindTimeout {
				t.Errorf("Relays: %v", err)
			}
			if n := tries.Load(); n != 1 {
				t.Errorf("%d connections within 5 s", n)
			}
			time.Sleep(10 * time.Second)
			if n := tries.Load(); n != 2 {
				t.Errorf("%d connections within 15 s", n)
			}
		})
	})
}

// However a server behaves, it does not make the client knock all the time;
// and the first retry is soon.
func TestBackoff(t *testing.T) {
	for name, after := range map[string]func(ctx context.Context, ws *websocket.Conn){
		"refuses":  func(ctx context.Context, ws *websocket.Conn) { _ = say(ctx, ws, `{"type":"error","kind":"busy"}`) },
		"drops":    func(ctx context.Context, ws *websocket.Conn) { admit(ctx, ws, "localhost") },
		"nonsense": func(ctx context.Context, ws *websocket.Conn) { _ = say(ctx, ws, `?`) },
		"drains": func(ctx context.Context, ws *websocket.Conn) {
			admit(ctx, ws, "localhost")
			_ = say(ctx, ws, `{"type":"draining"}`)
			_, _, _ = ws.Read(ctx)
			_, _, _ = ws.Read(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var at []time.Time
				scripted(t, func(ctx context.Context, ws *websocket.Conn) {
					mu.Lock()
					at = append(at, time.Now())
					mu.Unlock()
					after(ctx, ws)
				}, func(*signaling.Client) { time.Sleep(10 * time.Minute) })
				mu.Lock()
				defer mu.Unlock()
				if len(at) < 20 || len(at) > 80 {
					t.Fatalf("%d attempts in 10 minutes", len(at))
				}
				if first := at[1].Sub(at[0]); first > time.Second {
					t.Errorf("the first retry came after %v", first)
				}
			})
		})
	}
}

// After a long absence the tries are far apart. Who has something to send does
// not wait for the next one; and who sends all the time does not have the
// client knock all the time.
func TestSendHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var at []time.Time
		scripted(t, func(ctx context.Context, ws *websocket.Conn) {
			mu.Lock()
			at = append(at, time.Now())
			mu.Unlock()
			_ = say(ctx, ws, `{"type":"error","kind":"busy"}`)
		}, func(c *signaling.Client) {
			time.Sleep(5 * time.Minute)
			send := func() {
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				_ = c.Send(ctx, "", c.Mailbox(), []byte("hello")) // in vain; it is the try that counts
			}
			for range 10 {
				send()
				mu.Lock()
				last := at[len(at)-1]
				mu.Unlock()
				if ago := time.Since(last); ago > 2*time.Second {
					t.Errorf("the last try was %v ago", ago)
				}
				time.Sleep(5 * time.Second)
			}
			mu.Lock()
			before := len(at)
			mu.Unlock()
			for begun := time.Now(); time.Since(begun) < time.Minute; {
				send()
			}
			mu.Lock()
			defer mu.Unlock()
			if n := len(at) - before; n > 35 {
				t.Errorf("%d tries in a minute", n)
			}
		})
	})
}

// A connection that breaks under a message is replaced at once: somebody waits
// for it to arrive.
func TestLostMessageHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var connected []time.Time
		scripted(t, func(ctx context.Context, ws *websocket.Conn) {
			admit(ctx, ws, "localhost")
			mu.Lock()
			connected = append(connected, time.Now())
			first := len(connected) == 1
			mu.Unlock()
			for {
				_, data, err := ws.Read(ctx)
				if err != nil {
					return
				}
				m, err := signaling.Decode(data)
				switch {
				case err != nil || m.Type == signaling.TypeSend && first:
					return
				case m.Type == signaling.TypeSend:
					_ = say(ctx, ws, `{"type":"sent","id":%d}`, m.ID)
				default:
					_ = say(ctx, ws, `{"type":"pong","id":%d}`, m.ID)
				}
			}
		}, func(c *signaling.Client) {
			time.Sleep(time.Minute)
			began := time.Now()
			if err := c.Send(t.Context(), "", c.Mailbox(), []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v to send it again", took)
			}
		})
		if len(connected) != 2 {
			t.Errorf("%d connections", len(connected))
		}
	})
}
