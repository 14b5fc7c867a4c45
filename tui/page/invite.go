package page

import (
	"context"
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

// Invite is a session that was started here: its code, and its guests as they
// arrive.
type Invite struct {
	env    Env
	share  node.ShareStatus
	seen   bool // a State has had it
	over   bool // the session has ended
	now    time.Time
	sure   bool           // the next press of end does it
	kicked session.PeerID // whom the next press of kick sends away
	list   widget.List
	keys   inviteKeys
	onlyQR bool
	listed int // how wide the list of guests is

	width, height int
}

type inviteKeys struct{ end, kick, qr, terminal, play key.Binding }

// NewInvite shows a session.
func NewInvite(env Env, share node.ShareStatus) *Invite {
	v := &Invite{
		env: env, share: share, now: env.Now, list: widget.NewList(env.Keys),
		keys: inviteKeys{
			end: theme.Bind("end session", "E"), kick: theme.Bind("send away", "K"), qr: theme.Bind("QR code", "c"),
			terminal: theme.Bind("your window on it", "w"), play: theme.Bind("play the recording", "p"),
		},
	}
	v.list.SetLength(len(share.Guests))
	return v
}

// Init shows the verb that guests use.
func (v *Invite) Init() tea.Cmd { return Send(Verb{v.verb()}) }

func (v *Invite) verb() string {
	if v.share.Server == "" {
		return "tandem join " + v.share.Code
	}
	return "tandem join " + v.share.Code + " --server " + v.share.Server
}

// Update follows the session.
func (v *Invite) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case State:
		v.follow(msg)
	case Tick:
		v.now = msg.Now
	case tea.MouseMsg:
		msg.Y -= v.height - v.guests() + 1
		v.list.Update(msg)
	case tea.KeyMsg:
		return v, v.key(msg)
	}
	return v, nil
}

// early is how long a State may know nothing of a session yet, as the node was
// asked before it began.
const early = 5 * time.Second

// follow takes the session from a new State. One that isn't there any more has ended.
func (v *Invite) follow(s State) {
	for _, share := range s.Shares {
		if share.ID == v.share.ID {
			v.share, v.seen, v.over = share, true, false
			v.list.SetLength(len(share.Guests))
			return
		}
	}
	if s.Err == nil && (v.seen || s.At.Sub(v.share.Started) > early) {
		v.over = true
		v.share.Guests = nil
		v.list.SetLength(0)
	}
}

func (v *Invite) key(msg tea.KeyMsg) tea.Cmd {
	sure, kicked := v.sure, v.kicked
	v.sure, v.kicked = false, session.PeerID{}
	switch {
	case key.Matches(msg, v.keys.end) && !v.over:
		if !sure && v.here() > 0 {
			v.sure = true
			return Send(Toast{"Guests are here. " + v.keys.end.Help().Key + " once more ends the session.", Warn})
		}
		return v.end()
	case key.Matches(msg, v.keys.kick):
		return v.kick(kicked)
	case key.Matches(msg, v.keys.qr):
		v.onlyQR = !v.onlyQR
	case v.onlyQR && key.Matches(msg, v.env.Keys.Back):
		v.onlyQR = false
	case key.Matches(msg, v.keys.terminal):
		return v.terminal()
	case key.Matches(msg, v.keys.play) && v.share.Recording != "":
		return replay(v.env, v.share.Recording)
	default:
		v.list.Update(msg)
	}
	return nil
}

// qr draws the code for the link, or for as much of it as is needed at least: a link
// names further servers, of which the first will do for most.
func (v *Invite) qr(width, height int) (lines []string, columns, rows int) {
	if lines, columns, rows = widget.QR(v.env.Theme, v.share.Link, width, height); lines == nil {
		link, _, _ := strings.Cut(v.share.Link, "&s=")
		lines, columns, rows = widget.QR(v.env.Theme, link, width, height)
	}
	return lines, columns, rows
}

// Whole is the QR code alone, if that was asked for.
func (v *Invite) Whole(width, height int) (view string, ok bool) {
	if !v.onlyQR || v.dead() != "" {
		return "", false
	}
	t := v.env.Theme
	back := t.Key.Render(v.keys.qr.Help().Key) + " back"
	lines, columns, rows := v.qr(width, height)
	if lines == nil {
		why := "The QR code needs a terminal with Unicode."
		if columns > 0 {
			why = fmt.Sprintf("The QR code needs a window of %d by %d; this one has %d by %d.", columns, rows, width, height)
		}
		return widget.Center(strings.Join(append(widget.Wrap(why, max(20, width-2)), "", back), "\n"), width, height), true
	}
	text := []string{t.Code.Render(widget.Clean(v.share.Code)), "", back}
	side := widget.Width(text[0]) + 2
	if columns+side > width {
		text, side = nil, 0
	}
	top, left := (height-len(lines))/2, (width-columns-side)/2+side
	for i, l := range lines {
		beside := ""
		if at := i - len(lines)/2 + 1; at >= 0 && at < len(text) {
			beside = strings.Repeat(" ", left-side) + text[at]
		}
		lines[i] = widget.Pad(beside, left) + l
	}
	if text == nil {
		lines = append(lines, widget.Pad("", left)+back)
	}
	return widget.Fit(strings.Repeat("\n", top)+strings.Join(lines, "\n"), width, height), true
}

