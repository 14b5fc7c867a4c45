package page

import (
	"context"
	"fmt"
	"slices"
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

// second is how long no other key may follow an answer: a capital letter that
// begins a word is none.
const second = 300 * time.Millisecond

// longestName is how much of a name is shown, in columns: it can't push what the
// person has to compare out of the window.
const longestName = 32

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
	seen     int          // how many lines have been shown, from the first one
	given    *node.Answer // which another key takes back

	width, height int
}

// silent says that the silence is over, unless keys were pressed meanwhile; settled
// is the same of the time after an answer.
type silent struct {
	request string
	keys    int
}

type settled silent

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
	a.keys++
	a.open, a.given = false, nil
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
	case settled:
		if a.given != nil && msg == (settled{a.request.ID, a.keys}) {
			return a, a.answer(*a.given)
		}
	case tea.WindowSizeMsg: // what is there has moved under the eyes
		return a, a.listen()
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
	if !a.open || !known || msg.Paste || a.given != nil || a.unseen() {
		return a.listen() // somebody is typing something else
	}
	if key.Matches(msg, a.postpone) {
		return Send(a.later(a.request.ID))
	}
	a.given = &node.Answer{Allow: !key.Matches(msg, a.refuse), Once: key.Matches(msg, a.once)}
	if !a.given.Allow {
		a.given.Reason = "the host said no"
	}
	s := settled{a.request.ID, a.keys}
	return a.env.After(second, func(time.Time) tea.Msg { return s })
}

// answer gives the answer to the node.
func (a *Approval) answer(answer node.Answer) tea.Cmd {
	id, backend := a.request.ID, a.env.Backend
	return Send(a.settle(id, a.env.Run(func(ctx context.Context) tea.Msg {
		if err := backend.Answer(ctx, id, answer); err != nil && session.KindOf(err) != session.NotFound {
			return Fail{err}
		}
		return Refresh{}
	})))
}

// unseen reports whether the words to compare have not been in the window.
func (a *Approval) unseen() bool {
	_, body, words, room := a.layout()
	return max(a.seen, min(len(body), a.scroll+room)) < words
}

// sentence says who asks for what.
func (a *Approval) sentence() string {
	r := a.request
	who := "Somebody without a name"
	if n := strings.Join(strings.Fields(widget.Clean(r.Guest.Peer.Name)), " "); n != "" {
		who = fmt.Sprintf("Somebody calling themselves %q", widget.Cut(n, longestName, a.env.Theme.Glyphs.Ellipsis))
	}
	switch {
	case r.Push != nil:
		return who + describePush(*r.Push) + "."
	case r.Kind == node.RequestType && r.Terminal != "":
		return who + " asks to type at the terminal " + widget.Clean(r.Terminal) + "."
	case r.Kind == node.RequestType:
		return who + " asks to type at the terminal."
	case a.share != "":
		return who + fmt.Sprintf(" asks to join %q.", widget.Clean(a.share))
	}
	return who + " asks to join."
}

// spacious reports whether there is room for more than what counts.
func (a *Approval) spacious() bool { return a.height >= 15 }

// layout is what the page consists of: the lines at its top, those that scroll, how
// many of them, from the first, are the words, and how many there is room for.
func (a *Approval) layout() (head, body []string, words, room int) {
	t := a.env.Theme
	r := a.request
	width := max(20, min(a.width-4, 76))
	for _, l := range widget.Wrap(a.sentence(), width) {
		head = append(head, t.Title.Render(l))
	}
	if a.spacious() {
		title := " Let them in? "
		if r.Push != nil {
			title = " Accept a copy? "
		}
		head = append([]string{t.Badge.Render(title)}, head...)
	}
	const label = 12
	body = append(body, labelled(t, "words", label, wordLines(r.Guest.Words, width-label))...)
	words = len(body)
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
	room = a.height - len(head) - 2 // how many more there are, and how to answer
	if a.spacious() {
		room -= 2 // a blank line above, and some advice
	}
	return head, body, words, max(1, room)
}

// View shows who asks, for what, by which path.
func (a *Approval) View() string {
	t := a.env.Theme
	head, body, _, room := a.layout()
	a.scroll = min(max(0, a.scroll), max(0, len(body)-room))
	if a.scroll <= a.seen {
		a.seen = max(a.seen, min(len(body), a.scroll+room))
	}
	lines := slices.Clip(head)
	if a.spacious() || len(body) < room {
		lines = append(lines, "")
	}
	more := len(body) - a.scroll - room
	lines = append(lines, body[a.scroll:min(len(body), a.scroll+room)]...)
	if more > 0 {
		lines = append(lines, t.Warn.Render(fmt.Sprintf("%d more lines: down", more)))
	} else {
		lines = append(lines, "")
	}
	if a.spacious() {
		lines = append(lines, t.Dim.Render("Compare the words with them, by voice, before you allow anything."))
	}
	return widget.Center(strings.Join(append(lines, a.invitation()), "\n"), a.width, a.height)
}

// invitation is the last line.
func (a *Approval) invitation() string {
	t := a.env.Theme
	if a.open && a.given == nil && a.unseen() {
		return t.Warn.Render("The words go on below: down, then answer.")
	}
	if a.given != nil {
		what := "Allowed"
		if !a.given.Allow {
			what = "Refused"
		}
		return t.Dim.Render(what + t.Glyphs.Ellipsis + " any key takes it back.")
	}
	if !a.open {
		return t.Dim.Render("Hands off the keys for a moment, then answer.")
	}
	var parts []string
	for _, b := range a.answers() {
		if b.Enabled() {
			parts = append(parts, t.Key.Render(b.Help().Key)+" "+b.Help().Desc)
		}
	}
	if line := strings.Join(parts, "   "); widget.Width(line) <= a.width-4 {
		return line
	}
	return strings.Join(parts, "  ")
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
