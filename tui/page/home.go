package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// HomePage is this device, what is live, and who it knows.
type HomePage struct {
	env    Env
	state  State
	now    time.Time
	rows   []row
	peers  []string // what each peer is filtered by, in lower case; none until it is
	list   widget.List
	filter widget.Field
	keys   homeKeys

	width, height int
}

type homeKeys struct{ start, join, tour, clear key.Binding }

// row is a line of the list: a heading, or the nth of a kind.
type row struct {
	kind rowKind
	n    int
	text string // of a heading
}

type rowKind int

const (
	heading rowKind = iota
	requestRow
	shareRow
	peerRow
)

// NewHome makes the first page.
func NewHome(env Env) *HomePage {
	h := &HomePage{
		env: env, now: env.Now, list: widget.NewList(env.Keys), filter: widget.NewField(env.Theme, "/"),
		keys: homeKeys{
			start: theme.Bind("new session", "n"), join: theme.Bind("join", "j"), tour: theme.Bind("tour", "t"),
			clear: theme.Bind("clear the filter", "esc"),
		},
	}
	h.list.Skip = func(i int) bool { return h.rows[i].kind == heading }
	h.take(env.State)
	return h
}

// Init says which verb this page is.
func (h *HomePage) Init() tea.Cmd { return Send(Verb{"tandem peers"}) }

// take takes over a new State, and keeps the cursor where it was.
func (h *HomePage) take(s State) {
	h.state, h.env.State = s, s
	h.peers = h.peers[:0]
	h.SetSize(h.width, h.height)
	h.arrange()
}

// index makes what peers are filtered by, which few need: there may be many.
func (h *HomePage) index() {
	if len(h.peers) > 0 {
		return
	}
	for _, p := range h.state.Peers {
		h.peers = append(h.peers, strings.ToLower(p.Alias+" "+p.Peer.Name+" "+p.Peer.ID.Short()))
	}
}

// subject is what a row is about.
type subject struct {
	kind rowKind
	id   string // of a request or a share
	peer session.PeerID
}

// subject is what a row is about, to find it again.
func (h *HomePage) subject(r row) subject {
	s := subject{kind: r.kind}
	switch r.kind {
	case requestRow:
		s.id = h.state.Requests[r.n].ID
	case shareRow:
		s.id = h.state.Shares[r.n].ID
	case peerRow:
		s.peer = h.state.Peers[r.n].Peer.ID
	}
	return s
}

// arrange lays out the rows that pass the filter. The cursor stays on what it was
// on, as far as that can be found near where it was.
func (h *HomePage) arrange() {
	at := h.list.Cursor()
	h.rows = h.rows[:0]
	h.section("Waiting for you", requestRow, len(h.state.Requests))
	h.section("Sessions", shareRow, len(h.state.Shares))
	words := strings.Fields(strings.ToLower(h.filter.Value()))
	if len(words) > 0 {
		h.index()
	}
	live, known := []row{}, []row{}
	for i, p := range h.state.Peers {
		if len(words) > 0 && !contains(h.peers[i], words) {
			continue
		}
		if p.Connected {
			live = append(live, row{kind: peerRow, n: i})
		} else {
			known = append(known, row{kind: peerRow, n: i})
		}
	}
	h.group("Connected", live)
	h.group("Known peers", known)
	h.list.SetLength(len(h.rows))
	h.list.Select(at)
}

func contains(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

func (h *HomePage) section(title string, kind rowKind, n int) {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{kind: kind, n: i}
	}
	h.group(title, rows)
}

func (h *HomePage) group(title string, rows []row) {
	if len(rows) == 0 {
		return
	}
	h.rows = append(h.rows, row{kind: heading, text: fmt.Sprintf("%s (%d)", title, len(rows))})
	h.rows = append(h.rows, rows...)
}

// Captures takes the keys of text while the filter is being typed.
func (h *HomePage) Captures() Capture {
	if h.filter.Focused() {
		return CaptureText
	}
	return CaptureNone
}

// Update moves the cursor, filters, and opens what is under the cursor.
func (h *HomePage) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case State:
		h.refresh(msg)
	case Tick:
		h.now, h.env.Now = msg.Now, msg.Now
	case tea.MouseMsg:
		msg.Y -= h.top()
		if h.list.Clicked(msg) {
			return h, h.open()
		}
		h.list.Update(msg)
	case tea.KeyMsg:
		return h, h.key(msg)
	}
	return h, nil
}

