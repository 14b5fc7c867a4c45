package tui

import (
	"fmt"
	"strconv"
	"time"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

func itoa(n int) string { return strconv.Itoa(n) }

// toastTime is how long a toast stays.
const toastTime = 4 * time.Second

// errorTime is how long an error stays at least, whatever is typed.
const errorTime = time.Second

// toasts are short news: the newest is shown, for a while. An error stays until a
// key is pressed by somebody who has had the time to see it.
type toasts struct {
	text  string
	level page.Level
	until time.Time
	err   error
	since time.Time // of the error
	// paths are the kinds of path last told of: a change of address is no news.
	paths map[session.PeerID]session.PathKind
}

func (q *toasts) add(text string, level page.Level, now time.Time) {
	q.text, q.level, q.until = text, level, now.Add(toastTime)
}

func (q *toasts) fail(err error, now time.Time) {
	if err == nil || session.KindOf(err) == session.Canceled {
		return
	}
	q.err, q.since = err, now
}

func (q *toasts) keyed(now time.Time) {
	if now.Sub(q.since) >= errorTime {
		q.err = nil
	}
}

func (q *toasts) expire(now time.Time) {
	if !now.Before(q.until) {
		q.text = ""
	}
}

func (q *toasts) line(t theme.Theme) string {
	switch {
	case q.err != nil:
		line := t.Bad.Render(t.Glyphs.Cross) + " " + widget.Clean(describe(q.err))
		if hint := session.Hint(q.err); hint != "" {
			line += t.Dim.Render("  " + widget.Clean(hint))
		}
		return line
	case q.text == "":
		return ""
	case q.level == page.Good:
		return t.Good.Render(t.Glyphs.Check) + " " + widget.Clean(q.text)
	case q.level == page.Warn:
		return t.Warn.Render("!") + " " + widget.Clean(q.text)
	}
	return t.Accent.Render(t.Glyphs.Dot) + " " + widget.Clean(q.text)
}

// describe is what of an error people should read.
func describe(err error) string {
	if _, text := session.Public(err); text != "" {
		return text
	}
	return err.Error()
}

// event tells of an event that a person should know, whatever page is open.
func (q *toasts) event(e node.Event, now time.Time) {
	who := "Somebody"
	if e.Peer != nil {
		who = e.Peer.String()
	}
	switch e.Event {
	case node.EventJoined:
		q.path(e)
		q.add(who+" is here.", page.Good, now)
	case node.EventLeft:
		if e.Peer != nil {
			delete(q.paths, e.Peer.ID)
		}
		q.add(who+" has left.", page.Info, now)
	case node.EventPath:
		switch was, is := q.path(e); {
		case was == is:
		case is == session.NoPath:
			q.add(who+": looking for a path.", page.Warn, now)
		default:
			q.add(fmt.Sprintf("%s: %s.", who, is), page.Info, now)
		}
	case node.EventFailed:
		q.add(fmt.Sprintf("An attempt with a wrong code failed; %d left.", e.Left), page.Warn, now)
	case node.EventSpent:
		q.add("The code works no more: "+e.Reason+".", page.Info, now)
	case node.EventDenied:
		q.add(fmt.Sprintf("%s was refused: %s, %s.", who, e.What, e.Action), page.Warn, now)
	case node.EventUnlogged:
		q.add(fmt.Sprintf("%s was refused: %s. %s.", who, e.What, e.Reason), page.Warn, now)
	case node.EventMissed:
		q.add(fmt.Sprintf("%s was let in, but did not connect: %s.", who, e.Reason), page.Warn, now)
	case node.EventUnrecorded:
		q.add("A recording has ended: "+e.Reason+".", page.Warn, now)
	case node.EventWaiting, node.EventClock:
		q.add(e.Reason, page.Warn, now)
	}
}

// path notes the kind of a peer's path, and says what it was before.
func (q *toasts) path(e node.Event) (was, is session.PathKind) {
	if e.Peer == nil || e.Path == nil {
		return "", ""
	}
	if q.paths == nil {
		q.paths = make(map[session.PeerID]session.PathKind)
	}
	was, is = q.paths[e.Peer.ID], e.Path.Kind
	q.paths[e.Peer.ID] = is
	return was, is
}

// describeCut says what quitting does to a share.
func describeCut(s node.ShareStatus, guests int) string {
	what := "The session " + strconv.Quote(widget.Clean(s.Name)) + " ends"
	if s.Name == "" {
		what = "A session ends"
	}
	switch {
	case guests > 0:
		return what + ", and " + widget.Count(guests, "guest") + " with it."
	case s.Spent == "":
		return what + ": nobody can join by its code then."
	}
	return what + "."
}
