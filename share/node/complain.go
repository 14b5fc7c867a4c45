package node

import (
	"context"
	"strings"
	"time"

	"tandem/session"
	"tandem/signaling"
)

// complainAfter is how long somebody waits before hearing what for.
const complainAfter = 2500 * time.Millisecond

// complain reports, while something is waited for, which servers can't be
// reached and why, and that this computer's clock is off if the servers think
// so. It ends when what it returns is called.
func (n *Node) complain(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-time.After(complainAfter):
		case <-ctx.Done():
			return
		}
		unreachable, _ := n.post.troubles()
		for _, why := range unreachable {
			n.emit(Event{Event: EventWaiting, Reason: why + "; still trying"})
		}
	}()
	return func() {
		cancel()
		<-done
		n.checkClock()
	}
}

// checkClock reports once that this computer's clock is off. Servers are not
// trusted: nothing depends on what they say about it.
func (n *Node) checkClock() {
	if _, skew := n.post.troubles(); signaling.ClockWarning(skew) != "" {
		n.clock.Do(func() {
			n.emit(Event{
				Event:  EventClock,
				Reason: signaling.ClockWarning(skew) + "; set it: peers refuse each other when their clocks are two minutes apart",
			})
		})
	}
}

// aboutClocks says whose clock is probably wrong, if err is about clocks.
func (n *Node) aboutClocks(err error) error {
	_, text := session.Public(err)
	if session.KindOf(err) != session.Expired || !strings.Contains(text, "clock") {
		return err
	}
	hint := "This computer's clock agrees with the server's: the other one has to be set."
	if _, skew := n.post.troubles(); signaling.ClockWarning(skew) != "" {
		hint = "Set the clock here: " + signaling.ClockWarning(skew) + "."
	}
	return &session.Error{Kind: session.Expired, Text: text, Hint: hint, Err: err}
}