func (v *Invite) here() int {
	n := 0
	for _, g := range v.share.Guests {
		if g.Connected {
			n++
		}
	}
	return n
}

func (v *Invite) end() tea.Cmd {
	id, backend := v.share.ID, v.env.Backend
	return v.env.Run(func(ctx context.Context) tea.Msg {
		if err := backend.EndShare(ctx, id); err != nil && session.KindOf(err) != session.NotFound {
			return Fail{err}
		}
		return tea.BatchMsg{Send(Refresh{}), Send(Toast{"The session has ended, and everything it granted.", Good})}
	})
}

// kick sends the guest under the cursor away, if that one was meant at the last press, too.
func (v *Invite) kick(before session.PeerID) tea.Cmd {
	i := v.list.Cursor()
	if i < 0 {
		return nil
	}
	guest, backend := v.share.Guests[i].Peer, v.env.Backend
	if guest.ID != before {
		v.kicked = guest.ID
		return Send(Toast{v.keys.kick.Help().Key + " once more sends " + widget.Clean(guest.String()) + " away, and takes back what it was granted.", Warn})
	}
	return v.env.Run(func(ctx context.Context) tea.Msg {
		if err := backend.Dismiss(ctx, guest.ID.String()); err != nil {
			return Fail{err}
		}
		return tea.BatchMsg{Send(Refresh{}), Send(Toast{widget.Clean(guest.String()) + " was sent away, and what it was granted taken back.", Good})}
	})
}

// terminal opens the page for terminals on this device's own.
func (v *Invite) terminal() tea.Cmd {
	if e, ok := entryFor(v.env, "terminal/"); ok && v.hasTerminal() {
		return Send(Open{e.New(v.env, Subject{Offers: v.share.Offers})})
	}
	return nil
}

// hasTerminal reports whether there is a terminal here that one may have a window on.
func (v *Invite) hasTerminal() bool {
	if v.share.Beside {
		return false
	}
	for _, r := range v.share.Offers {
		if isService(r, "terminal") {
			return true
		}
	}
	return false
}

// entryFor is the page for a service.
func entryFor(env Env, service string) (Entry, bool) {
	for _, e := range env.Entries {
		if strings.HasPrefix(e.Service, service) {
			return e, true
		}
	}
	return Entry{}, false
}

// View shows the code as large as it goes, and below it the guests; the QR code goes
// beside both, if there is room.
func (v *Invite) View() string {
	t := v.env.Theme
	guests := v.guests()
	room, width := max(0, v.height-guests), v.width
	var qr []string
	if v.dead() == "" {
		var columns int
		if qr, columns, _ = v.qr(v.width-leastInvite, v.height); qr != nil {
			width -= columns + 1
		}
	}
	text := v.invitation(max(20, width-2), room, len(qr) > 0)
	lines := make([]string, 0, v.height)
	for i := range room {
		l := ""
		if i < len(text) {
			l = text[i]
		}
		lines = append(lines, " "+l)
	}
	v.list.SetSize(width, guests-1)
	v.listed = width
	lines = append(lines, " "+t.Dim.Render(v.headline()))
	lines = append(lines, strings.Split(v.list.View(v.guest), "\n")...)
	for i := range qr {
		if i < len(lines) {
			lines[i] = widget.Pad(widget.Cut(lines[i], width, t.Glyphs.Ellipsis), width+1) + qr[i]
		}
	}
	return widget.Fit(strings.Join(lines, "\n"), v.width, v.height)
}

// guests is how many lines are for the guests, at the bottom: one says how many.
func (v *Invite) guests() int { return max(2, min(len(v.share.Guests)+1, v.height/3)) }

// leastInvite is how much room the code takes beside its QR code, in columns.
const leastInvite = 38

// dead is why nobody can join with the code any more, or "".
func (v *Invite) dead() string {
	switch {
	case v.over:
		return "the session is over"
	case v.share.Spent != "":
		return widget.Clean(v.share.Spent)
	case !v.share.Expires.After(v.now):
		return "its time is over"
	}
	return ""
}

func (v *Invite) headline() string {
	switch {
	case v.over:
		return "The session is over."
	case len(v.share.Guests) == 0:
		return "Nobody has come yet. You are asked before anyone gets in."
	}
	return widget.Count(v.here(), "guest") + " here"
}

