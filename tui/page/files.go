package page

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// FilesPage is two folders side by side: one here, one that a peer shares.
type FilesPage struct {
	env   Env
	of    Subject
	panes [2]*pane // here, there
	at    int      // the one with the cursor
	keys  fileKeys

	prompt  widget.Field // what is being typed
	asks    fileAsk
	subject string   // what a prompt or question is about
	victims []string // what is to be deleted
	show    preview
	asking  *background.Status // a copy that has a question
	stages  map[int]background.Stage

	width, height int
}

// fileAsk is what is being typed or asked.
type fileAsk int

const (
	nothing fileAsk = iota
	filtering
	making
	renaming
	moving
	deleting
)

type fileKeys struct {
	swap, parent, copy, rename, move, mkdir, remove, sort, hidden, invert, preview, picture, reload, transfers key.Binding
	transfer                                                                                                   transferKeys
}

// NewFiles makes the page of a peer's files.
func NewFiles(env Env, of Subject) Page {
	var trash string
	if env.Seat.Getenv != nil {
		trash = background.FindTrash(env.Seat.Getenv)
	}
	dir := env.Seat.Dir
	if dir == "" {
		dir = "."
	}
	return NewFilesOf(env, of, background.Local{Trash: trash}, dir, background.Remote{Backend: env.Backend, Peer: of.Ref()})
}

// NewFilesOf makes the page over any two folders.
func NewFilesOf(env Env, of Subject, here background.Folder, dir string, there background.Folder) *FilesPage {
	f := &FilesPage{
		env: env, of: of, at: 1, prompt: widget.NewField(env.Theme, ""), stages: make(map[int]background.Stage),
		keys: fileKeys{
			swap: theme.Bind("other side", "tab", "shift+tab"), parent: theme.Bind("up", "backspace", "left"), copy: theme.Bind("copy", "c", "f5"),
			rename: theme.Bind("rename", "e"), move: theme.Bind("move", "m", "f6"), mkdir: theme.Bind("new folder", "n", "f7"), remove: theme.Bind("delete", "D", "f8"),
			sort: theme.Bind("sort", "s"), hidden: theme.Bind("hidden files", "."), invert: theme.Bind("invert marks", "*"),
			preview: theme.Bind("preview", "v", "f3"), reload: theme.Bind("read again", "r"), picture: theme.Bind("full size", "i"), transfers: theme.Bind("transfers", "T"), transfer: newTransferKeys(),
		},
	}
	f.panes = [2]*pane{newPane(env, here, "here", dir, false), newPane(env, there, of.Alias(), "", true)}
	for _, s := range env.Transfers.List() {
		f.stages[s.ID] = s.Stage
	}
	return f
}

// Init reads both folders.
func (f *FilesPage) Init() tea.Cmd {
	return tea.Batch(f.panes[0].load(f.panes[0].dir, ""), f.panes[1].load("", ""), f.verb())
}

func (f *FilesPage) active() *pane { return f.panes[f.at] }
func (f *FilesPage) other() *pane  { return f.panes[1-f.at] }

// verb shows the command that does the same.
func (f *FilesPage) verb() tea.Cmd {
	there := f.panes[1]
	if there.dir == "" {
		return Send(Verb{"tandem shares " + f.of.Alias()})
	}
	return Send(Verb{fmt.Sprintf("tandem ls %s:%s", f.of.Alias(), shellWord(there.dir))})
}

// Captures takes the keys of text while a name is being typed.
func (f *FilesPage) Captures() Capture {
	if f.prompt.Focused() {
		return CaptureText
	}
	return CaptureNone
}

// Title is that of the page.
func (f *FilesPage) Title() string {
	return widget.Cut(widget.Clean(f.of.Alias()), 24, f.env.Theme.Glyphs.Ellipsis) + " files"
}

