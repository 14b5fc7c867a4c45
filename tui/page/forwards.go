package page

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/forward"
	"tandem/share/node"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Forwards is the ports that are joined to a peer's, or to any peer's: what there
// is, what passes, what is wrong, and a form for another.
type Forwards struct {
	env  Env
	of   Subject
	all  []background.ForwardStatus
	list widget.List
	keys forwardKeys
	sure int // the ID that the next press removes without asking

	form  *widget.Form // nil unless one is being added
	items forwardItems
	peers []background.Target // those that the form offers

	width, height int
}

type forwardKeys struct{ add, remove, again key.Binding }

type forwardItems struct{ peer, kind, listen, target *widget.Item }

// forwardKinds are in the order of the form.
var forwardKinds = []forward.Kind{forward.Local, forward.Remote, forward.Dynamic}

// RunForwards forwards until the program ends.
func RunForwards(env Env) tea.Cmd {
	return env.Run(func(ctx context.Context) tea.Msg {
		env.Forwards.Run(ctx)
		return nil
	})
}

// NewForwards makes the page of the forwards to and from a peer, or all of them.
func NewForwards(env Env, of Subject) Page {
	f := &Forwards{
		env: env, of: of, list: widget.NewList(env.Keys),
		keys: forwardKeys{add: theme.Bind("add", "a"), remove: theme.Bind("remove", "x", "delete"), again: theme.Bind("try again", "r")},
	}
	f.take(env.State)
	f.look()
	return f
}

// Init shows the verb.
func (f *Forwards) Init() tea.Cmd {
	return Send(Verb{"tandem forward " + f.whom() + " -L 8080:localhost:80"})
}

func (f *Forwards) whom() string {
	if f.of.Ref() == node.Own {
		return "PEER"
	}
	return quoteArgument(f.of.Alias())
}

// look takes note of how the forwards are.
func (f *Forwards) look() {
	if f.env.Forwards == nil {
		return
	}
	f.all = f.env.Forwards.List()
	if f.of.Ref() != node.Own {
		f.all = slices.DeleteFunc(f.all, func(s background.ForwardStatus) bool { return s.Ref != f.of.Ref() })
	}
	f.list.SetLength(len(f.all))
}

// take takes note of who could be forwarded to.
func (f *Forwards) take(s State) {
	if f.form != nil {
		return // its choices stay what they are
	}
	f.peers = f.peers[:0]
	if f.of.Ref() != node.Own {
		f.peers = append(f.peers, background.Target{Ref: f.of.Ref(), Alias: f.of.Alias()})
		return
	}
	const most = 8 // that a form can offer; the others' own pages do
	for _, p := range s.Peers {
		if p.Connected && len(f.peers) < most {
			f.peers = append(f.peers, background.Target{Ref: p.Peer.ID.String(), Alias: name(p)})
		}
	}
}

// Captures takes the keys of text while the form is open.
func (f *Forwards) Captures() Capture {
	if f.form != nil {
		return CaptureText
	}
	return CaptureNone
}

// Update follows the forwards.
func (f *Forwards) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case Tick:
		f.look()
	case State:
		f.take(msg)
	case tea.MouseMsg:
		if f.form != nil {
			msg.Y -= 2
			f.form.Update(msg)
			return f, nil
		}
		msg.Y--
		f.list.Update(msg)
	case tea.KeyMsg:
		if f.form != nil {
			return f, f.filled(msg)
		}
		return f, f.key(msg)
	}
	return f, nil
}

func (f *Forwards) key(msg tea.KeyMsg) tea.Cmd {
	sure := f.sure
	f.sure = 0
	i := f.list.Cursor()
	switch {
	case key.Matches(msg, f.keys.add):
		return f.open()
	case i >= 0 && key.Matches(msg, f.keys.again):
		f.env.Forwards.Again(f.all[i].ID)
		f.look()
	case i >= 0 && key.Matches(msg, f.keys.remove):
		s := f.all[i]
		if s.Open > 0 && sure != s.ID {
			f.sure = s.ID
			return Send(Toast{f.keys.remove.Help().Key + " once more ends " + widget.Count(s.Open, "connection") + " through it.", Warn})
		}
		f.env.Forwards.Remove(s.ID)
		f.look()
	default:
		f.list.Update(msg)
		if j := f.list.Cursor(); j != i && j >= 0 {
			return Send(Verb{f.all[j].Verb()})
		}
	}
	return nil
}

