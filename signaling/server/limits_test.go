package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"tandem/signaling"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// refused is the status with which a connection is turned away, or 0.
func refused(t *testing.T, s *signalingtest.Server) int {
	t.Helper()
	ws, resp, err := websocket.Dial(signalingtest.Within(t), s.URL+"/v1/ws", nil)
	if err == nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
		return 0
	}
	if resp == nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limits server.Limits
		status int
	}{
		{"of an IP", server.Limits{ClientsPerIP: 3}, http.StatusTooManyRequests},
		{"in all", server.Limits{Clients: 3}, http.StatusServiceUnavailable},
		{"a second", server.Limits{Connects: server.Rate{PerSecond: 1e-9, Burst: 3}}, http.StatusTooManyRequests},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := signalingtest.Start(t, server.Config{Limits: c.limits})
			var last *signalingtest.Raw
			for range 3 {
				last = speak(t, s)
			}
			if got := refused(t, s); got != c.status {
				t.Errorf("the fourth got %d, want %d", got, c.status)
			}
			works(t, last)
			if c.limits.Connects.Burst != 0 {
				return
			}
			_ = last.WS.CloseNow()
			signalingtest.Eventually(t, "there is room again", func() bool { return refused(t, s) == 0 })
		})
	}
}

// A client that sends too much is told, and disconnected if it goes on; the
// others do not notice.
func TestFlood(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{Messages: server.Rate{PerSecond: 1e-9, Burst: 10}}})
	victim, flooder := speak(t, s), speak(t, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		data, err := signaling.Encode(signaling.Message{Type: signaling.TypeSend, ID: 1, To: victim.Mailbox, Body: []byte("x")})
		for err == nil {
			err = flooder.WS.Write(t.Context(), websocket.MessageText, data)
		}
	}()
	var sent, busy int
	for {
		m, err := flooder.Next()
		if err != nil {
			break
		}
		switch {
		case m.Type == signaling.TypeSent:
			sent++
		case m.Kind == signaling.KindBusy:
			busy++
		}
	}
	<-done
	if sent != 10 || busy == 0 {
		t.Errorf("%d sent, %d refused", sent, busy)
	}
	for range sent {
		victim.Expect(signaling.TypeMessage)
	}
	works(t, victim)
}

// A flood of control frames ends as well.
func TestPingFlood(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{Messages: server.Rate{PerSecond: 1e-9, Burst: 10}}})
	r := speak(t, s)
	ctx, cancel := context.WithCancel(signalingtest.Within(t))
	defer cancel()
	var reader sync.WaitGroup
	reader.Go(func() {
		defer cancel() // reading ends when the server hangs up
		_, _ = r.Next()
	})
	answered := 0
	for answered < 1000 && r.WS.Ping(ctx) == nil {
		answered++
	}
	reader.Wait()
	if answered < 10 || answered == 1000 {
		t.Errorf("%d pings were answered", answered)
	}
}

// Guessing nameplates is slow for those who guess wrong, and only for them.
func TestGuessing(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{Guesses: server.Rate{PerSecond: 1e-9, Burst: 3}}})
	host, guesser := speak(t, s), speak(t, s)
	host.Send(signaling.Message{Type: signaling.TypeNameplate, ID: 1})
	number := host.Expect(signaling.TypeNameplate).Number
	guess := func(number string) string {
		guesser.Send(signaling.Message{Type: signaling.TypeSend, ID: 1, To: signaling.PlateAddress(number)})
		m, err := guesser.Next()
		if err != nil {
			t.Fatal(err)
		}
		return m.Type + m.Kind
	}
	for range 10 { // right ones cost nothing
		if got := guess(number); got != signaling.TypeSent {
			t.Fatalf("a right one: %s", got)
		}
	}
	for range 3 {
		if got := guess("999999"); got != signaling.TypeError+signaling.KindNotFound {
			t.Fatalf("a wrong one: %s", got)
		}
	}
	for _, n := range []string{"999998", number} { // the answer doesn't tell which is right
		if got := guess(n); got != signaling.TypeError+signaling.KindBusy {
			t.Fatalf("after three wrong ones: %s", got)
		}
	}
	works(t, guesser)
}