// invitation is the code and what to do with it.
func (v *Invite) invitation(width, height int, withQR bool) []string {
	t := v.env.Theme
	s := v.share
	var lines []string
	add := func(more ...string) { lines = append(lines, more...) }
	if v.over {
		lines := []string{"", t.Title.Render("This session has ended."), "", "Everything it granted has ended with it."}
		if s.Recording != "" {
			lines = append(append(lines, ""), labelled(t, "recording", 11, []string{widget.Clean(s.Recording)})...)
		}
		return lines
	}
	if dead := v.dead(); dead != "" {
		add(t.Title.Render("The code works no more: ") + dead + ".")
	} else {
		if height >= 12 {
			add(t.Dim.Render("Say this code, or send the link:"), "")
		}
		add(bigCode(t, widget.Clean(s.Code), width, height)...)
		add("", t.Dim.Render("lasts ")+widget.Remaining(s.Expires.Sub(v.now))+t.Dim.Render("   your guest types"))
		add(wrapVerb(t, v.verb(), width)...)
		if !withQR && height >= 10 || withQR && height >= 14 {
			add("")
			for _, l := range breakAnywhere(widget.Clean(s.Link), width) {
				add(t.Dim.Render(l))
			}
		}
	}
	if s.Beside {
		add("", t.Dim.Render("Shared in another window."))
	}
	if height-len(lines) > 3 {
		add("")
		add(labelled(t, "offers", 11, describeRights(s.Offers))...)
		if s.Recording != "" {
			lines := []string{widget.Clean(s.Recording)}
			if s.Recorded == node.RecordedOrNothing {
				lines = append(lines, "the terminal ends with it")
			}
			add(labelled(t, "recording", 11, lines)...)
		}
	}
	for i := range lines {
		lines[i] = widget.Cut(lines[i], width, t.Glyphs.Ellipsis)
	}
	return lines[:min(len(lines), height)]
}

// wrapVerb breaks a command between its words, where they fit.
func wrapVerb(t theme.Theme, verb string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(verb) {
		if line != "" && widget.Width(line)+1+widget.Width(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		pieces := breakAnywhere(word, width)
		lines, line = append(lines, pieces[:len(pieces)-1]...), pieces[len(pieces)-1]
	}
	lines = append(lines, line)
	for i := range lines {
		lines[i] = t.Accent.Render(lines[i])
	}
	return lines
}

// breakAnywhere breaks a text that is copied, not read.
func breakAnywhere(s string, width int) []string {
	var lines []string
	for len(s) > width && width > 0 {
		cut := width
		for cut > 1 && s[cut]&0xc0 == 0x80 { // not inside a character
			cut--
		}
		lines = append(lines, s[:cut])
		s = s[cut:]
	}
	return append(lines, s)
}

// bigCode makes a code stand out: in a box with room for breath if it fits.
func bigCode(t theme.Theme, code string, width, height int) []string {
	wide := strings.Join(strings.Split(code, "-"), " - ")
	inner := len(wide) + 4
	if t.Plain || height < 12 || inner+2 > width {
		return []string{t.Code.Render(code)}
	}
	g := t.Glyphs
	rule := strings.Repeat(g.Rule, inner)
	return []string{
		t.Accent.Render(g.Corners[0] + rule + g.Corners[1]),
		t.Accent.Render(g.Side) + "  " + t.Code.Render(wide) + "  " + t.Accent.Render(g.Side),
		t.Accent.Render(g.Corners[2] + rule + g.Corners[3]),
	}
}

// guest draws one guest.
func (v *Invite) guest(i int, selected bool) string {
	t := v.env.Theme
	g := v.share.Guests[i]
	sign, about := t.Good.Render(t.Glyphs.Live), describePath(g.Path)
	if !g.Connected {
		sign, about = t.Dim.Render(t.Glyphs.Idle), "not connected"
	}
	if len(g.Rights) == 0 {
		about = "nothing is granted any more"
	}
	what := fmt.Sprintf("%s  %s", widget.Clean(g.Peer.String()), strings.Join(g.Words[:min(3, len(g.Words))], " "))
	if selected {
		return t.Selected.Render(widget.Pad(widget.Spread(t.Glyphs.Cursor+"  "+what, about+" ", v.listed, t.Glyphs.Ellipsis), v.listed))
	}
	return widget.Spread(" "+sign+" "+what, t.Dim.Render(about)+" ", v.listed, t.Glyphs.Ellipsis)
}

// SetSize sets the size of the page.
func (v *Invite) SetSize(w, h int) { v.width, v.height = w, h }

// Title is that of the page.
func (v *Invite) Title() string {
	if v.share.Name != "" {
		return widget.Clean(v.share.Name)
	}
	return "Session"
}

// Keys are those of the page.
func (v *Invite) Keys() []key.Binding {
	if v.onlyQR && v.dead() == "" {
		return []key.Binding{v.keys.qr, v.env.Keys.Back}
	}
	var keys []key.Binding
	if !v.over {
		keys = append(keys, v.keys.end)
		if len(v.share.Guests) > 0 {
			keys = append(keys, v.keys.kick)
		}
		if _, ok := entryFor(v.env, "terminal/"); ok && v.hasTerminal() {
			keys = append(keys, v.keys.terminal)
		}
		if v.dead() == "" {
			keys = append(keys, v.keys.qr)
		}
	}
	if v.share.Recording != "" {
		keys = append(keys, v.keys.play)
	}
	return keys
}