// Keys are those that have an effect now.
func (f *FilesPage) Keys() []key.Binding {
	k, keys := f.keys, f.env.Keys
	switch {
	case f.asks == deleting:
		return []key.Binding{theme.Bind("delete to the trash", "y"), theme.Bind("keep", "n", "esc")}
	case f.prompt.Focused():
		return []key.Binding{theme.Bind("do it", "enter"), theme.Bind("cancel", "esc")}
	case f.show.open:
		bindings := []key.Binding{theme.Bind("close", "esc", "v", "q")}
		if f.show.image != nil && f.show.protocol != widget.Cells {
			bindings = append(bindings, f.keys.picture)
		}
		return append(bindings, keys.PageUp, keys.PageDown)
	}
	var bindings []key.Binding
	if f.asking != nil {
		bindings = append(bindings, k.transfer.replace, theme.Bind("keep", "N"), k.transfer.replaceAll)
	}
	bindings = append(bindings, k.swap, keys.Open, keys.Mark, k.copy, k.preview, keys.Filter, k.move, k.rename, k.mkdir, k.remove, k.sort, k.hidden, k.invert, k.reload, k.transfers, k.parent)
	if f.active().filter != "" {
		bindings = append(bindings, theme.Bind("show all", "esc"))
	}
	return bindings
}

// SetSize sets the size of the page.
func (f *FilesPage) SetSize(width, height int) {
	f.width, f.height = width, height
	f.arrange()
}

// both reports whether both folders fit beside each other.
func (f *FilesPage) both() bool { return f.width >= 72 }

// lines is the room for the folders.
func (f *FilesPage) lines() int {
	if f.line() != "" {
		return max(f.height-1, 0)
	}
	return f.height
}

func (f *FilesPage) arrange() {
	width := f.width
	if f.both() {
		width = (f.width - 1) / 2
	}
	f.panes[0].setSize(width, f.lines())
	if f.both() {
		width = f.width - 1 - width
	}
	f.panes[1].setSize(width, f.lines())
	f.show.setSize(f.other().width, f.lines())
	if !f.both() {
		f.show.setSize(f.width, f.lines())
	}
}

// View draws the page.
func (f *FilesPage) View() string {
	if f.width < 1 || f.height < 1 {
		return ""
	}
	f.arrange()
	height := f.lines()
	var body string
	switch {
	case f.both():
		sides := [2]string{f.panes[0].view(f.at == 0, height), f.panes[1].view(f.at == 1, height)}
		if f.show.open {
			sides[1-f.at] = f.show.view(f.env.Theme)
		}
		left, right := strings.Split(sides[0], "\n"), strings.Split(sides[1], "\n")
		for i := range left {
			left[i] += f.env.Theme.Dim.Render(f.env.Theme.Glyphs.Side) + right[i]
		}
		body = strings.Join(left, "\n")
	case f.show.open:
		body = f.show.view(f.env.Theme)
	default:
		body = f.active().view(true, height)
	}
	if line := f.line(); line != "" {
		body += "\n" + line
	}
	return widget.Fit(body, f.width, f.height)
}

// line is what is being typed or asked, below the folders.
func (f *FilesPage) line() string {
	look := f.env.Theme
	label := ""
	switch f.asks {
	case filtering:
		label = "filter"
	case making:
		label = "new folder"
	case renaming:
		label = "new name of " + widget.Clean(f.subject)
	case moving:
		label = "move " + widget.Clean(f.subject) + " to"
	case deleting:
		return look.Warn.Render(widget.Cut(fmt.Sprintf(" Move %s to the trash %s? y, or n", widget.Clean(f.subject), f.where()), f.width, look.Glyphs.Ellipsis))
	default:
		if f.asking != nil {
			return look.Badge.Render(" ? ") + look.Warn.Render(widget.Cut(" "+describeConflict(f.asking.Conflict, f.env.Now)+" y N Y", f.width-4, look.Glyphs.Ellipsis))
		}
		return ""
	}
	label = " " + widget.Cut(label, max(f.width/2, 8), look.Glyphs.Ellipsis) + ": "
	return look.Accent.Render(label) + f.prompt.View(max(f.width-len([]rune(label)), 4))
}