// refresh takes a new State and puts the cursor back on what it was on.
func (h *HomePage) refresh(s State) {
	at := h.list.Cursor()
	if at < 0 {
		h.take(s)
		return
	}
	was := h.subject(h.rows[at])
	h.take(s)
	for i, r := range h.rows {
		if r.kind == was.kind && h.subject(r) == was {
			h.list.Select(i)
			return
		}
	}
}

func (h *HomePage) key(msg tea.KeyMsg) tea.Cmd {
	if h.filter.Focused() {
		switch {
		case key.Matches(msg, h.env.Keys.Back):
			h.filter.Set("")
			h.filter.Blur()
			h.SetSize(h.width, h.height)
			h.arrange()
		case key.Matches(msg, h.env.Keys.Open):
			h.filter.Blur()
		case msg.Type == tea.KeyUp, msg.Type == tea.KeyDown, msg.Type == tea.KeyPgUp, msg.Type == tea.KeyPgDown:
			h.list.Update(msg)
		case h.filter.Update(msg):
			h.arrange()
			h.list.Select(0)
		}
		return nil
	}
	switch {
	case key.Matches(msg, h.env.Keys.Filter):
		h.filter.Focus()
		h.SetSize(h.width, h.height)
		return nil
	case key.Matches(msg, h.keys.clear) && h.filter.Value() != "":
		h.filter.Set("")
		h.SetSize(h.width, h.height)
		h.arrange()
		return nil
	case key.Matches(msg, h.env.Keys.Open):
		return h.open()
	case key.Matches(msg, h.keys.start):
		return Send(Open{NewStart(h.env)})
	case key.Matches(msg, h.keys.join):
		return Send(Open{NewJoin(h.env)})
	case key.Matches(msg, h.keys.tour) && h.env.Demo != nil:
		return Send(Open{NewTour(h.env)})
	}
	for _, e := range h.env.Entries {
		if key.Matches(msg, e.Key) && !e.Peer {
			return Send(Open{e.New(h.env, Subject{})})
		}
	}
	h.list.Update(msg)
	return nil
}

// open opens what is under the cursor.
func (h *HomePage) open() tea.Cmd {
	i := h.list.Cursor()
	if i < 0 {
		return nil
	}
	switch r := h.rows[i]; r.kind {
	case requestRow:
		return Send(Ask{h.state.Requests[r.n].ID})
	case shareRow:
		return Send(Open{NewInvite(h.env, h.state.Shares[r.n])})
	case peerRow:
		return Send(Open{NewPeer(h.env, Subject{Peer: h.state.Peers[r.n]})})
	}
	return nil
}

// top is how many lines are above the list.
func (h *HomePage) top() int {
	if h.filtering() {
		return h.deviceLines() + 1
	}
	return h.deviceLines()
}

// deviceLines is how many lines this device takes.
func (h *HomePage) deviceLines() int {
	lines := 1 + len(h.words())
	if h.height >= 14 {
		lines++
	}
	return lines
}

// words are our own, to be read to somebody.
func (h *HomePage) words() []string {
	const label = 7
	return labelled(h.env.Theme, " words", label, wordLines(h.state.Self.Words, h.width-label))
}

func (h *HomePage) filtering() bool { return h.filter.Focused() || h.filter.Value() != "" }

// SetSize sets the size of the page.
func (h *HomePage) SetSize(w, height int) {
	h.width, h.height = w, height
	h.list.SetSize(w, max(0, height-h.top()))
}

// Title is that of the page.
func (h *HomePage) Title() string { return "Home" }

// Keys are those of the page.
func (h *HomePage) Keys() []key.Binding {
	keys := []key.Binding{h.keys.start, h.keys.join, h.env.Keys.Open, h.env.Keys.Filter}
	if h.filter.Value() != "" {
		keys = append(keys, h.keys.clear)
	}
	if h.env.Demo != nil {
		keys = append(keys, h.keys.tour)
	}
	for _, e := range h.env.Entries {
		if !e.Peer {
			keys = append(keys, theme.Bind(strings.ToLower(e.Title), e.Key.Keys()...))
		}
	}
	return keys
}

// View shows this device and the list.
func (h *HomePage) View() string {
	lines := h.device()
	if h.filtering() {
		lines = append(lines, " "+h.filter.View(max(0, h.width-24))+" "+h.env.Theme.Dim.Render(h.list.Position()))
	}
	body := ""
	switch {
	case h.state.At.IsZero() && h.state.Err == nil:
		body = widget.Center(h.env.Theme.Dim.Render("Looking for the node"+h.env.Theme.Glyphs.Ellipsis), h.width, h.height-h.top())
	case len(h.rows) == 0 && h.filter.Value() != "":
		body = widget.Center(h.env.Theme.Dim.Render("Nobody of that name. esc shows everybody."), h.width, h.height-h.top())
	case len(h.rows) == 0:
		body = h.welcome()
	default:
		body = h.list.View(h.row)
	}
	return widget.Fit(strings.Join(append(lines, body), "\n"), h.width, h.height)
}

