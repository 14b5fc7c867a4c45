package page

import (
	"fmt"
	"strconv"
	"strings"

	"tandem/session"
	"tandem/tui/widget"
)

// attempts are the addresses of both sides, and how each pair of them fared.
func (n *Network) attempts() []string {
	if n.tried == nil || !n.of.Peer.Connected {
		return nil
	}
	t := n.env.Theme
	var lines []string
	if len(n.lanes) > 0 {
		lines = append(lines, "", t.Title.Render("Lanes")+t.Dim.Render("  for what is being copied"))
	}
	for _, l := range n.lanes {
		text := fmt.Sprintf("%s %s, %s %s  %s", t.Glyphs.Up, widget.Bytes(l.Sent), t.Glyphs.Down, widget.Bytes(l.Received), address(l.Remote))
		if l.RTT > 0 {
			text += ", " + widget.RoundTrip(l.RTT)
		}
		lines = append(lines, n.line(widget.Clean(string(l.Kind)), text))
	}
	lines = append(lines, "", t.Title.Render("Addresses"))
	for i, side := range [][]session.Endpoint{n.tried.Local, n.tried.Remote} {
		for j, e := range side {
			lines = append(lines, n.line([][2]string{{"here", ""}, {"there", ""}}[i][min(j, 1)], endpoint(e)))
		}
	}
	lines = append(lines, "", t.Title.Render("Tried")+t.Dim.Render("  "+summary(n.tried.Pairs)))
	from, to := 0, 0
	for _, p := range n.tried.Pairs {
		from, to = max(from, widget.Width(address(p.Local))), max(to, widget.Width(address(p.Remote)))
	}
	for _, p := range n.tried.Pairs {
		mark, how := n.fared(p)
		pair := widget.Pad(address(p.Local), from) + t.Dim.Render(" "+t.Glyphs.Arrow+" ") + widget.Pad(address(p.Remote), to)
		if widget.Width(pair)+widget.Width(how)+4 > n.width {
			lines = append(lines, mark+" "+pair, "  "+how)
			continue
		}
		lines = append(lines, mark+" "+pair+"  "+how)
	}
	return lines
}

// address is an end of a pair; that it is a relay's or reached by another way than
// UDP is told with it.
func address(e session.Endpoint) string {
	s := widget.Clean(e.Addr.String()) // a zone may be anything
	if !e.Addr.IsValid() {
		s = "a hidden address" // mDNS names of browsers
	}
	if e.Type == "relay" {
		s += " relay"
	}
	if e.Protocol != "udp" {
		s += " " + widget.Clean(e.Protocol)
	}
	return s
}

// fared says how a pair of addresses fared.
func (n *Network) fared(p session.Pair) (mark, how string) {
	t := n.env.Theme
	switch {
	case p.InUse:
		return t.Good.Render(t.Glyphs.Live), t.Good.Render("in use") + ", " + widget.RoundTrip(p.RTT)
	case p.State == session.PairSucceeded || p.Answers > 0:
		return t.Good.Render(t.Glyphs.Check), "answered, " + widget.RoundTrip(p.RTT)
	case p.State == session.PairWaiting:
		return t.Dim.Render(t.Glyphs.Idle), t.Dim.Render("not tried yet")
	case p.State == session.PairFailed:
		return t.Bad.Render(t.Glyphs.Cross), t.Dim.Render("no answer to " + checks(p.Checks))
	}
	return t.Dim.Render(t.Glyphs.Idle), t.Dim.Render("no answer yet to " + checks(p.Checks))
}

func checks(n uint64) string { return widget.Count(int(min(n, 1e6)), "check") }

// summary counts how the pairs fared.
func summary(pairs []session.Pair) string {
	answered, failed, open := 0, 0, 0
	for _, p := range pairs {
		switch {
		case p.InUse || p.State == session.PairSucceeded || p.Answers > 0:
			answered++
		case p.State == session.PairFailed:
			failed++
		default:
			open++
		}
	}
	var parts []string
	for _, c := range []struct {
		n    int
		text string
	}{{answered, "answered"}, {failed, "failed"}, {open, "open"}} {
		if c.n > 0 {
			parts = append(parts, strconv.Itoa(c.n)+" "+c.text)
		}
	}
	return strings.Join(parts, ", ")
}
