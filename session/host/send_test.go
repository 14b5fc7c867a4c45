package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tandem/session"
)

// deadEnd is a Post with two servers: one that never answers, and one that is
// reached only by asking all.
type deadEnd struct{ delivered []string }

func (d *deadEnd) Send(ctx context.Context, server, to string, _ []byte) error {
	if server != "" {
		<-ctx.Done()
		return ctx.Err()
	}
	d.delivered = append(d.delivered, to)
	return nil
}

func (d *deadEnd) Receive(ctx context.Context) (Letter, error) {
	<-ctx.Done()
	return Letter{}, ctx.Err()
}

// A conversation whose server has died goes on through another, well within
// the time that a link gives an envelope; and the next letter waits no more.
func TestLettersFindAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		post := &deadEnd{}
		h := New(Config{Post: post})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		const dead = "http://dead.example"
		for n := range 3 {
			began := time.Now()
			if err := h.send(ctx, dead, "mailbox", nil); err != nil || len(post.delivered) != n+1 {
				t.Errorf("%v, delivered %v", err, post.delivered)
			}
			if waited := time.Since(began); n > 0 && waited != 0 {
				t.Errorf("letter %d waited %v for a server that had not answered", n, waited)
			}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := h.send(ended, dead, "mailbox", nil); session.KindOf(err) != session.Canceled || len(post.delivered) != 3 {
			t.Errorf("after the end: %v, delivered %v", err, post.delivered)
		}
	})
}

// slowEnd is a Post with a server that takes its time.
type slowEnd struct {
	deadEnd
	takes time.Duration
	fails error
}

func (s *slowEnd) Send(ctx context.Context, server, to string, body []byte) error {
	if server == "" {
		return s.deadEnd.Send(ctx, server, to, body)
	}
	select {
	case <-time.After(s.takes):
		return s.fails
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A server that takes as long as it always does is not hurried by others; one
// that says no is not waited for.
func TestLettersKeepToTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		post := &slowEnd{takes: 300 * time.Millisecond}
		h := New(Config{Post: post})
		for range 3 {
			if err := h.send(t.Context(), "http://far.example", "mailbox", nil); err != nil {
				t.Error(err)
			}
		}
		if len(post.delivered) != 0 {
			t.Errorf("%d letters went through all servers as well", len(post.delivered))
		}
		post.takes = time.Minute
		began := time.Now()
		if err := h.send(t.Context(), "http://far.example", "mailbox", nil); err != nil || len(post.delivered) != 1 {
			t.Errorf("%v, %d letters", err, len(post.delivered))
		}
		if waited := time.Since(began); waited != 900*time.Millisecond {
			t.Errorf("waited %v for a server that usually takes 300 ms", waited)
		}
		post.takes, post.fails = 0, session.Errorf("send", session.NotFound, "nobody there")
		if err := h.send(t.Context(), "http://other.example", "mailbox", nil); err != nil || len(post.delivered) != 2 {
			t.Errorf("%v, %d letters", err, len(post.delivered))
		}
	})
}
