package main

import (
	"context"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/tuitest"
)

// Who looks at a peer's terminal hears when the path is lost and found, and nothing
// about other peers.
func TestPathNews(t *testing.T) {
	b := tuitest.Busy()
	news, stop := pathNews(t.Context(), b, "anna")
	defer stop()
	for deadline := time.Now().Add(time.Minute); b.Listeners() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody listens")
		}
	}
	path := func(n int, p session.Path) {
		b.Emit(node.Event{Event: node.EventPath, Peer: &session.Peer{ID: tuitest.ID(n), Name: b.Has.Peers[n-1].Alias}, Path: &p})
	}
	none := session.Path{Kind: session.NoPath}
	back := b.Has.Peers[0].Path
	back.Changes, back.LastGap = 1, 65*time.Second
	path(2, none)
	path(1, b.Has.Peers[0].Path) // that is how it was
	path(1, none)
	path(1, none)
	path(1, back)
	for _, want := range []string{"anna: looking for a path.", "anna: direct over udp, 12 ms; nothing had arrived for 1m5s."} {
		if got := <-news; got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}

// What the news wait for doesn't keep the terminal.
func TestPathNewsOfNobody(t *testing.T) {
	b := tuitest.Busy()
	b.Script(func(a *tuitest.Answers) { a.Hang = true })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, stop := pathNews(ctx, b, "nobody")
	stop()
}
