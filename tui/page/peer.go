package page

import (
	"context"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/offers"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Peer is one known peer: who it is, how it is reached, what it offers, and the
// pages for that.
type Peer struct {
	env     Env
	of      Subject
	asking  bool
	err     error // of asking what it offers
	list    widget.List
	actions []Entry
	rename  widget.Field
	sure    key.Binding // what the next press of the same key does without asking
	keys    peerKeys

	width, height int
}

type peerKeys struct{ ask, rename, away, forget key.Binding }

// offered is what a peer offers, or why it doesn't say.
type offered struct {
	of     session.PeerID
	rights []node.Right
	err    error
}

// NewPeer makes the page of a peer. What it offers is asked for unless it is known.
func NewPeer(env Env, of Subject) *Peer {
	p := &Peer{
		env: env, of: of, list: widget.NewList(env.Keys), rename: widget.NewField(env.Theme, "call it"),
		keys: peerKeys{
			ask: theme.Bind("connect and ask", "r"), rename: theme.Bind("rename", "a"), away: theme.Bind("send away", "K"), forget: theme.Bind("forget", "X"),
		},
	}
	p.arrange()
	return p
}

// Init asks what the peer offers, if it is connected.
func (p *Peer) Init() tea.Cmd {
	verb := Send(Verb{"tandem why " + quoteArgument(p.of.Alias())})
	if p.of.Offers == nil && p.of.Peer.Connected {
		return tea.Batch(verb, p.ask())
	}
	return verb
}

// ask dials the peer, if it is not connected, and asks what it offers.
func (p *Peer) ask() tea.Cmd {
	p.asking, p.err = true, nil
	backend, ref, id := p.env.Backend, p.of.Ref(), p.of.Peer.Peer.ID
	return p.env.Run(func(ctx context.Context) tea.Msg {
		list, err := offers.Ask(ctx, node.Bound{Backend: backend, Peer: ref})
		rights := make([]node.Right, 0, len(list))
		for _, o := range list {
			rights = append(rights, node.Right(o))
		}
		return offered{id, rights, err}
	})
}

// arrange lists what can be opened: what the peer offers, or everything while that
// is not known.
func (p *Peer) arrange() {
	p.actions = p.actions[:0]
	for _, e := range p.env.Entries {
		if e.Peer && p.offers(e.Service) {
			p.actions = append(p.actions, e)
		}
	}
	p.list.SetLength(len(p.actions))
}

func (p *Peer) offers(service string) bool {
	if p.of.Offers == nil || service == "" {
		return true
	}
	for _, r := range p.of.Offers {
		if r.Service == service {
			return true
		}
	}
	return false
}

// Captures takes the keys of text while a name is being typed.
func (p *Peer) Captures() Capture {
	if p.rename.Focused() {
		return CaptureText
	}
	return CaptureNone
}

// Update follows the peer, and opens its pages.
func (p *Peer) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case State:
		for _, s := range msg.Peers {
			if s.Peer.ID == p.of.Peer.Peer.ID {
				p.of.Peer = s
			}
		}
	case offered:
		if msg.of != p.of.Peer.Peer.ID {
			return p, nil
		}
		p.asking, p.err = false, msg.err
		if msg.err == nil {
			p.of.Offers = msg.rights
		}
		p.arrange()
		return p, Send(Refresh{})
	case tea.MouseMsg:
		msg.Y -= p.top()
		if p.list.Clicked(msg) {
			return p, p.open(p.list.Cursor())
		}
		p.list.Update(msg)
	case tea.KeyMsg:
		if p.rename.Focused() {
			return p, p.typed(msg)
		}
		return p, p.key(msg)
	}
	return p, nil
}

func (p *Peer) typed(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, p.env.Keys.Back):
		p.rename.Blur()
	case key.Matches(msg, p.env.Keys.Open):
		p.rename.Blur()
		backend, ref, alias := p.env.Backend, p.of.Ref(), strings.TrimSpace(p.rename.Value())
		return p.act("It is called "+alias+" here now.", func(ctx context.Context) error { return backend.Rename(ctx, ref, alias) })
	default:
		p.rename.Update(msg)
	}
	return nil
}

// act does something to the peer and tells how it went.
func (p *Peer) act(done string, do func(ctx context.Context) error) tea.Cmd {
	return p.env.Run(func(ctx context.Context) tea.Msg {
		if err := do(ctx); err != nil {
			return Fail{err}
		}
		return tea.BatchMsg{Send(Refresh{}), Send(Toast{done, Good})}
	})
}

func (p *Peer) key(msg tea.KeyMsg) tea.Cmd {
	sure := key.Matches(msg, p.sure)
	p.sure = key.Binding{}
	backend, ref := p.env.Backend, p.of.Ref()
	switch {
	case key.Matches(msg, p.keys.ask) && !p.asking:
		return p.ask()
	case key.Matches(msg, p.keys.rename):
		p.rename.Set(p.of.Peer.Alias)
		p.rename.Focus()
		return nil
	case key.Matches(msg, p.keys.away):
		if !sure {
			return p.doubt(p.keys.away, "ends its session and takes back what it was granted")
		}
		return p.act(p.of.Alias()+" was sent away.", func(ctx context.Context) error { return backend.Dismiss(ctx, ref) })
	case key.Matches(msg, p.keys.forget):
		if !sure {
			return p.doubt(p.keys.forget, "forgets its key: it needs a new code to come back")
		}
		return tea.Sequence(Send(Back{}), p.act(p.of.Alias()+" is forgotten.", func(ctx context.Context) error { return backend.Forget(ctx, ref) }))
	case key.Matches(msg, p.env.Keys.Open):
		return p.open(p.list.Cursor())
	}
	for i, e := range p.actions {
		if key.Matches(msg, e.Key) {
			return p.open(i)
		}
	}
	p.list.Update(msg)
	return nil
}

