package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/background"
	"tandem/tui/widget/screen"
)

func (t *TerminalPage) key(msg tea.KeyMsg) tea.Cmd {
	switch t.mode {
	case scrolling:
		return t.scrollKey(msg)
	case finding:
		return t.findKey(msg)
	case looking:
		return t.peopleKey(msg)
	case choosing:
		return t.shelfKey(msg)
	case command:
		t.mode = typing
		if key.Matches(msg, t.keys.prefix) {
			return t.send(msg)
		}
		return t.command(msg)
	}
	switch {
	case t.state == background.Over:
		return t.command(msg)
	case key.Matches(msg, t.keys.prefix):
		t.mode = command
	case t.mayType():
		return t.send(msg)
	case t.state == background.Opening && key.Matches(msg, t.keys.cancel):
		return Send(Back{})
	default:
		t.deaf = true
	}
	return nil
}

// send types a key.
func (t *TerminalPage) send(msg tea.KeyMsg) tea.Cmd {
	return t.typed(screen.AppendKey(nil, msg, t.view.Screen.Modes()))
}

func (t *TerminalPage) typed(p []byte) tea.Cmd {
	if len(p) > 0 && t.mayType() && !t.link.Type(p) {
		return Send(Toast{Text: "The program there doesn't read; what you typed is dropped.", Level: Warn})
	}
	return nil
}

// command does what a key is for after the prefix, or while there is nothing to
// type into.
func (t *TerminalPage) command(msg tea.KeyMsg) tea.Cmd {
	switch k := t.keys; {
	case key.Matches(msg, k.full):
		return t.fullScreen()
	case key.Matches(msg, k.scroll):
		t.mode = scrolling
		t.turn()
		t.view.Scroll(-max(t.height/2, 1))
		if !t.view.Back() {
			t.view.Move(0, 0)
		}
	case key.Matches(msg, k.find):
		t.seek()
	case key.Matches(msg, k.who):
		t.mode, t.kick = looking, 0
		t.arrange()
		if t.hosts() {
			return t.list()
		}
	case key.Matches(msg, k.list):
		t.mode = choosing
		t.arrange()
		return t.list()
	case key.Matches(msg, k.ask):
		return t.ask()
	case key.Matches(msg, k.redraw):
		t.link.Redraw()
	case key.Matches(msg, k.paste):
		return t.typed(screen.AppendPaste(nil, t.copied, t.view.Screen.Modes()))
	case key.Matches(msg, k.again) && t.state == background.Over:
		return t.attach()
	case key.Matches(msg, k.leave):
		return Send(Back{})
	}
	return nil
}

func (t *TerminalPage) ask() tea.Cmd {
	switch {
	case t.state != background.Attached:
		return nil
	case t.self().Right == terminal.Control:
		return Send(Toast{Text: "You may type already."})
	}
	t.link.Ask()
	return Send(Toast{Text: "Asked the host to let you type."})
}

func (t *TerminalPage) seek() {
	t.mode = finding
	t.turn()
	t.find.Set("")
	t.find.Focus()
	t.arrange()
}

func (t *TerminalPage) scrollKey(msg tea.KeyMsg) tea.Cmd {
	keys, page := t.env.Keys, max(t.height-2, 1)
	switch k := t.keys; {
	case key.Matches(msg, k.copy) && t.view.Selecting():
		return t.copy()
	case key.Matches(msg, k.live), key.Matches(msg, k.copy):
		if t.view.Selecting() {
			t.view.Select()
			return nil
		}
		t.view.Live()
		t.view.Search("")
		t.mode, t.hits = typing, ""
	case key.Matches(msg, k.sel):
		t.view.Select()
	case key.Matches(msg, k.find):
		t.seek()
	case key.Matches(msg, k.older):
		t.found(t.view.Next(true))
	case key.Matches(msg, k.newer):
		t.found(t.view.Next(false))
	case key.Matches(msg, keys.Up):
		t.view.Move(0, -1)
	case key.Matches(msg, keys.Down):
		t.view.Move(0, 1)
	case key.Matches(msg, keys.PageUp):
		t.view.Move(0, -page)
	case key.Matches(msg, keys.PageDown):
		t.view.Move(0, page)
	case key.Matches(msg, k.left):
		t.view.Move(-1, 0)
	case key.Matches(msg, k.right):
		t.view.Move(1, 0)
	case key.Matches(msg, k.lineStart):
		t.view.Edge(-1, 0)
	case key.Matches(msg, k.lineEnd):
		t.view.Edge(1, 0)
	case key.Matches(msg, keys.Top):
		t.view.Edge(0, -1)
	case key.Matches(msg, keys.Bottom):
		t.view.Edge(0, 1)
	}
	return nil
}

func (t *TerminalPage) found(n, of int) { t.hits = fmt.Sprintf("%d of %d", n, of) }