func (f *FilesPage) where() string {
	if f.active().remote {
		return "at " + widget.Clean(f.of.Alias())
	}
	return "here"
}

// Update takes what was read and what the person does.
func (f *FilesPage) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case listed:
		if msg.pane == f.panes[0] || msg.pane == f.panes[1] {
			return f, tea.Batch(msg.pane.take(msg), f.verb())
		}
	case arranged:
		if p := msg.pane; (p == f.panes[0] || p == f.panes[1]) && msg.turn == p.turn {
			p.reorder(msg.order)
		}
	case changed:
		if msg.page == f {
			return f, f.changed(msg)
		}
	case previewed:
		f.show.take(msg)
	case Transferred:
		return f, f.transferred(msg.List)
	case Tick:
		f.env.Now = msg.Now
	case tea.MouseMsg:
		return f, f.mouse(msg)
	case tea.KeyMsg:
		return f, f.key(msg)
	}
	return f, nil
}

// transferred reads folders again into which something has been copied, and
// shows a question.
func (f *FilesPage) transferred(list []background.Status) tea.Cmd {
	var cmds []tea.Cmd
	f.asking = nil
	for _, s := range list {
		was := f.stages[s.ID]
		f.stages[s.ID] = s.Stage
		if s.Peer != f.of.Ref() {
			continue
		}
		if s.Stage == background.Asking && f.asking == nil {
			f.asking = &s
		}
		ended := s.Stage == background.Done || s.Stage == background.Failed || s.Stage == background.Stopped
		if to := f.panes[0]; ended && was != s.Stage && !s.Put && s.To == to.dir {
			cmds = append(cmds, to.load(to.dir, to.name()))
		}
		if to := f.panes[1]; ended && was != s.Stage && s.Put && path.Join(s.Share, s.To) == to.dir {
			cmds = append(cmds, to.load(to.dir, to.name()))
		}
	}
	return tea.Batch(cmds...)
}

// name is the entry under the cursor's, "" if there is none.
func (p *pane) name() string {
	e, _ := p.under()
	return e.Name
}

func (f *FilesPage) mouse(msg tea.MouseMsg) tea.Cmd {
	if f.show.open || f.asks != nothing {
		return nil
	}
	if f.both() {
		side := 0
		if msg.X > f.panes[0].width {
			side = 1
		}
		if side != f.at && msg.Action == tea.MouseActionPress {
			f.at = side
		}
	}
	msg.Y--
	if f.active().list.Clicked(msg) {
		return f.open()
	}
	f.active().list.Update(msg)
	return nil
}

func (f *FilesPage) key(msg tea.KeyMsg) tea.Cmd {
	switch {
	case f.asks == deleting:
		return f.deleteKey(msg)
	case f.prompt.Focused():
		return f.promptKey(msg)
	case f.show.open && key.Matches(msg, f.keys.picture):
		return f.picture()
	case f.show.open:
		f.show.key(msg, f.env.Keys)
		return nil
	}
	p, k := f.active(), f.keys
	if f.asking != nil && (key.Matches(msg, k.transfer.replace) || key.Matches(msg, k.transfer.replaceAll) || msg.String() == "N") {
		d := background.Keep
		if msg.String() != "N" {
			d = background.Replace
			if key.Matches(msg, k.transfer.replaceAll) {
				d = background.ReplaceAll
			}
		}
		f.env.Transfers.Answer(f.asking.ID, d)
		f.asking = nil
		return nil
	}
	switch {
	case key.Matches(msg, k.swap):
		f.at = 1 - f.at
	case key.Matches(msg, f.env.Keys.Open), msg.Type == tea.KeyRight:
		return f.open()
	case key.Matches(msg, k.parent):
		return p.up()
	case key.Matches(msg, f.env.Keys.Mark):
		p.mark()
	case key.Matches(msg, k.invert):
		p.invert()
	case key.Matches(msg, k.copy):
		return f.copy()
	case key.Matches(msg, k.preview):
		return f.preview()
	case key.Matches(msg, k.sort):
		p.by = (p.by + 1) % 3
		return p.arrange()
	case key.Matches(msg, k.hidden):
		p.hidden = !p.hidden
		return p.arrange()
	case key.Matches(msg, k.reload):
		return p.load(p.dir, p.name())
	case key.Matches(msg, k.transfers):
		return Send(Open{NewTransfers(f.env, f.of)})
	case key.Matches(msg, f.env.Keys.Filter):
		f.ask(filtering, "", p.filter)
	case key.Matches(msg, k.mkdir):
		f.ask(making, "", "")
	case key.Matches(msg, k.rename):
		if e, ok := p.under(); ok {
			f.ask(renaming, e.Name, e.Name)
		}
	case key.Matches(msg, k.move):
		if names := p.chosen(); len(names) > 0 {
			f.victims = names
			f.ask(moving, describeItems(background.Job{Items: names}), p.dir)
		}
	case key.Matches(msg, k.remove):
		if names := p.chosen(); len(names) > 0 {
			f.victims, f.asks, f.subject = names, deleting, describeItems(background.Job{Items: names})
		}
	case msg.Type == tea.KeyEsc && p.filter != "":
		p.filter = ""
		return p.arrange()
	default:
		p.list.Update(msg)
	}
	return nil
}