// doubt has a key pressed twice.
func (p *Peer) doubt(again key.Binding, what string) tea.Cmd {
	p.sure = again
	return Send(Toast{again.Help().Key + " once more " + what + ".", Warn})
}

func (p *Peer) open(i int) tea.Cmd {
	if i < 0 || i >= len(p.actions) {
		return nil
	}
	return Send(Open{p.actions[i].New(p.env, p.of)})
}

// about is the lines above the list.
func (p *Peer) about() []string {
	t := p.env.Theme
	s := p.of.Peer
	title := t.Title.Render(widget.Clean(p.of.Alias()))
	if n := widget.Clean(s.Peer.Name); n != "" && n != p.of.Alias() {
		title += t.Dim.Render("  calls itself ") + n
	}
	const label = 9
	width := max(20, p.width-2-label)
	path := t.Dim.Render("not connected")
	if s.Connected {
		path = t.Good.Render(t.Glyphs.Live) + " " + describePath(s.Path)
	}
	lines := []string{title}
	lines = append(lines, labelled(t, "words", label, wordLines(s.Words, width))...)
	lines = append(lines, labelled(t, "path", label, []string{path})...)
	if why := widget.Clean(s.Path.WhyNotDirect); why != "" && s.Connected {
		lines = append(lines, labelled(t, "", label, []string{t.Dim.Render(why)})...)
	}
	if p.of.Recorded != node.NotRecorded {
		lines = append(lines, labelled(t, "recorded", label, []string{t.Warn.Render("by them: ") + describeRecorded(p.of.Recorded)})...)
	}
	switch {
	case p.rename.Focused():
		lines = append(lines, p.rename.View(p.width-2))
	case p.asking:
		lines = append(lines, labelled(t, "offers", label, []string{t.Dim.Render("asking" + t.Glyphs.Ellipsis)})...)
	case session.KindOf(p.err) == session.Denied:
		lines = append(lines, labelled(t, "offers", label, []string{"nothing at the moment"})...)
	case p.err != nil:
		lines = append(lines, labelled(t, "offers", label, []string{t.Bad.Render(widget.Clean(describe(p.err)))})...)
	case p.of.Offers != nil:
		rights := describeRights(p.of.Offers)
		if room := max(1, p.height-len(lines)-len(p.actions)-2); len(rights) > room {
			rights = append(rights[:room-1:room-1], widget.Count(len(rights)-room+1, "more right"))
		}
		lines = append(lines, labelled(t, "offers", label, rights)...)
	default:
		lines = append(lines, labelled(t, "offers", label, []string{t.Dim.Render("not asked yet: " + p.keys.ask.Help().Key + " asks")})...)
	}
	return lines
}

func (p *Peer) top() int { return min(len(p.about())+1, max(0, p.height-1)) }

// View shows who it is, and what there is to open.
func (p *Peer) View() string {
	t := p.env.Theme
	about := p.about()
	top := p.top()
	for len(about) < top {
		about = append(about, "")
	}
	lines := make([]string, 0, top+1)
	for _, l := range about[:top] {
		lines = append(lines, widget.Cut(" "+l, p.width, t.Glyphs.Ellipsis))
	}
	p.list.SetSize(p.width, max(0, p.height-top))
	rows := p.list.View(func(i int, selected bool) string {
		e := p.actions[i]
		k, what := widget.Pad(e.Key.Help().Key, 3), e.Title+": "+e.About
		if selected {
			return t.Selected.Render(widget.Pad(widget.Cut(t.Glyphs.Cursor+" "+k+what, p.width, t.Glyphs.Ellipsis), p.width))
		}
		return widget.Cut("  "+t.Key.Render(k)+what, p.width, t.Glyphs.Ellipsis)
	})
	return widget.Fit(strings.Join(append(lines, rows), "\n"), p.width, p.height)
}

// SetSize sets the size of the page.
func (p *Peer) SetSize(w, h int) { p.width, p.height = w, h }

// Title is that of the page.
func (p *Peer) Title() string { return widget.Clean(p.of.Alias()) }

// Keys are those of the page.
func (p *Peer) Keys() []key.Binding {
	if p.rename.Focused() {
		return []key.Binding{p.env.Keys.Open, p.env.Keys.Back}
	}
	var keys []key.Binding
	for _, e := range p.actions {
		keys = append(keys, theme.Bind(strings.ToLower(e.Title), e.Key.Keys()...))
	}
	keys = append(keys, p.keys.ask, p.keys.rename)
	if p.of.Peer.Connected {
		keys = append(keys, p.keys.away)
	}
	return append(keys, p.keys.forget)
}
