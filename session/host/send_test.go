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
// the time that a link gives an envelope.
func TestLettersFindAnotherServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		post := &deadEnd{}
		h := &Host{cfg: Config{Post: post, patience: patience{}.orUsual()}}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := h.send(ctx, "http://dead.example", "mailbox", nil); err != nil || len(post.delivered) != 1 {
			t.Errorf("%v, delivered %v", err, post.delivered)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := h.send(ended, "http://dead.example", "mailbox", nil); session.KindOf(err) != session.Canceled || len(post.delivered) != 1 {
			t.Errorf("after the end: %v, delivered %v", err, post.delivered)
		}
	})
}
