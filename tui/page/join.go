package page

import (
	"context"
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Join meets a host by a code or link.
type Join struct {
	env    Env
	form   widget.Form
	invite *widget.Item
	server *widget.Item

	joining bool
	stop    context.CancelFunc
	met     *node.Event // the host has proved that it holds the code
	err     error
	enter   key.Binding

	width, height int
}

// joined is how a join went.
type joined struct {
	of     *Join
	result node.Joined
	err    error
}

// NewJoin makes the page.
func NewJoin(env Env) *Join {
	j := &Join{
		env:    env,
		invite: widget.TextItem(env.Theme, "code or link", "", "", "such as 4821-wolf-paper-lunar"),
		server: widget.TextItem(env.Theme, "server", "", "", "only if they gave you one besides the code"),
		enter:  theme.Bind("join", "enter"),
	}
	j.form = widget.NewForm(env.Theme, env.Keys, j.invite, j.server)
	return j
}

// Init does nothing.
func (j *Join) Init() tea.Cmd { return nil }

// Verb is the command that joins the same session.
func (j *Join) Verb() string {
	verb := "tandem join " + quoteArgument(j.code())
	if j.code() == "" {
		verb = "tandem join CODE"
	}
	if s := j.server.Value(); s != "" {
		verb += " --server " + quoteArgument(s)
	}
	return verb
}

// code is the invite as it is meant: people put blanks between the words.
func (j *Join) code() string { return strings.Join(strings.Fields(j.invite.Value()), "-") }

// Captures takes the keys of text.
func (j *Join) Captures() Capture { return CaptureText }

// Update fills in the form, joins, and shows whom it has met.
func (j *Join) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case Happened:
		for _, e := range msg.Events {
			if e.Event == node.EventMet && j.joining {
				j.met = &e
			}
		}
	case joined:
		if msg.of != j || !j.joining {
			return j, nil
		}
		j.joining = false
		if msg.err != nil {
			j.err = msg.err
			return j, Send(Refresh{})
		}
		return j, tea.Batch(Send(Replace{NewPeer(j.env, subjectOf(msg.result))}), Send(Refresh{}))
	case tea.MouseMsg:
		msg.Y -= 2
		if !j.joining {
			j.form.Update(msg)
		}
	case tea.KeyMsg:
		return j, j.key(msg)
	}
	return j, nil
}

func subjectOf(r node.Joined) Subject {
	return Subject{
		Peer:   node.PeerStatus{Peer: r.Peer, Alias: r.Alias, Words: r.Words, Connected: true, Path: r.Path},
		Offers: slices.Clone(r.Offers), Recorded: r.Recorded,
	}
}

func (j *Join) key(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, j.env.Keys.Back):
		if j.joining {
			j.cancel()
			return nil
		}
		return Send(Back{})
	case j.joining:
		return nil
	case key.Matches(msg, j.enter):
		return j.join()
	case j.form.Update(msg):
		j.err = nil
	}
	return nil
}

// cancel stops a join that is under way.
func (j *Join) cancel() {
	j.joining, j.met = false, nil
	if j.stop != nil {
		j.stop()
		j.stop = nil
	}
}

// Close stops a join when the page is left.
func (j *Join) Close() tea.Cmd {
	j.cancel()
	return nil
}

func (j *Join) join() tea.Cmd {
	j.err, j.met = nil, nil
	if j.code() == "" {
		j.invite.Wrong = "the code is missing"
		j.form.FocusOn(j.invite)
		return nil
	}
	if err := node.CheckInvite(j.code()); err != nil {
		j.err = err
		return nil
	}
	var servers []string
	if s := j.server.Value(); s != "" {
		servers = []string{s}
	}
	ended, stop := context.WithCancel(context.Background())
	j.joining, j.stop = true, stop
	invite, backend, of := j.code(), j.env.Backend, j
	return j.env.Run(func(ctx context.Context) tea.Msg {
		defer stop()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(ended, cancel)()
		result, err := backend.Join(ctx, invite, servers)
		return joined{of, result, err}
	})
}

// View shows the form, then the words to compare.
func (j *Join) View() string {
	t := j.env.Theme
	lines := []string{" " + t.Title.Render("Join a session"), "", j.form.View(), ""}
	width := max(20, j.width-2)
	switch {
	case j.met != nil:
		lines = append(lines, " "+t.Good.Render(t.Glyphs.Check)+" Met the host. It asks its person to let you in.", "")
		for _, l := range labelled(t, "their words", 13, wordLines(j.met.Words, width-13)) {
			lines = append(lines, " "+l)
		}
		for _, l := range labelled(t, "your words", 13, wordLines(j.met.Own, width-13)) {
			lines = append(lines, " "+l)
		}
		lines = append(lines, "", " "+t.Dim.Render("Compare them by voice. esc gives up."))
	case j.joining:
		lines = append(lines, " "+t.Accent.Render("Looking for the host"+t.Glyphs.Ellipsis), " "+t.Dim.Render("esc gives up."))
	case j.err != nil:
		for _, l := range widget.Wrap(widget.Clean(describe(j.err)), width) {
			lines = append(lines, " "+t.Bad.Render(l))
		}
		for _, l := range widget.Wrap(widget.Clean(session.Hint(j.err)), width) {
			lines = append(lines, " "+l)
		}
	default:
		for _, l := range widget.Wrap("Whoever started the session tells you the code. Nothing of yours is shared by joining.", width) {
			lines = append(lines, " "+t.Dim.Render(l))
		}
	}
	return widget.Fit(strings.Join(lines, "\n"), j.width, j.height)
}

// describe is what of an error people should read.
func describe(err error) string {
	if _, text := session.Public(err); text != "" {
		return text
	}
	return err.Error()
}

// SetSize sets the size of the page.
func (j *Join) SetSize(w, h int) {
	j.width, j.height = w, h
	j.form.SetSize(max(0, w-1), 2)
}

// Title is that of the page.
func (j *Join) Title() string { return "Join" }

// Keys are those of the page.
func (j *Join) Keys() []key.Binding {
	if j.joining {
		return []key.Binding{j.env.Keys.Back}
	}
	return []key.Binding{j.enter, j.env.Keys.Next, j.env.Keys.Back}
}