// ask begins a line to be typed.
func (f *FilesPage) ask(what fileAsk, subject, text string) {
	f.asks, f.subject = what, subject
	f.prompt.Set(text)
	f.prompt.Focus()
}

// done ends it.
func (f *FilesPage) done() {
	f.asks, f.subject, f.victims = nothing, "", nil
	f.prompt.Blur()
}

func (f *FilesPage) promptKey(msg tea.KeyMsg) tea.Cmd {
	p := f.active()
	switch {
	case key.Matches(msg, f.env.Keys.Back):
		was := f.asks
		f.done()
		if was == filtering && p.filter != "" {
			p.filter = ""
			return p.arrange()
		}
	case key.Matches(msg, f.env.Keys.Open):
		what, text, subject, names := f.asks, f.prompt.Value(), f.subject, f.victims
		f.done()
		return f.finish(what, text, subject, names)
	case f.asks == filtering && (msg.Type == tea.KeyUp || msg.Type == tea.KeyDown):
		p.list.Update(msg)
	case f.prompt.Update(msg) && f.asks == filtering:
		p.filter = strings.ToLower(f.prompt.Value())
		return p.arrange()
	}
	return nil
}

func (f *FilesPage) deleteKey(msg tea.KeyMsg) tea.Cmd {
	names := f.victims
	switch msg.String() {
	case "y":
		f.done()
		return f.remove(names)
	case "n", "esc":
		f.done()
	}
	return nil
}

var errName = errors.New("a name is one word or more, without / in it")

// open goes into the folder under the cursor, or shows the file.
func (f *FilesPage) open() tea.Cmd {
	p := f.active()
	e, ok := p.under()
	switch {
	case !ok:
		return nil
	case e.Dir:
		return p.load(p.files.Join(p.dir, e.Name), "")
	}
	return f.preview()
}

// changed is what has become of a change to a folder.
type changed struct {
	page   *FilesPage
	pane   *pane
	done   string // for people
	cursor string
	err    error
}

func (f *FilesPage) changed(c changed) tea.Cmd {
	cmds := []tea.Cmd{c.pane.load(c.pane.dir, c.cursor)}
	if c.err != nil {
		cmds = append(cmds, Send(Fail{c.err}))
	} else {
		cmds = append(cmds, Send(Toast{Text: c.done, Level: Good}))
	}
	return tea.Batch(cmds...)
}

// change makes one, and reads the folder again.
func (f *FilesPage) change(verb, cursor string, do func(context.Context) (string, error)) tea.Cmd {
	p := f.active()
	run := f.env.Run(func(ctx context.Context) tea.Msg {
		done, err := do(ctx)
		return changed{f, p, done, cursor, err}
	})
	if verb == "" {
		return run
	}
	return tea.Batch(Send(Verb{verb}), run)
}