// One that does not read is disconnected; whoever writes to it is told to wait,
// and nobody else is held up.
func TestSlowReader(t *testing.T) {
	unlimited := server.Rate{PerSecond: 1e6, Burst: 1e6}
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{
		Messages: unlimited, MessagesPerIP: unlimited, WriteTimeout: 500 * time.Millisecond, Queue: 4,
	}})
	slow, sender, other := speak(t, s), speak(t, s), speak(t, s)
	big := bytes.Repeat([]byte("x"), signaling.MaxBody)
	kinds := make(map[string]int)
	for kinds[signaling.KindNotFound] == 0 {
		sender.Send(signaling.Message{Type: signaling.TypeSend, ID: 1, To: slow.Mailbox, Body: big})
		m, err := sender.Next()
		if err != nil {
			t.Fatal(err)
		}
		if kinds[m.Kind]++; kinds[m.Kind]%50 == 1 {
			works(t, other)
		}
	}
	if kinds[signaling.KindBusy] == 0 {
		t.Errorf("its queue never was full: %v", kinds)
	}
	works(t, sender)
}

// What waits for all clients together is bounded too.
func TestQueuedBytes(t *testing.T) {
	unlimited := server.Rate{PerSecond: 1e6, Burst: 1e6}
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{
		Messages: unlimited, MessagesPerIP: unlimited, QueuedBytes: 1 << 20, Queue: 1 << 20,
	}})
	sender := speak(t, s)
	big := bytes.Repeat([]byte("x"), signaling.MaxBody)
	for range 4 {
		slow := speak(t, s)
		for sent := 0; ; sent++ {
			sender.Send(signaling.Message{Type: signaling.TypeSend, ID: 1, To: slow.Mailbox, Body: big})
			m, err := sender.Next()
			if err != nil {
				t.Fatal(err)
			}
			if m.Kind == signaling.KindBusy {
				break
			}
			if sent > 100 { // 64 KiB each, of which the kernel takes some
				t.Fatal("6 MiB wait, and no end")
			}
		}
	}
}

// A client that asks faster than it reads waits, and gets every answer.
func TestAnswersAreNotLost(t *testing.T) {
	unlimited := server.Rate{PerSecond: 1e6, Burst: 1e6}
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{Messages: unlimited, MessagesPerIP: unlimited, Queue: 2}})
	r := speak(t, s)
	const n = 2000
	done := make(chan error, 1)
	go func() {
		for id := range uint64(n) {
			data, err := signaling.Encode(signaling.Message{Type: signaling.TypePing, ID: id + 1})
			if err == nil {
				err = r.WS.Write(t.Context(), websocket.MessageText, data)
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for id := range uint64(n) {
		if m := r.Expect(signaling.TypePong); m.ID != id+1 {
			t.Fatalf("answer %d to %d", m.ID, id+1)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// One that is silent is pinged, and disconnected if it stays silent.
func TestIdle(t *testing.T) {
	s := signalingtest.Start(t, server.Config{Limits: server.Limits{PingAfter: 30 * time.Millisecond, IdleTimeout: 300 * time.Millisecond}})
	alive := speak(t, s)
	go func() { _, _ = alive.Next() }() // answers pings
	_, dead := dialRaw(t, s, nil)
	if _, err := io.Copy(io.Discard, dead); err != nil {
		t.Errorf("the silent one: %v", err)
	}
	time.Sleep(500 * time.Millisecond)
	if n := s.Clients(); n != 1 {
		t.Errorf("%d clients are left, want the one that answers", n)
	}
}

func TestHeaderTimeout(t *testing.T) {
	s := server.New(server.Config{})
	defer s.Close()
	h := s.HTTPServer()
	if h.ReadHeaderTimeout == 0 || h.IdleTimeout == 0 || h.MaxHeaderBytes == 0 || h.MaxHeaderBytes > 64<<10 {
		t.Errorf("%+v", h)
	}
}