// copy gives the selection to the person's own terminal, and keeps it.
func (t *TerminalPage) copy() tea.Cmd {
	text := t.view.Selected()
	t.copied = text
	t.view.Select()
	t.view.Live()
	t.mode = typing
	write := t.env.Seat.Write
	return t.env.Run(func(context.Context) tea.Msg {
		what := fmt.Sprintf("Copied %d characters", len([]rune(text)))
		if write == nil || write([]byte(ansi.SetSystemClipboard(text))) != nil {
			return Toast{Text: what + "; ctrl+] p pastes them here.", Level: Good}
		}
		return Toast{Text: what + ", also to your terminal's clipboard if it takes them (OSC 52).", Level: Good}
	})
}

func (t *TerminalPage) search() tea.Cmd {
	t.seeking = false
	t.find.Blur()
	t.mode = scrolling
	t.arrange()
	n := t.view.Search(t.find.Value())
	t.hits = fmt.Sprintf("%d found", n)
	if !t.view.Back() {
		t.mode, t.hits = typing, ""
		return Send(Toast{Text: "Nothing like that has been printed.", Level: Warn})
	}
	return nil
}

func (t *TerminalPage) findKey(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, t.env.Keys.Open) && t.older && !t.seeking:
		t.seeking = true // in all of it
	case key.Matches(msg, t.env.Keys.Open):
		return t.search()
	case key.Matches(msg, t.keys.cancel):
		t.seeking = false
		t.find.Blur()
		t.mode = typing
		if t.view.Back() {
			t.mode = scrolling
		}
		t.arrange()
	default:
		t.find.Update(msg)
	}
	return nil
}

func (t *TerminalPage) peopleKey(msg tea.KeyMsg) tea.Cmd {
	k := t.keys
	v := terminal.Viewer{}
	if i := t.people.Cursor(); i >= 0 && i < len(t.roster.Viewers) {
		v = t.roster.Viewers[i]
	}
	kick := t.kick
	t.kick = 0
	switch {
	case key.Matches(msg, k.cancel), msg.String() == "q":
		t.mode = typing
		t.arrange()
	case t.people.Update(msg):
	case !t.hosts() && key.Matches(msg, k.ask):
		return t.ask()
	case !t.hosts() || v.Viewer == 0:
	case key.Matches(msg, k.letType):
		return t.change(terminal.Do{What: terminal.DoRight, Viewer: v.Viewer, Right: terminal.Control}, "tandem shells --let-type "+t.seat(v), t.who(v)+" may type.")
	case key.Matches(msg, k.onlyWatch) && v.Viewer == t.welcome.Viewer:
		return Send(Toast{Text: "That is this window.", Level: Warn})
	case key.Matches(msg, k.onlyWatch):
		return t.change(terminal.Do{What: terminal.DoRight, Viewer: v.Viewer, Right: terminal.View}, "tandem shells --only-watch "+t.seat(v), t.who(v)+" may only watch.")
	case key.Matches(msg, k.kick) && v.Host:
		return Send(Toast{Text: "That is a window of your own.", Level: Warn})
	case key.Matches(msg, k.kick) && kick == v.Viewer:
		return tea.Sequence(t.change(terminal.Do{What: terminal.DoKick, Viewer: v.Viewer}, "tandem shells --kick "+t.seat(v), t.who(v)+" has left, and is kept out."), t.list())
	case key.Matches(msg, k.kick):
		t.kick = v.Viewer
		return Send(Toast{Text: "K again makes " + t.who(v) + " leave, and keeps them out.", Level: Warn})
	case key.Matches(msg, k.letBack):
		return t.letBack()
	case key.Matches(msg, k.pin):
		return t.pin()
	}
	return nil
}

// letBack lets everybody in again who is kept out.
func (t *TerminalPage) letBack() tea.Cmd {
	var cmds []tea.Cmd
	for _, p := range t.keptOut() {
		cmds = append(cmds, t.change(terminal.Do{What: terminal.DoLetBack, Peer: p.ID}, "tandem shells --let-back "+p.ID.Short(), terminal.Who(p, node.Words)+" may come back."))
	}
	if len(cmds) == 0 {
		return Send(Toast{Text: "Nobody is kept out."})
	}
	return tea.Sequence(append(cmds, t.list())...)
}

// keptOut are those whom the host has made leave.
func (t *TerminalPage) keptOut() []session.Peer {
	for _, i := range t.infos {
		if i.Name == t.terminal() {
			return i.KeptOut
		}
	}
	return nil
}

// pin fixes the terminal's size as it is, or frees it.
func (t *TerminalPage) pin() tea.Cmd {
	name := t.terminal()
	if t.roster.Pinned {
		return t.change(terminal.Do{What: terminal.DoPin}, "tandem shells --unpin "+name, "The size follows the smallest window of those who type.")
	}
	s := t.view.Screen.Size()
	return t.change(terminal.Do{What: terminal.DoPin, Size: s}, fmt.Sprintf("tandem shells --pin %s=%dx%d", name, s.Cols, s.Rows),
		fmt.Sprintf("The size stays at %d by %d.", s.Cols, s.Rows))
}

