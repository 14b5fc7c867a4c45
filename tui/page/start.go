package page

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Start is the form that a session begins with: what is shared, and with whom.
type Start struct {
	env  Env
	form widget.Form

	terminal, typing, program     *widget.Item
	record                        *widget.Item
	folder, changing, executables *widget.Item
	ports                         *widget.Item
	uses, expires, approve        *widget.Item

	starting bool
	begin    key.Binding

	width, height int
}

// The lifetimes that an invite can have.
var lifetimes = []struct {
	name string
	time time.Duration
}{{"10 min", 10 * time.Minute}, {"1 h", time.Hour}, {"8 h", 8 * time.Hour}, {"24 h", 24 * time.Hour}}

// recordings are what can be chosen about the recording of a terminal.
var recordings = []struct {
	how  node.Recorded
	name string
	flag string
}{
	{node.NotRecorded, "off", ""},
	{node.RecordedMaybe, "on", " --record"},
	{node.RecordedOrNothing, "required", " --record=required"},
}

// maxUses is how many guests one invite may let in, as for `tandem share --uses`.
const maxUses = 1000

// started is a session that has begun, or why it hasn't.
type started struct {
	of     *Start
	status node.ShareStatus
	err    error
}

// NewStart makes the form.
func NewStart(env Env) *Start {
	t := env.Theme
	s := &Start{
		env:         env,
		terminal:    widget.ChoiceItem("terminal", "", "share one", "no"),
		typing:      widget.ChoiceItem("guests", "", "watch and type", "only watch"),
		program:     widget.TextItem(t, "program", "", "your shell", "empty is your shell, and any program; else this one only"),
		record:      widget.ChoiceItem("recording", ""),
		folder:      widget.TextItem(t, "folder", "", "none", "a folder to share, such as . or ~/project"),
		changing:    widget.ChoiceItem("guests", "", "only read", "read and change"),
		executables: widget.ChoiceItem("executables", "", "no", "guests may put some"),
		ports:       widget.TextItem(t, "ports", "", "none", "what guests may connect to from here: localhost:8080 10.0.0.0/8:*"),
		uses:        widget.TextItem(t, "how many", "1", "1", "how many guests may join with the code"),
		expires:     widget.ChoiceItem("code lasts", ""),
		approve:     widget.ChoiceItem("who lets in", "", "I do, each time", "whoever has the code"),
		begin:       theme.Bind("start", "enter"),
	}
	for _, l := range lifetimes {
		s.expires.Options = append(s.expires.Options, l.name)
	}
	for _, r := range recordings {
		s.record.Options = append(s.record.Options, r.name)
	}
	noTerminal := func() bool { return s.terminal.Chosen != 0 }
	noFolder := func() bool { return s.folder.Value() == "" }
	s.typing.Hidden, s.program.Hidden, s.record.Hidden, s.changing.Hidden = noTerminal, noTerminal, noTerminal, noFolder
	s.executables.Hidden = func() bool { return noFolder() || s.changing.Chosen == 0 }
	s.form = widget.NewForm(t, env.Keys, s.terminal, s.typing, s.program, s.record, s.folder, s.changing, s.executables, s.ports, s.uses, s.expires, s.approve)
	return s
}

// Init does nothing.
func (s *Start) Init() tea.Cmd { return nil }

// Captures takes the keys of text.
func (s *Start) Captures() Capture { return CaptureText }

// Update fills in the form, and starts the session.
func (s *Start) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case started:
		if msg.of != s {
			return s, nil
		}
		s.starting = false
		if msg.err != nil {
			return s, Send(Fail{msg.err})
		}
		return s, tea.Batch(Send(Replace{NewInvite(s.env, msg.status)}), Send(Refresh{}))
	case tea.MouseMsg:
		msg.Y -= 2
		if !s.starting {
			s.form.Update(msg)
		}
	case tea.KeyMsg:
		switch {
		case key.Matches(msg, s.env.Keys.Back):
			return s, Send(Back{})
		case s.starting:
		case key.Matches(msg, s.begin):
			return s, s.start()
		default:
			s.form.Update(msg)
		}
	}
	return s, nil
}

