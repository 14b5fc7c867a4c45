package page

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// pathSamples is how many answers of the node the graphs go back.
const pathSamples = 120

// Network is how bytes travel: to one peer, or of this device the servers and
// every session; and what this network allows.
type Network struct {
	env     Env
	of      Subject
	state   State
	tracks  map[session.PeerID]*track
	rows    []node.PeerStatus // connected
	asking  bool
	err     error // of asking
	looking bool  // at what was tried for the path
	tried   *session.Candidates
	lanes   []session.Lane
	doctor  *examination
	found   []Finding
	offset  int
	lines   int // there were in the last view
	keys    networkKeys
	pending bool
	follow  bool // show the findings as they come, until somebody scrolls

	width, height int
}

type networkKeys struct{ ask, doctor key.Binding }

// track is what a session's path was like.
type track struct {
	at             time.Time
	sent, received uint64
	rtt            []int64 // µs
	up, down       []int64 // bytes in a second
}

// examination collects what the doctor finds, while it looks.
type examination struct {
	mu    sync.Mutex
	found []Finding
}

func (x *examination) add(f Finding) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.found = append(x.found, f)
}

func (x *examination) so() []Finding {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.found[:len(x.found):len(x.found)]
}

type (
	// reached is the answer to why a peer is reached as it is.
	reached struct {
		page   *Network
		status node.PeerStatus
		err    error
	}
	// looked is what was tried for the path, if the node knows.
	looked struct {
		page   *Network
		status node.PeerStatus
	}
	// examined says that the doctor has looked at everything.
	examined struct {
		page *Network
		err  error
	}
)

// NewNetwork makes the page of the path to a peer, or of this device's network.
func NewNetwork(env Env, of Subject) Page {
	n := &Network{
		env: env, of: of, tracks: make(map[session.PeerID]*track),
		keys: networkKeys{ask: theme.Bind("connect", "r"), doctor: theme.Bind("examine this network", "d")},
	}
	n.keys.ask.SetEnabled(of.Ref() != node.Own)
	n.keys.doctor.SetEnabled(env.Doctor != nil)
	n.take(env.State)
	return n
}

// Init shows the verb.
func (n *Network) Init() tea.Cmd {
	if n.of.Ref() == node.Own {
		return Send(Verb{"tandem peers"})
	}
	return tea.Batch(Send(Verb{"tandem why " + quoteArgument(n.of.Alias())}), n.look())
}

// look asks what was tried for the path, while there is one: that is much, and not
// part of a State.
func (n *Network) look() tea.Cmd {
	if n.of.Ref() == node.Own || !n.of.Peer.Connected || n.looking || n.asking {
		return nil
	}
	n.looking = true
	backend, ref := n.env.Backend, n.of.Ref()
	return n.env.Run(func(ctx context.Context) tea.Msg {
		status, err := backend.Why(ctx, ref)
		if err != nil {
			status = node.PeerStatus{} // the next State says that it is gone
		}
		return looked{n, status}
	})
}

// Update follows the paths.
func (n *Network) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case State:
		n.take(msg)
		return n, n.look()
	case Tick:
		if n.doctor != nil {
			n.found = n.doctor.so()
		}
	case reached:
		if msg.page == n {
			n.asking, n.err = false, msg.err
			if msg.err == nil {
				n.of.Peer, n.tried, n.lanes = msg.status, msg.status.Candidates, msg.status.Lanes
			}
			return n, Send(Refresh{})
		}
	case looked:
		if msg.page == n {
			n.looking, n.tried, n.lanes = false, msg.status.Candidates, msg.status.Lanes
		}
	case examined:
		if msg.page == n {
			n.pending, n.found = false, n.doctor.so()
			if msg.err != nil {
				return n, Send(Fail{msg.err})
			}
		}
	case tea.MouseMsg:
		switch msg.Button {
		case tea.MouseButtonWheelUp:
			n.scroll(-3)
		case tea.MouseButtonWheelDown:
			n.scroll(3)
		}
	case tea.KeyMsg:
		return n, n.key(msg)
	}
	return n, nil
}

func (n *Network) key(msg tea.KeyMsg) tea.Cmd {
	keys := n.env.Keys
	switch {
	case key.Matches(msg, n.keys.ask) && !n.asking:
		n.asking, n.err = true, nil
		backend, ref := n.env.Backend, n.of.Ref()
		return n.env.Run(func(ctx context.Context) tea.Msg {
			status, err := backend.Why(ctx, ref)
			return reached{n, status, err}
		})
	case key.Matches(msg, n.keys.doctor) && !n.pending:
		x, look := new(examination), n.env.Doctor
		n.pending, n.doctor, n.found, n.follow = true, x, nil, true
		return tea.Batch(Send(Verb{"tandem doctor"}), n.env.Run(func(ctx context.Context) tea.Msg { return examined{n, look(ctx, x.add)} }))
	case key.Matches(msg, keys.Up):
		n.scroll(-1)
	case key.Matches(msg, keys.Down):
		n.scroll(1)
	case key.Matches(msg, keys.PageUp):
		n.scroll(-n.height)
	case key.Matches(msg, keys.PageDown):
		n.scroll(n.height)
	case key.Matches(msg, keys.Top):
		n.offset, n.follow = 0, false
	case key.Matches(msg, keys.Bottom):
		n.scroll(n.lines)
	}
	return nil
}

