package tui

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
)

const (
	// gather is how long events are gathered before they are handed on: 30
	// frames a second are as many as anybody sees.
	gather = time.Second / 30
	// kept is how many of the newest events are handed on at once.
	kept = 64
	// answerTime is how long the node may take to answer.
	answerTime = 5 * time.Second
	// refreshLeast is the least time between two answers while events ask for
	// them, refreshIdle when nothing does, refreshMost however long they take.
	refreshLeast = 250 * time.Millisecond
	refreshIdle  = 2 * time.Second
	refreshMost  = 10 * time.Second
	// refreshShare is how many times as long as an answer took to wait before
	// the next.
	refreshShare = 100
	// retry is how long to wait after there was none.
	retry = time.Second
)

// feed is what the root knows about asking the node.
type feed struct {
	run     func(func(context.Context) tea.Msg) tea.Cmd
	backend page.Backend
	asking  bool
	dirty   bool // something has happened since it was asked
	urgent  bool // and it is a person who waits
	last    time.Time
	cost    time.Duration // of the last answer
	failed  bool          // there was none the last time
}

// subscribed is the stream of events, or why there is none.
type subscribed struct {
	events <-chan node.Event
	err    error
}

// answered is a State and what it took.
type answered struct {
	state page.State
	cost  time.Duration
}

// drained is what came of waiting for events.
type drained struct {
	page.Happened
	events <-chan node.Event
	ended  bool
}

func (f *feed) subscribe() tea.Cmd {
	return f.run(func(ctx context.Context) tea.Msg {
		events, err := f.backend.Events(ctx)
		return subscribed{events, err}
	})
}

type subscribe struct{}

// wait waits for an event, and gathers those that follow it at once.
func (f *feed) wait(events <-chan node.Event) tea.Cmd {
	return f.run(func(ctx context.Context) tea.Msg { return drain(ctx, events) })
}

func drain(ctx context.Context, events <-chan node.Event) tea.Msg {
	d := drained{events: events}
	add := func(e node.Event) {
		if len(d.Events) == kept {
			copy(d.Events, d.Events[1:])
			d.Events = d.Events[:kept-1]
			d.Missed++
		}
		d.Events = append(d.Events, e)
		d.Missed += e.Unreported
	}
	select {
	case e, ok := <-events:
		if !ok {
			d.ended = true
			return d
		}
		add(e)
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				d.ended, d.At = true, time.Now()
				return d
			}
			add(e)
		case <-timer.C:
			d.At = time.Now()
			return d
		case <-ctx.Done():
			return nil
		}
	}
}

// happened takes note of events, and asks the node if it is time.
func (f *feed) happened(h page.Happened) tea.Cmd {
	f.dirty = true
	for _, e := range h.Events {
		switch e.Event {
		case node.EventRequest, node.EventAsks, node.EventPush, node.EventSettled, node.EventInvite, node.EventEnded:
			f.urgent = true
		}
	}
	return f.due(h.At)
}

// due asks the node if something calls for it.
func (f *feed) due(now time.Time) tea.Cmd {
	since := now.Sub(f.last)
	switch {
	case f.asking:
		return nil
	case f.failed:
		if since >= retry {
			return f.ask()
		}
	case f.urgent, f.dirty && since >= min(refreshMost, max(refreshLeast, 10*f.cost)),
		since >= min(refreshMost, max(refreshIdle, refreshShare*f.cost)):
		return f.ask()
	}
	return nil
}

// ask asks the node for the State.
func (f *feed) ask() tea.Cmd {
	if f.asking {
		f.urgent = true
		return nil
	}
	f.asking, f.dirty, f.urgent = true, false, false
	return f.run(func(ctx context.Context) tea.Msg {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		begun := time.Now()
		state := look(ctx, f.backend)
		state.At = time.Now()
		return answered{state, state.At.Sub(begun)}
	})
}

// answered takes note of an answer, and asks again if that can't wait.
func (f *feed) answered(a answered) tea.Cmd {
	f.asking, f.last, f.failed = false, a.state.At, a.state.Err != nil
	if !f.failed {
		f.cost = a.cost
	}
	if a.state.Err == nil && f.urgent {
		return f.ask()
	}
	return nil
}

// look asks the backend for everything.
func look(ctx context.Context, b page.Backend) (s page.State) {
	if s.Self, s.Err = b.Self(ctx); s.Err != nil {
		return s
	}
	if s.Requests, s.Err = b.Requests(ctx); s.Err != nil {
		return s
	}
	if s.Shares, s.Err = b.Shares(ctx); s.Err != nil {
		return s
	}
	if s.Peers, s.Err = b.Peers(ctx); s.Err != nil {
		return s
	}
	slices.SortStableFunc(s.Peers, func(x, y node.PeerStatus) int {
		if x.Connected != y.Connected {
			if x.Connected {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(x.Alias, y.Alias), x.Peer.ID.Compare(y.Peer.ID))
	})
	return s
}

// trouble says in a few words why the node doesn't answer.
func trouble(err error) string {
	switch session.KindOf(err) {
	case session.Timeout:
		return "the node doesn't answer"
	case session.Unavailable:
		return "the node can't be reached"
	}
	return "the node has a problem"
}