func (t *TerminalPage) shelfKey(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, t.keys.cancel), msg.String() == "q":
		t.mode = typing
		t.arrange()
	case key.Matches(msg, t.env.Keys.Open):
		i := t.shelf.Cursor()
		if i < 0 {
			return nil
		}
		name := newTerminalName(t.infos)
		if i < len(t.infos) {
			name = t.infos[i].Name
		}
		t.mode = typing
		t.arrange()
		if name == t.terminal() && t.state == background.Attached {
			return nil
		}
		t.link.Close()
		t.name = name
		if name == terminal.DefaultName {
			t.name = ""
		}
		return tea.Batch(t.attach(), t.verb())
	default:
		t.shelf.Update(msg)
	}
	return nil
}

// newTerminalName is the first name that none of them has.
func newTerminalName(infos []terminal.Info) string {
	for n := 2; ; n++ {
		name, free := fmt.Sprintf("shell-%d", n), true
		for _, i := range infos {
			free = free && i.Name != name
		}
		if free {
			return name
		}
	}
}

func (t *TerminalPage) mouse(msg tea.MouseMsg) tea.Cmd {
	switch t.mode {
	case looking, choosing:
		msg.Y--
		if t.mode == looking {
			t.people.Update(msg)
		} else {
			t.shelf.Update(msg)
		}
		return nil
	case finding:
		return nil
	}
	y, modes := msg.Y-1, t.view.Screen.Modes()
	if y < 0 {
		return nil
	}
	wheel := msg.Button == tea.MouseButtonWheelUp || msg.Button == tea.MouseButtonWheelDown
	if t.mode == typing && t.mayType() {
		if modes.Mouse != 0 {
			col, row := t.view.Cell(msg.X, y)
			return t.typed(screen.AppendMouse(nil, msg, col, row, modes))
		}
		if p := screen.AppendWheel(nil, msg, modes); wheel && len(p) > 0 {
			return t.typed(p)
		}
	}
	switch {
	case msg.Button == tea.MouseButtonWheelUp:
		t.view.Scroll(-3)
		t.turn()
	case msg.Button == tea.MouseButtonWheelDown:
		t.view.Scroll(3)
	case msg.Button == tea.MouseButtonLeft && msg.Action == tea.MouseActionPress:
		if t.view.Back() {
			t.view.Place(msg.X, y, false)
		}
	case msg.Button == tea.MouseButtonLeft && msg.Action == tea.MouseActionMotion:
		if !t.view.Back() {
			t.view.Place(msg.X, y, false)
		}
		t.view.Place(msg.X, y, true)
	case msg.Action == tea.MouseActionRelease && t.view.Selecting():
		return t.copy()
	}
	if t.view.Back() {
		t.mode = scrolling
	} else if t.mode == scrolling {
		t.mode = typing
	}
	return nil
}

// fullScreen hands the whole window to the terminal, as `tandem shell` does.
func (t *TerminalPage) fullScreen() tea.Cmd {
	t.link.Close() // two of our windows would make the terminal as small as the smaller
	seat, request, open := t.env.Seat, t.request(), t.bound().Open
	request.Size, request.History = terminal.Size{}, terminal.PersonHistory
	// The name that we are at, by whatever way we came to it.
	if name := t.terminal(); t.hosts() {
		request.Name = name
	} else if name != terminal.DefaultName {
		request.Named = name
	}
	return t.env.Run(func(ctx context.Context) tea.Msg {
		result := new(terminal.Result)
		return Exec{
			Command: &onTerminal{run: func(tty terminal.TTY) (err error) {
				options := seat.Attach
				notices := make(chan string, 1)
				notices <- "full screen: Enter ~ . goes back to tandem's window, Enter ~ ? shows more"
				options.Notices = notices
				options.Words = node.Words
				*result, err = terminal.Run(ctx, open, request, tty, options)
				return err
			}},
			Done: func(err error) tea.Msg { return terminalBack{page: t, text: result.Farewell(), err: err} },
		}
	})
}

func (t *TerminalPage) returned(b terminalBack) tea.Cmd {
	cmds := []tea.Cmd{t.attach()}
	if b.err != nil {
		cmds = append(cmds, Send(Fail{b.err}))
	} else if b.text != "" {
		cmds = append(cmds, Send(Toast{Text: b.text}))
	}
	return tea.Batch(cmds...)
}

// onTerminal is a tea.ExecCommand that needs the terminal itself.
type onTerminal struct {
	run func(terminal.TTY) error
	tty terminal.TTY
}

// SetStdin takes the file that input comes from.
func (o *onTerminal) SetStdin(r io.Reader) { o.tty.In, _ = r.(*os.File) }

// SetStdout takes the file that is the terminal.
func (o *onTerminal) SetStdout(w io.Writer) { o.tty.Out, _ = w.(*os.File) }

// SetStderr is not needed.
func (o *onTerminal) SetStderr(io.Writer) {}

// Run hands the terminal over.
func (o *onTerminal) Run() error {
	if o.tty.In == nil || o.tty.Out == nil {
		return &session.Error{Op: "full screen", Kind: session.Unsupported, Err: errors.New("this window is no terminal")}
	}
	return o.run(o.tty)
}