func (n *Network) scroll(by int) {
	n.follow = n.follow && by == 0
	n.offset = max(0, min(n.offset+by, n.lines-n.height))
}

// take adds what a State says to the graphs.
func (n *Network) take(s State) {
	n.state = s
	n.rows = n.rows[:0]
	live := make(map[session.PeerID]bool)
	for _, p := range s.Peers {
		if p.Peer.ID == n.of.Peer.Peer.ID && n.of.Ref() != node.Own {
			n.of.Peer = p
		}
		if !p.Connected {
			continue
		}
		live[p.Peer.ID] = true
		n.rows = append(n.rows, p)
		t := n.tracks[p.Peer.ID]
		if t == nil {
			t = new(track)
			n.tracks[p.Peer.ID] = t
		}
		t.take(p.Path, s.At)
	}
	for id := range n.tracks {
		if !live[id] {
			delete(n.tracks, id)
		}
	}
}

func (t *track) take(p session.Path, at time.Time) {
	passed := at.Sub(t.at).Seconds()
	if !t.at.IsZero() && passed <= 0 {
		return
	}
	keep := func(list []int64, v int64) []int64 {
		list = append(list, v)
		return list[max(0, len(list)-pathSamples):]
	}
	t.rtt = keep(t.rtt, p.RTT.Microseconds())
	if !t.at.IsZero() && p.Sent >= t.sent && p.Received >= t.received {
		t.up = keep(t.up, int64(float64(p.Sent-t.sent)/passed))
		t.down = keep(t.down, int64(float64(p.Received-t.received)/passed))
	}
	t.at, t.sent, t.received = at, p.Sent, p.Received
}

// View shows the path or paths, and what the doctor has found.
func (n *Network) View() string {
	lines := n.servers()
	if n.of.Ref() != node.Own {
		lines = n.path()
	} else {
		lines = append(lines, n.sessions()...)
	}
	findings := len(lines)
	lines = append(lines, n.findings()...)
	n.lines = len(lines)
	if n.follow {
		n.offset = findings + 1
	}
	n.scroll(0)
	t := n.env.Theme
	shown := make([]string, 0, n.height)
	for _, l := range lines[min(n.offset, len(lines)):] {
		shown = append(shown, widget.Cut(" "+l, n.width, t.Glyphs.Ellipsis))
	}
	if below := len(shown) - n.height; below > 0 && n.height > 1 {
		shown = append(shown[:n.height-1], t.Dim.Render(fmt.Sprintf(" %d more lines: down", below+1)))
	}
	return widget.Fit(strings.Join(shown, "\n"), n.width, n.height)
}

// networkLabel is how wide labels are.
const networkLabel = 12

func (n *Network) line(label, text string) string {
	return widget.Pad(n.env.Theme.Dim.Render(label), networkLabel) + text
}

// path is all about the path to one peer.
func (n *Network) path() []string {
	t, p := n.env.Theme, n.of.Peer
	path := p.Path
	lines := []string{t.Title.Render(name(p))}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, n.line(label, text))
		}
	}
	switch {
	case n.asking:
		add("path", t.Dim.Render("connecting"+t.Glyphs.Ellipsis))
	case n.err != nil:
		add("path", t.Bad.Render(widget.Clean(describe(n.err))))
		add("", widget.Clean(session.Hint(n.err)))
	case !p.Connected:
		add("path", t.Dim.Render("not connected; "+n.keys.ask.Help().Key+" connects"))
	case path.Kind == session.Direct:
		add("path", t.Good.Render("direct")+": no relay carries any of it")
	case path.Kind == session.Relayed:
		add("path", t.Warn.Render("relayed")+": a relay carries it, still encrypted end to end")
	default:
		add("path", t.Warn.Render("none at this moment")+"; tandem keeps looking")
	}
	if why := widget.Clean(path.WhyNotDirect); why != "" && p.Connected {
		for i, l := range widget.Wrap(why, max(20, n.width-networkLabel-2)) {
			add([]string{"not direct", ""}[min(i, 1)], l)
		}
	}
	if !p.Connected {
		return lines
	}
	if path.Kind == session.Direct || path.Kind == session.Relayed {
		add("from", endpoint(path.Local))
		add("to", endpoint(path.Remote))
	}
	if quiet := n.state.At.Sub(path.Heard); !path.Heard.IsZero() && quiet >= mute {
		add("heard", t.Warn.Render("nothing for "+quiet.Round(time.Second).String()))
	}
	if !path.Since.IsZero() {
		add("since", path.Since.In(n.env.Now.Location()).Format("2006-01-02 15:04:05"))
	}
	if path.Changes > 0 {
		add("changes", widget.Count(path.Changes, "time")+"; at the last one nothing arrived for "+path.LastGap.Round(time.Millisecond).String())
	}
	tr := n.tracks[p.Peer.ID]
	if tr == nil {
		return lines
	}
	graph := max(8, min(pathSamples, n.width-networkLabel-26))
	rtt := "not measured yet"
	if path.RTT > 0 {
		rtt = widget.RoundTrip(path.RTT)
	}
	lines = append(lines, "",
		n.line("round trip", widget.Pad(rtt, 24)+sparkline(t, tr.rtt, graph)),
		n.line(t.Glyphs.Up+" sent", widget.Pad(rate(tr.up, path.Sent), 24)+sparkline(t, tr.up, graph)),
		n.line(t.Glyphs.Down+" received", widget.Pad(rate(tr.down, path.Received), 24)+sparkline(t, tr.down, graph)))
	return append(lines, n.attempts()...)
}