// start checks the answers and asks the node for the session.
func (s *Start) start() tea.Cmd {
	share, wrong := s.share()
	if wrong != nil {
		s.form.FocusOn(wrong)
		return nil
	}
	s.starting = true
	backend, of := s.env.Backend, s
	return s.env.Run(func(ctx context.Context) tea.Msg {
		for i, f := range share.Folders {
			dir, err := expand(f.Dir)
			if err != nil {
				return started{of: of, err: err}
			}
			share.Folders[i].Dir = dir
		}
		status, err := backend.StartShare(ctx, share)
		return started{of, status, err}
	})
}

// expand makes a folder as people type it absolute: the node may run elsewhere.
func expand(dir string) (string, error) {
	if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, rest)
	}
	return filepath.Abs(dir)
}

// share is what the form says, or the item that is wrong.
func (s *Start) share() (node.Share, *widget.Item) {
	share := node.Share{Expires: lifetimes[s.expires.Chosen].time, Always: s.approve.Chosen == 1}
	if s.terminal.Chosen == 0 {
		share.Terminal, share.ViewOnly = true, s.typing.Chosen == 1
		share.Command = strings.Fields(s.program.Value())
		share.Record = recordings[s.record.Chosen].how
	}
	if dir := s.folder.Value(); dir != "" {
		write := s.changing.Chosen == 1
		share.Folders = []node.Folder{{Dir: dir, Write: write, Executables: write && s.executables.Chosen == 1}}
	}
	share.Forward = strings.FieldsFunc(s.ports.Value(), func(r rune) bool { return r == ' ' || r == ',' })
	uses, err := strconv.Atoi(cmp.Or(s.uses.Value(), "1"))
	if err != nil || uses < 1 || uses > maxUses {
		s.uses.Wrong = "a number from 1 to 1000"
		return share, s.uses
	}
	share.Uses = uses
	if !share.Terminal && len(share.Folders)+len(share.Forward) == 0 {
		s.terminal.Wrong = "nothing is shared yet"
		return share, s.terminal
	}
	return share, nil
}

// Verb is the command that starts the same session.
func (s *Start) Verb() string {
	verb := "tandem share"
	if s.folder.Value() != "" {
		verb += " " + quoteArgument(s.folder.Value())
		if s.changing.Chosen == 1 {
			verb += " --write"
			if s.executables.Chosen == 1 {
				verb += " --executables"
			}
		}
	}
	if s.terminal.Chosen == 0 {
		verb += " --terminal"
		if s.typing.Chosen == 1 {
			verb += " --view-only"
		}
		verb += recordings[s.record.Chosen].flag
	}
	for _, p := range strings.Fields(s.ports.Value()) {
		verb += " --forward " + quoteArgument(p)
	}
	if v := s.uses.Value(); v != "1" && v != "" {
		verb += " --uses " + quoteArgument(v)
	}
	if s.expires.Chosen > 0 {
		verb += " --expires " + strings.TrimSuffix(strings.TrimSuffix(lifetimes[s.expires.Chosen].time.String(), "0s"), "0m")
	}
	if s.approve.Chosen == 1 {
		verb += " --approve always"
	}
	if p := s.program.Value(); p != "" && s.terminal.Chosen == 0 {
		verb += " -- " + p
	}
	return verb
}

// quoteArgument quotes what a shell would take apart.
func quoteArgument(s string) string {
	if strings.ContainsAny(s, " \t'\"\\$&|;<>()*?[]#~`!{}") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// View shows the form.
func (s *Start) View() string {
	t := s.env.Theme
	last := t.Dim.Render("tab moves, space changes. Nobody gets in before you say so.")
	switch {
	case s.starting:
		last = t.Accent.Render("Starting" + t.Glyphs.Ellipsis + " a server gives it a number.")
	case s.approve.Chosen == 1:
		last = t.Warn.Render("Whoever has the code comes in without a question.")
	}
	lines := []string{" " + t.Title.Render("What do you share?"), "", s.form.View(), "", " " + last}
	return widget.Fit(strings.Join(lines, "\n"), s.width, s.height)
}

// SetSize sets the size of the page.
func (s *Start) SetSize(w, h int) {
	s.width, s.height = w, h
	s.form.SetSize(max(0, w-1), max(1, min(10, h-4)))
}

// Title is that of the page.
func (s *Start) Title() string { return "New session" }

// Keys are those of the page.
func (s *Start) Keys() []key.Binding {
	return []key.Binding{s.begin, s.env.Keys.Next, theme.Bind("change", " "), s.env.Keys.Back}
}