// open begins a form.
func (f *Forwards) open() tea.Cmd {
	if len(f.peers) == 0 {
		return Send(Toast{"Nobody is connected. A peer's own page can connect it.", Info})
	}
	t := f.env.Theme
	var names []string
	for _, p := range f.peers {
		names = append(names, p.Alias)
	}
	f.items = forwardItems{
		peer:   widget.ChoiceItem("peer", "", names...),
		kind:   widget.ChoiceItem("connections", "", "from here to there", "from there to here", "SOCKS5 proxy"),
		listen: widget.TextItem(t, "listen on", "", "8080", "a port, or ADDRESS:PORT, or the path of a socket"),
		target: widget.TextItem(t, "go to", "", "localhost:80", "HOST:PORT as the other side sees it"),
	}
	f.items.target.Hidden = func() bool { return f.kind() == forward.Dynamic }
	form := widget.NewForm(t, f.env.Keys, f.items.peer, f.items.kind, f.items.listen, f.items.target)
	form.FocusOn(f.items.listen)
	f.form = &form
	f.SetSize(f.width, f.height)
	return nil
}

func (f *Forwards) kind() forward.Kind { return forwardKinds[f.items.kind.Chosen] }

// filled takes a key for the form.
func (f *Forwards) filled(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, f.env.Keys.Back):
		f.form = nil
		return f.Init()
	case key.Matches(msg, f.env.Keys.Open):
		what, err := f.wanted()
		if err != nil {
			item := f.items.target
			if f.items.listen.Value() == "" || item.Hidden() {
				item = f.items.listen
			}
			item.Wrong = widget.Clean(describe(err))
			f.form.FocusOn(item)
			return nil
		}
		peer := f.peers[f.items.peer.Chosen]
		f.form = nil
		f.env.Forwards.Add(peer, what)
		f.look()
		f.list.Select(len(f.all) - 1)
		return Send(Verb{background.ForwardStatus{Target: peer, Forward: what}.Verb()})
	}
	f.form.Update(msg)
	if what, err := f.wanted(); err == nil {
		return Send(Verb{background.ForwardStatus{Target: f.peers[f.items.peer.Chosen], Forward: what}.Verb()})
	}
	return nil
}

// wanted is the forward that the form describes.
func (f *Forwards) wanted() (forward.Forward, error) {
	text := f.items.listen.Value()
	if text == "" {
		return forward.Forward{}, session.Errorf("forward", session.Invalid, "where shall it listen?")
	}
	if f.kind() != forward.Dynamic {
		if f.items.target.Value() == "" {
			return forward.Forward{}, session.Errorf("forward", session.Invalid, "where does it go?")
		}
		text += ":" + f.items.target.Value()
	}
	return forward.Parse(f.kind(), text)
}

// View shows the list, or the form.
func (f *Forwards) View() string {
	t := f.env.Theme
	if f.form != nil {
		title := " " + t.Title.Render("Another forward") + t.Dim.Render("  enter adds it, esc doesn't")
		return widget.Fit(title+"\n\n"+f.form.View(), f.width, f.height)
	}
	if len(f.all) == 0 {
		return widget.Center(t.Dim.Render("No ports are forwarded. "+f.keys.add.Help().Key+" adds one, which lasts as long as this window."), f.width, f.height)
	}
	head := t.Dim.Render(widget.Columns(f.columns(), t.Glyphs.Ellipsis, "", "route", "connections", "sent", "received"))
	f.list.SetSize(f.width, max(0, f.height-f.below()-1))
	lines := []string{head, f.list.View(func(i int, selected bool) string { return f.row(f.all[i], selected) })}
	if f.below() > 0 {
		lines = append(lines, f.trouble())
	}
	return widget.Fit(strings.Join(lines, "\n"), f.width, f.height)
}

