package page

import (
	"context"
	"fmt"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
	"tandem/tui/widget/screen"
)

// TerminalPage is a terminal of a peer's, or one of our own that others are at.
// While the person types, every key but one goes to the program there: ctrl+]
// makes the next key a command of the page.
type TerminalPage struct {
	env   Env
	of    Subject
	name  string // of the terminal; "" is the one that the request's answer names
	view  screen.View
	link  *background.Terminal
	state background.Link
	err   error
	exit  *terminal.Exit

	welcome terminal.Welcome
	roster  terminal.Roster
	infos   []terminal.Info // of the list
	mode    terminalMode
	people  widget.List
	shelf   widget.List
	find    widget.Field
	kick    uint64 // the viewer whose leaving is to be confirmed
	hits    string // where a search is
	copied  string
	watch   bool      // only watching was asked for
	deaf    bool      // a key has just been pressed that goes nowhere
	older   bool      // what was printed before is being asked for
	seeking bool      // a search waits for that
	heard   time.Time // when something last came from the peer
	now     time.Time
	keys    terminalKeys

	width, height int
}

// scrollback is how many lines of what was printed before come first. They come
// ahead of the screen, so they are few; the others come when somebody scrolls back.
const scrollback = 200

// mute is how long nothing may come from a peer before that is told. One that is
// there is heard every few seconds.
const mute = 5 * time.Second

type terminalMode int

const (
	typing    terminalMode = iota
	command                // the next key is the page's
	scrolling              // keys move in what was printed
	finding                // a text to look for is being typed
	looking                // at who is here
	choosing               // another terminal
)

type terminalKeys struct {
	prefix, full, scroll, find, who, ask, redraw, list, paste, again, leave       key.Binding
	cancel, letType, onlyWatch, kick, letBack, pin, newer, older, sel, copy, live key.Binding
	left, right, lineStart, lineEnd                                               key.Binding
}

func newTerminalKeys() terminalKeys {
	return terminalKeys{
		prefix: theme.Bind("commands", "ctrl+]"), full: theme.Bind("full screen", "f"), scroll: theme.Bind("scroll back", "s", "pgup"),
		find: theme.Bind("search", "/"), who: theme.Bind("who is here", "w"), ask: theme.Bind("ask to type", "a"),
		redraw: theme.Bind("redraw", "r"), list: theme.Bind("terminals", "l"), paste: theme.Bind("paste what was copied", "p"),
		again: theme.Bind("attach again", "enter"), leave: theme.Bind("leave", "q", "d"),
		cancel: theme.Bind("back", "esc"), letType: theme.Bind("let type", "t"), onlyWatch: theme.Bind("only watch", "o"),
		kick: theme.Bind("make leave", "K"), letBack: theme.Bind("let back in", "b"), pin: theme.Bind("fix or free the size", "z"),
		newer: theme.Bind("newer", "n"), older: theme.Bind("older", "N"), sel: theme.Bind("select", "v", " "), copy: theme.Bind("copy", "y", "enter"),
		live: theme.Bind("back to now", "esc", "q"), left: theme.Bind("left", "left", "h"), right: theme.Bind("right", "right"),
		lineStart: theme.Bind("line's start", "0"), lineEnd: theme.Bind("line's end", "$"),
	}
}

// NewTerminal makes the page of a peer's terminal.
func NewTerminal(env Env, of Subject) Page {
	t := &TerminalPage{
		env: env, of: of, keys: newTerminalKeys(), people: widget.NewList(env.Keys), shelf: widget.NewList(env.Keys),
		find: widget.NewField(env.Theme, "/"), now: env.Now,
	}
	t.watch = of.Offers != nil && !allows(of.Offers, terminal.ServiceName, string(terminal.Control)) && of.Ref() != node.Own
	t.view = screen.View{
		Screen: terminal.NewScreen(terminal.Size{Cols: 80, Rows: 24}), Profile: env.Theme.Profile, ASCII: env.Theme.ASCII, Plain: env.Theme.Plain, Focused: true,
	}
	return t
}

