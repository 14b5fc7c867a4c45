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

// silence is how long no key may have been pressed before one counts as an
// answer: what is being typed into another page answers nothing.
const silence = 500 * time.Millisecond

// Approval asks whether somebody may come in, or type. It interrupts any page.
type Approval struct {
	env      Env
	request  node.Request
	share    string
	settle   func(id string, cmd tea.Cmd) tea.Msg
	later    func(id string) tea.Msg
	allow    key.Binding
	once     key.Binding
	refuse   key.Binding
	postpone key.Binding
	keys     int  // that were pressed; each begins the silence anew
	open     bool // the silence is over
	scroll   int

	width, height int
}

// silent says that the silence is over, unless keys were pressed meanwhile.
type silent struct {
	request string
	keys    int
}

// NewApproval makes the question for a request to the share of that name. Settle
// makes the message that closes it and runs cmd, later the one that only closes.
func NewApproval(env Env, r node.Request, share string, settle func(id string, cmd tea.Cmd) tea.Msg, later func(id string) tea.Msg) *Approval {
	a := &Approval{
		env: env, request: r, share: share, settle: settle, later: later,
		allow: theme.Bind("allow for this session", "A"), once: theme.Bind("allow once", "O"), refuse: theme.Bind("refuse", "R"),
		postpone: theme.Bind("later", "esc"),
	}
	if r.Kind == node.RequestType {
		a.allow.SetHelp("A", "let them type")
		a.once.SetEnabled(false)
	}
	if r.Kind == node.RequestPush {
		a.allow.SetHelp("A", "accept it")
		a.once.SetEnabled(false)
	}
	return a
}

// Init begins the silence.
func (a *Approval) Init() tea.Cmd { return a.listen() }

func (a *Approval) listen() tea.Cmd {
	s := silent{a.request.ID, a.keys}
	return a.env.After(silence, func(time.Time) tea.Msg { return s })
}

// Update takes an answer, once there was silence.
func (a *Approval) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case silent:
		if msg == (silent{a.request.ID, a.keys}) {
			a.open = true
		}
	case tea.KeyMsg:
		return a, a.key(msg)
	case tea.MouseMsg:
		switch msg.Button {
		case tea.MouseButtonWheelUp:
			a.scroll--
		case tea.MouseButtonWheelDown:
			a.scroll++
		}
	}
	return a, nil
}

func (a *Approval) key(msg tea.KeyMsg) tea.Cmd {
	switch msg.Type {
	case tea.KeyUp:
		a.scroll--
		return nil
	case tea.KeyDown:
		a.scroll++
		return nil
	}
	known := false
	for _, b := range a.answers() {
		known = known || key.Matches(msg, b)
	}
	if !a.open || !known || msg.Paste {
		// Somebody is typing something else.
		a.keys++
		a.open = false
		return a.listen()
	}
	if key.Matches(msg, a.postpone) {
		return Send(a.later(a.request.ID))
	}
	answer := node.Answer{Allow: !key.Matches(msg, a.refuse), Once: key.Matches(msg, a.once)}
	if !answer.Allow {
		answer.Reason = "the host said no"
	}
	id, backend := a.request.ID, a.env.Backend
	return Send(a.settle(id, a.env.Run(func(ctx context.Context) tea.Msg {
		if err := backend.Answer(ctx, id, answer); err != nil && session.KindOf(err) != session.NotFound {
			return Fail{err}
		}
		return Refresh{}
	})))
}

// View shows who asks, for what, by which path.
func (a *Approval) View() string {
	t := a.env.Theme
	r := a.request
	width := max(20, min(a.width-4, 76))
	who := "Somebody without a name"
	if n := widget.Clean(r.Guest.Peer.Name); n != "" {
		who = fmt.Sprintf("Somebody calling themselves %q", n)
	}
	what := " asks to join"
	if a.share != "" {
		what += fmt.Sprintf(" %q", widget.Clean(a.share))
	}
	if r.Kind == node.RequestType {
		what = " asks to type at the terminal"
		if r.Terminal != "" {
			what += " " + widget.Clean(r.Terminal)
		}
	}
	title := " Let them in? "
	if r.Push != nil {
		what, title = describePush(*r.Push), " Accept a copy? "
	}
	const label = 12
	var body []string
	body = append(body, labelled(t, "words", label, wordLines(r.Guest.Words, width-label))...)
	if len(r.Guest.Offers) > 0 {
		body = append(body, labelled(t, "would get", label, describeRights(r.Guest.Offers))...)
	}
	if r.Recorded != node.NotRecorded {
		body = append(body, labelled(t, "recorded", label, []string{describeRecorded(r.Recorded)})...)
	}
	path := "not connected until you let them in"
	if r.Path.Kind != "" && r.Path.Kind != session.NoPath {
		path = describePath(r.Path)
	}
	body = append(body, labelled(t, "path", label, []string{path})...)
	if r.Push != nil {
		body = append(body, labelled(t, "files", label, pushLines(t, *r.Push, width-label))...)
	}
	head := []string{}
	for _, l := range widget.Wrap(who+what+".", width) {
		head = append(head, t.Title.Render(l))
	}
	foot := []string{a.invitation()}
	room := a.height - len(head) - len(foot) - 2
	if a.height >= 15 {
		head = append([]string{t.Badge.Render(title)}, head...)
		room--
		foot = append([]string{t.Dim.Render("Compare the words with them, by voice, before you allow anything.")}, foot...)
		room--
	}
	a.scroll = min(max(0, a.scroll), max(0, len(body)-room))
	more := len(body) - a.scroll - room
	body = body[a.scroll:]
	if more > 0 && room > 0 {
		body = append(body[:room-1:room-1], t.Warn.Render(fmt.Sprintf("%d more lines: down", more+1)))
	}
	lines := append(append(append(head, ""), body...), "")
	return widget.Center(strings.Join(append(lines, foot...), "\n"), a.width, a.height)
}

// invitation is the last line.
func (a *Approval) invitation() string {
	t := a.env.Theme
	if !a.open {
		return t.Dim.Render("Hands off the keys for a moment, then answer.")
	}
	var parts []string
	for _, b := range a.answers() {
		if b.Enabled() {
			parts = append(parts, t.Key.Render(b.Help().Key)+" "+b.Help().Desc)
		}
	}
	return strings.Join(parts, "   ")
}

// SetSize sets the size of the page.
func (a *Approval) SetSize(w, h int) { a.width, a.height = w, h }

// Title is that of the page.
func (a *Approval) Title() string { return "Request" }

// Keys are the answers, while one would count.
func (a *Approval) Keys() []key.Binding {
	if !a.open {
		return nil
	}
	return a.answers()
}

func (a *Approval) answers() []key.Binding {
	return []key.Binding{a.allow, a.once, a.refuse, a.postpone}
}