// device is who we are: what others compare, and where they find us.
func (h *HomePage) device() []string {
	t := h.env.Theme
	s := h.state.Self
	if h.state.At.IsZero() {
		return make([]string, h.deviceLines())
	}
	server := t.Dim.Render("no server: sessions on this network only")
	up := 0
	for _, v := range s.Servers {
		if v.Connected {
			up++
		}
	}
	switch {
	case up > 0:
		server = t.Good.Render(t.Glyphs.Live) + " " + widget.Count(up, "server")
	case len(s.Servers) > 0:
		server = t.Warn.Render(t.Glyphs.Idle) + " no server answers"
	}
	first := widget.Spread(" "+t.Title.Render(widget.Clean(s.Peer.Name))+"  "+t.Dim.Render(s.Peer.ID.Short()), server+" ", h.width, t.Glyphs.Ellipsis)
	return append(append([]string{first}, h.words()...), "")[:h.deviceLines()]
}

// welcome is for whoever has nobody yet.
func (h *HomePage) welcome() string {
	t := h.env.Theme
	k := func(b key.Binding, about string) string {
		return widget.Pad(t.Key.Render(b.Help().Key), 4) + about
	}
	lines := []string{
		t.Title.Render("Nobody is here yet."), "",
		k(h.keys.start, "start a session: share a terminal or a folder by a code"),
		k(h.keys.join, "join one with the code that somebody gave you"),
		k(h.env.Keys.Help, "what the keys do"),
	}
	if h.env.Demo != nil {
		lines = append(lines, k(h.keys.tour, "take a tour of two minutes with a peer on this machine"))
	}
	return widget.Center(strings.Join(lines, "\n"), h.width, max(0, h.height-h.top()))
}

// row draws one line of the list.
func (h *HomePage) row(i int, selected bool) string {
	t := h.env.Theme
	r := h.rows[i]
	if r.kind == heading {
		return t.Dim.Render(" " + r.text)
	}
	var sign, what, about string
	switch r.kind {
	case requestRow:
		sign, what, about = t.Warn.Render("!"), h.describeRequest(r.n), "enter answers"
	case shareRow:
		sign, what, about = h.describeShare(r.n)
	case peerRow:
		sign, what, about = h.describePeer(r.n)
	}
	if selected { // one style for the whole line: colours inside it would end it
		line := widget.Spread(t.Glyphs.Cursor+"  "+what, about+" ", h.width, t.Glyphs.Ellipsis)
		return t.Selected.Render(widget.Pad(line, h.width))
	}
	return widget.Spread(" "+sign+" "+what, t.Dim.Render(about)+" ", h.width, t.Glyphs.Ellipsis)
}

func (h *HomePage) describeRequest(n int) string {
	r := h.state.Requests[n]
	who := widget.Clean(r.Guest.Peer.Name)
	if who == "" {
		who = "somebody"
	}
	if r.Kind == node.RequestType {
		return who + " asks to type"
	}
	if r.Kind == node.RequestPush {
		return who + " would copy files here"
	}
	return who + " asks to come in"
}

func (h *HomePage) describeShare(n int) (sign, what, about string) {
	t := h.env.Theme
	s := h.state.Shares[n]
	here := 0
	for _, g := range s.Guests {
		if g.Connected {
			here++
		}
	}
	what = widget.Clean(s.Name)
	if what == "" {
		what = "session"
	}
	what += "   " + widget.Count(here, "guest")
	if s.Beside {
		what += ", in another window"
	}
	sign = t.Good.Render(t.Glyphs.Live)
	switch {
	case s.Spent != "":
		about = "the code is used up"
	case s.Expires.Before(h.now):
		about = "the code has expired"
	default:
		about = widget.Clean(s.Code) + "  " + widget.Remaining(s.Expires.Sub(h.now))
	}
	return sign, what, about
}

func (h *HomePage) describePeer(n int) (sign, what, about string) {
	t := h.env.Theme
	p := h.state.Peers[n]
	what = name(p)
	if claimed := widget.Clean(p.Peer.Name); claimed != "" && claimed != what {
		what += " (" + claimed + ")"
	}
	if !p.Connected {
		return t.Dim.Render(t.Glyphs.Idle), what, p.Peer.ID.Short()
	}
	return t.Good.Render(t.Glyphs.Live), what, describePath(p.Path)
}