// allows reports whether rights allow an action of a service.
func allows(rights []node.Right, service, action string) bool {
	for _, r := range rights {
		if r.Service != service {
			continue
		}
		for _, a := range r.Actions {
			if a == action {
				return true
			}
		}
	}
	return false
}

// The messages of a page's own work say whose they are: every page gets them.
type (
	terminalNews struct {
		link  *background.Terminal
		batch background.Batch
	}
	terminalList struct {
		page  *TerminalPage
		infos []terminal.Info
		err   error
	}
	terminalBack struct { // from full screen
		page *TerminalPage
		text string
		err  error
	}
)

// Init attaches.
func (t *TerminalPage) Init() tea.Cmd { return tea.Batch(t.attach(), t.verb()) }

// verb shows the command that does the same.
func (t *TerminalPage) verb() tea.Cmd {
	text := "tandem shell " + t.of.Alias()
	if name := t.terminal(); name != terminal.DefaultName {
		text += ":" + name
	}
	if t.watch {
		text += " --view"
	}
	return Send(Verb{text})
}

// terminal is the name of the terminal.
func (t *TerminalPage) terminal() string {
	switch {
	case t.welcome.Name != "":
		return t.welcome.Name
	case t.name != "":
		return t.name
	}
	return terminal.DefaultName
}

// bound opens streams to the peer.
func (t *TerminalPage) bound() node.Bound {
	return node.Bound{Backend: t.env.Backend, Peer: t.of.Ref()}
}

func (t *TerminalPage) request() terminal.Request {
	r := terminal.Request{Right: terminal.Control}
	if t.watch {
		r.Right = terminal.View
	}
	if t.of.Ref() == node.Own {
		r.Name = t.name
	} else {
		r.Named = t.name
	}
	if t.env.Seat.Getenv != nil {
		r.Inherit(t.env.Seat.Getenv, true)
	}
	r.Size = t.room()
	return r
}

// attach begins an attachment, and the one that takes what comes.
func (t *TerminalPage) attach() tea.Cmd {
	r := t.request()
	r.Term, r.History = "xterm-256color", scrollback // what screen draws
	link := background.NewTerminal(t.bound().Open, r)
	t.link, t.state, t.err, t.exit = link, background.Opening, nil, nil
	t.view.Screen = terminal.NewScreen(t.view.Screen.Size()) // what was printed comes again
	t.welcome, t.roster, t.mode, t.kick, t.older = terminal.Welcome{}, terminal.Roster{}, typing, 0, false
	t.view.Live()
	return tea.Batch(t.env.Run(func(ctx context.Context) tea.Msg {
		link.Run(ctx)
		return nil
	}), t.next(link))
}

func (t *TerminalPage) next(link *background.Terminal) tea.Cmd {
	return t.env.Run(func(ctx context.Context) tea.Msg {
		if b, ok := link.Next(ctx); ok {
			return terminalNews{link, b}
		}
		return nil
	})
}

// Close detaches.
func (t *TerminalPage) Close() tea.Cmd {
	t.link.Close()
	return nil
}

// SetSize gives the terminal its room.
func (t *TerminalPage) SetSize(width, height int) {
	t.width, t.height = width, height
	t.arrange()
	if t.link != nil {
		t.link.Resize(t.room())
	}
}

// room is the size of terminal that fits the page.
func (t *TerminalPage) room() terminal.Size {
	if t.width < 1 || t.height < 2 {
		return terminal.Size{}
	}
	return terminal.Size{Cols: uint16(min(t.width, terminal.MaxSize)), Rows: uint16(min(t.height-1, terminal.MaxSize))}
}

// Title is the terminal's name.
func (t *TerminalPage) Title() string {
	if t.hosts() {
		return "My terminal"
	}
	return widget.Cut(widget.Clean(t.of.Alias()), 24, t.env.Theme.Glyphs.Ellipsis) + " terminal"
}