// rate is the newest rate, and how much it has been in all.
func rate(rates []int64, total uint64) string {
	if len(rates) == 0 {
		return widget.Bytes(total)
	}
	return widget.Bytes(uint64(rates[len(rates)-1])) + "/s, " + widget.Bytes(total)
}

// endpoint names one end of a path in words rather than in ICE's (RFC 8445).
func endpoint(e session.Endpoint) string {
	kind := map[string]string{
		"host": "its own address", "srflx": "a NAT's outside address",
		"prflx": "a NAT's outside address, seen by the other side", "relay": "an address of the relay",
	}[e.Type]
	if !e.Addr.IsValid() {
		return strings.TrimSpace(widget.Clean(e.Protocol) + " " + kind)
	}
	return widget.Clean(e.Protocol+" "+e.Addr.String()) + "  " + kind
}

// servers are this device's signaling servers.
func (n *Network) servers() []string {
	t := n.env.Theme
	lines := []string{t.Title.Render("Servers")}
	for _, s := range n.state.Self.Servers {
		mark, note := t.Good.Render(t.Glyphs.Live), ""
		if !s.Connected {
			mark, note = t.Bad.Render(t.Glyphs.Cross), t.Dim.Render("  "+widget.Clean(s.Reason))
		}
		lines = append(lines, mark+" "+widget.Clean(s.URL)+note)
	}
	if len(n.state.Self.Servers) == 0 {
		lines = append(lines, t.Dim.Render("none: peers meet on the local network, and by links"))
	}
	return append(lines, "")
}

// sessions are the paths to all who are connected, one line each.
func (n *Network) sessions() []string {
	t := n.env.Theme
	lines := []string{t.Title.Render("Sessions")}
	for _, p := range n.rows {
		mark := t.Good.Render(t.Glyphs.Live)
		if p.Path.Kind != session.Direct {
			mark = t.Warn.Render(t.Glyphs.Live)
		}
		line := mark + " " + widget.Pad(widget.Cut(name(p), 18, t.Glyphs.Ellipsis), 18) + " " + widget.Pad(describePath(p.Path), 26)
		if tr := n.tracks[p.Peer.ID]; tr != nil {
			line += " " + sparkline(t, tr.rtt, max(8, min(pathSamples, n.width-52)))
		}
		lines = append(lines, line)
	}
	if len(n.rows) == 0 {
		lines = append(lines, t.Dim.Render("nobody is connected"))
	}
	return lines
}

// findings are what the doctor says.
func (n *Network) findings() []string {
	t := n.env.Theme
	if n.doctor == nil {
		return nil
	}
	lines := []string{"", t.Title.Render("This network")}
	for _, f := range n.found {
		mark := t.Good.Render(t.Glyphs.Check)
		if !f.OK {
			mark = t.Bad.Render(t.Glyphs.Cross)
		}
		text := widget.Clean(f.Found)
		if f.Subject != "" {
			text = widget.Clean(f.Subject) + ": " + text
		}
		if f.Took > 0 {
			text += " (" + widget.RoundTrip(f.Took) + ")"
		}
		room := max(20, n.width-networkLabel-4)
		for i, l := range widget.Wrap(text, room) {
			if i == 0 {
				l = mark + " " + widget.Pad(t.Dim.Render(widget.Clean(f.Check)), networkLabel-2) + l
			} else {
				l = strings.Repeat(" ", networkLabel) + l
			}
			lines = append(lines, l)
		}
		if f.Advice != "" {
			for _, l := range widget.Wrap(widget.Clean(f.Advice), room) {
				lines = append(lines, strings.Repeat(" ", networkLabel)+t.Dim.Render(l))
			}
		}
	}
	if n.pending {
		lines = append(lines, t.Dim.Render("looking"+t.Glyphs.Ellipsis))
	}
	return lines
}

// SetSize sets the size of the page.
func (n *Network) SetSize(w, h int) { n.width, n.height = w, h }

// Title is that of the page.
func (n *Network) Title() string { return "Network" }

// Keys are those of the page.
func (n *Network) Keys() []key.Binding { return []key.Binding{n.keys.ask, n.keys.doctor} }
