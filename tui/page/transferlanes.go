package page

import (
	"context"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// laneSamples is how many rates of a lane are kept.
const laneSamples = 60

// lanes are those of a peer, and how fast they are.
type lanes struct {
	asking bool
	alias  string
	at     time.Time
	list   []laneRate
}

// laneRate is a lane and what it carried in each of the last seconds.
type laneRate struct {
	session.Lane
	rates []int64 // bytes in a second
}

// carried is the answer to what carries a peer's bulk data.
type carried struct {
	page *TransfersPage
	peer string
	list []session.Lane
	at   time.Time
}

// askLanes asks what carries the copies that are under way: the node knows, and a
// State has no room for it.
func (t *TransfersPage) askLanes() tea.Cmd {
	var cmds []tea.Cmd
	busy := make(map[string]bool)
	for _, s := range t.all {
		if s.Stage != background.Running || busy[s.Peer] {
			continue
		}
		busy[s.Peer] = true
		of := t.lanes[s.Peer]
		if of == nil {
			of = &lanes{alias: s.Alias}
			t.lanes[s.Peer] = of
		}
		if of.asking {
			continue
		}
		of.asking = true
		backend, peer := t.env.Backend, s.Peer
		cmds = append(cmds, t.env.Run(func(ctx context.Context) tea.Msg {
			status, err := backend.Why(ctx, peer)
			if err != nil {
				status.Lanes = nil // the copy says what is wrong
			}
			return carried{t, peer, status.Lanes, time.Now()}
		}))
	}
	for peer, of := range t.lanes {
		if !busy[peer] && !of.asking {
			delete(t.lanes, peer)
		}
	}
	return tea.Batch(cmds...)
}

// carry takes what the lanes have carried by now.
func (l *lanes) carry(c carried) {
	passed := c.at.Sub(l.at).Seconds()
	list := make([]laneRate, len(c.list))
	for i, now := range c.list {
		list[i].Lane = now
		was := slices.IndexFunc(l.list, func(r laneRate) bool { return r.Kind == now.Kind && r.Since.Equal(now.Since) })
		if was < 0 || passed <= 0 {
			continue
		}
		before := l.list[was]
		moved := max(int64(now.Sent-before.Sent)+int64(now.Received-before.Received), 0)
		rates := append(before.rates, int64(float64(moved)/passed))
		list[i].rates = rates[max(0, len(rates)-laneSamples):]
	}
	l.list, l.at, l.asking = list, c.at, false
}

// shownLanes are those of the copy under the cursor, or else of any.
func (t *TransfersPage) shownLanes() *lanes {
	if s, ok := t.under(); ok && t.lanes[s.Peer] != nil && len(t.lanes[s.Peer].list) > 0 {
		return t.lanes[s.Peer]
	}
	for _, s := range t.all {
		if of := t.lanes[s.Peer]; of != nil && len(of.list) > 0 {
			return of
		}
	}
	return nil
}

// laneLines draw them, in at most that many lines; none if that is too few.
func (t *TransfersPage) laneLines(room int) []string {
	of := t.shownLanes()
	if of == nil || room < 3 {
		return nil
	}
	look := t.env.Theme
	lines := []string{"", " " + look.Title.Render("Lanes") + look.Dim.Render(" to "+widget.Clean(of.alias))}
	for i, l := range of.list {
		if left := len(of.list) - i; len(lines) == room-1 && left > 1 {
			lines = append(lines, look.Dim.Render("    "+widget.Count(left, "more lane")))
			break
		}
		lines = append(lines, t.lane(look, l))
	}
	return lines
}

func (t *TransfersPage) lane(look theme.Theme, l laneRate) string {
	text := "    " + widget.Pad(widget.Clean(string(l.Kind)), 8) + " "
	if len(l.rates) > 0 {
		text += widget.Pad(widget.Bytes(uint64(l.rates[len(l.rates)-1]))+"/s", 10)
	} else {
		text += widget.Pad("", 10)
	}
	text += " " + widget.Pad(widget.Bytes(l.Sent+l.Received), 8)
	rtt := ""
	if l.RTT > 0 {
		rtt = widget.RoundTrip(l.RTT)
	}
	text += " " + widget.Pad(rtt, 7) + look.Dim.Render(" "+address(l.Remote))
	return widget.Spread(text, sparkline(look, l.rates, max(t.width/4, 8))+" ", t.width, look.Glyphs.Ellipsis)
}