// mayType reports whether what is typed has an effect.
func (t *TerminalPage) mayType() bool {
	return t.state == background.Attached && t.self().Right == terminal.Control
}

// self is this viewer in the roster; what the welcome says until there is one.
func (t *TerminalPage) self() terminal.Viewer {
	for _, v := range t.roster.Viewers {
		if v.Viewer == t.welcome.Viewer {
			return v
		}
	}
	return terminal.Viewer{Viewer: t.welcome.Viewer, Right: t.welcome.Right}
}

// hosts reports whether this is our own terminal.
func (t *TerminalPage) hosts() bool { return t.of.Ref() == node.Own }

// Captures takes every key while the person may think that it goes to the terminal,
// whether or not it does: none must then do something else.
func (t *TerminalPage) Captures() Capture {
	switch {
	case t.mode == finding:
		return CaptureText
	case t.mode == typing && t.state != background.Over:
		return CaptureAll
	}
	return CaptureNone
}

// Keys are those that have an effect now.
func (t *TerminalPage) Keys() []key.Binding {
	k, keys := t.keys, t.env.Keys
	switch t.mode {
	case scrolling:
		bindings := []key.Binding{k.live, k.sel, k.copy, k.find, keys.PageUp, keys.PageDown, keys.Up, keys.Down, k.left, k.right, k.lineStart, k.lineEnd, keys.Top, keys.Bottom}
		if t.view.Query() != "" {
			bindings = append([]key.Binding{k.older, k.newer}, bindings...)
		}
		return bindings
	case finding:
		return []key.Binding{theme.Bind("search", "enter"), k.cancel}
	case looking:
		bindings := []key.Binding{k.cancel}
		if t.hosts() {
			bindings = append(bindings, k.letType, k.onlyWatch, k.kick, k.letBack, k.pin)
		} else {
			bindings = append(bindings, k.ask)
		}
		return bindings
	case choosing:
		return []key.Binding{k.cancel, keys.Open}
	case typing:
		switch t.state {
		case background.Opening:
			return []key.Binding{k.cancel, k.prefix}
		case background.Attached, background.Lost:
			return []key.Binding{k.prefix}
		case background.Over:
		}
	}
	var bindings []key.Binding
	if t.state == background.Over {
		bindings = append(bindings, k.again)
	} else if t.state == background.Attached && !t.mayType() {
		bindings = append(bindings, k.ask)
	}
	bindings = append(bindings, k.full, k.scroll, k.find, k.who, k.list, k.redraw)
	if t.copied != "" && t.mayType() {
		bindings = append(bindings, k.paste)
	}
	bindings = append(bindings, k.leave)
	if t.mode == command {
		bindings = append(bindings, theme.Bind("type ctrl+]", "ctrl+]"), k.cancel)
	}
	return bindings
}

// Update takes what comes from the terminal and from the person.
func (t *TerminalPage) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case terminalNews:
		if msg.link == t.link {
			return t, t.take(msg.batch)
		}
	case terminalList:
		if msg.page == t {
			return t, t.listed(msg)
		}
	case terminalBack:
		if msg.page == t {
			return t, t.returned(msg)
		}
	case State:
		for _, p := range msg.Peers {
			if p.Peer.ID == t.of.Peer.Peer.ID && p.Connected {
				t.heard = p.Path.Heard
			}
		}
	case Tick:
		t.now = msg.Now
	case tea.KeyMsg:
		t.deaf = false
		return t, t.key(msg)
	case tea.MouseMsg:
		return t, t.mouse(msg)
	}
	return t, nil
}