// below is how many lines tell about the forward under the cursor.
func (f *Forwards) below() int {
	if i := f.list.Cursor(); i < 0 || f.all[i].Err == nil {
		return 0
	}
	return min(3, max(0, f.height-2))
}

func (f *Forwards) columns() []int {
	const numbers = 12 + 1 + 9 + 1 + 9 + 1
	return []int{3, max(10, f.width-4-numbers), 12, 9, 9}
}

// row is a forward in a line.
func (f *Forwards) row(s background.ForwardStatus, selected bool) string {
	t := f.env.Theme
	mark, look := t.Glyphs.Live, t.Good
	switch {
	case s.Ended:
		mark, look = t.Glyphs.Cross, t.Bad
	case s.At.IsZero():
		mark, look = t.Glyphs.Idle, t.Dim
	case s.Err != nil:
		look = t.Warn
	}
	connections := strconv.Itoa(s.Open) + " open"
	if s.Failed > 0 {
		connections += ", " + t.Glyphs.Cross + strconv.FormatUint(s.Failed, 10)
	}
	cursor := " "
	if selected {
		cursor = t.Glyphs.Cursor
	}
	cells := func(mark string) string {
		return widget.Columns(f.columns(), t.Glyphs.Ellipsis, cursor+" "+mark, f.route(s), connections, widget.Bytes(s.Sent), widget.Bytes(s.Received))
	}
	if selected {
		return t.Selected.Render(widget.Pad(cells(mark), f.width))
	}
	return cells(look.Render(mark))
}

// route is the way of a forward, from where it listens past who connects.
func (f *Forwards) route(s background.ForwardStatus) string {
	arrow := " " + f.env.Theme.Glyphs.Arrow + " "
	at := s.At
	if at.IsZero() {
		at = s.Listen
	}
	switch s.Kind {
	case forward.Remote:
		return widget.Clean(at.String() + " at " + s.Alias + arrow + "here" + arrow + s.Forward.Target.String())
	case forward.Dynamic:
		return widget.Clean(at.String() + arrow + s.Alias + "  (SOCKS5)")
	}
	return widget.Clean(at.String() + arrow + s.Alias + arrow + s.Forward.Target.String())
}

// trouble is what is wrong with the forward under the cursor.
func (f *Forwards) trouble() string {
	t, s := f.env.Theme, f.all[f.list.Cursor()]
	text := widget.Clean(describe(s.Err))
	if !s.ErrAt.IsZero() {
		text = s.ErrAt.In(f.env.Now.Location()).Format("15:04:05") + "  " + text
	}
	if hint := session.Hint(s.Err); hint != "" {
		text += ". " + widget.Clean(hint)
	}
	lines := widget.Wrap(text, max(1, f.width-2))
	for i := range lines {
		lines[i] = " " + t.Bad.Render(lines[i])
	}
	return "\n" + strings.Join(lines[:min(len(lines), f.below()-1)], "\n")
}

// SetSize sets the size of the page.
func (f *Forwards) SetSize(w, h int) {
	f.width, f.height = w, h
	if f.form != nil {
		f.form.SetSize(max(0, w-1), max(0, h-2))
	}
}

// Title is that of the page.
func (f *Forwards) Title() string { return "Forwards" }

// Keys are those of the page.
func (f *Forwards) Keys() []key.Binding {
	if f.form != nil {
		return []key.Binding{theme.Bind("add", "enter"), f.env.Keys.Next, theme.Bind("change", " "), f.env.Keys.Back}
	}
	keys := []key.Binding{f.keys.add}
	if i := f.list.Cursor(); i >= 0 {
		keys = append(keys, f.keys.remove)
		if f.all[i].Ended {
			keys = append(keys, f.keys.again)
		}
	}
	return keys
}