// take follows what has happened at the terminal.
func (t *TerminalPage) take(b background.Batch) tea.Cmd {
	was := t.state
	t.state, t.err = b.Link, b.Err
	cmds := []tea.Cmd{t.next(t.link)}
	for _, e := range b.Events {
		t.view.Screen.Follow(e)
		switch e := e.(type) {
		case terminal.Welcome:
			t.welcome, t.roster, t.older = e, terminal.Roster{}, false
			if was == background.Lost {
				cmds = append(cmds, Send(Toast{Text: "Attached again.", Level: Good}))
			}
			cmds = append(cmds, t.verb())
		case terminal.Roster:
			cmds = append(cmds, t.met(e))
		case terminal.History:
			cmds = append(cmds, t.turned())
		case terminal.Typing:
			t.roster.Typist = uint64(e)
		case terminal.Exit:
			t.exit = &e
		}
	}
	if t.state == background.Over && session.KindOf(t.err) == session.Denied && !t.watch && t.welcome.Viewer == 0 {
		t.watch = true // we may at least watch, perhaps
		return tea.Batch(t.attach(), t.verb())
	}
	return tea.Batch(cmds...)
}

// met compares who is here with who was, and says what matters to the person.
func (t *TerminalPage) met(r terminal.Roster) tea.Cmd {
	old := t.self()
	t.roster = r
	t.people.SetLength(len(r.Viewers))
	now := t.self()
	switch {
	case old.Viewer == 0:
	case old.Right != now.Right && now.Right == terminal.Control:
		return Send(Toast{Text: "The host lets you type.", Level: Good})
	case old.Right != now.Right:
		return Send(Toast{Text: "The host lets you watch only.", Level: Warn})
	case old.Asks != 0 && now.Asks == 0:
		return Send(Toast{Text: "The host does not let you type.", Level: Warn})
	}
	return nil
}

// turn asks for what was printed before what is here.
func (t *TerminalPage) turn() {
	if before, ok := t.view.Screen.Older(); ok && !t.older {
		t.older = true
		t.link.Page(before)
	}
}

// turned goes on asking, as a page is not all that there is, and then searches it.
func (t *TerminalPage) turned() tea.Cmd {
	if !t.older {
		return nil // it came by itself
	}
	t.older = false
	t.turn()
	switch {
	case t.older:
	case t.seeking:
		return t.search()
	case t.mode == scrolling && t.view.Query() != "":
		t.hits = fmt.Sprintf("%d found", t.view.Found())
	}
	return nil
}

// silence is how long nothing has come from the peer, if that is long.
func (t *TerminalPage) silence() time.Duration {
	if quiet := t.now.Sub(t.heard); !t.heard.IsZero() && quiet >= mute && t.state == background.Attached && !t.hosts() {
		return quiet
	}
	return 0
}

// list asks which terminals there are.
func (t *TerminalPage) list() tea.Cmd {
	open := t.bound().Open
	return t.env.Run(func(ctx context.Context) tea.Msg {
		infos, err := terminal.List(ctx, open, "")
		return terminalList{t, infos, err}
	})
}

func (t *TerminalPage) listed(l terminalList) tea.Cmd {
	if l.err != nil {
		return Send(Fail{l.err})
	}
	t.infos = l.infos
	t.shelf.SetLength(len(l.infos) + 1) // and a new one
	return nil
}

// change does something to our own terminal.
func (t *TerminalPage) change(do terminal.Do, verb, done string) tea.Cmd {
	open, name := t.bound().Open, t.terminal()
	return tea.Batch(Send(Verb{verb}), t.env.Run(func(ctx context.Context) tea.Msg {
		if _, err := terminal.Change(ctx, open, name, do); err != nil {
			return Fail{err}
		}
		return Toast{Text: done, Level: Good}
	}))
}

// who names a viewer as the roster does.
func (t *TerminalPage) who(v terminal.Viewer) string {
	return terminal.Who(session.Peer{ID: v.Peer, Name: v.Name}, node.Words)
}

// seat names a viewer for the verbs.
func (t *TerminalPage) seat(v terminal.Viewer) string {
	return fmt.Sprintf("%s/%d", widget.Clean(t.terminal()), v.Viewer)
}
