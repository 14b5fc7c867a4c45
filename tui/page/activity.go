package page

import (
	"context"
	"strconv"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

const (
	// logPage is how many entries are asked for at once, logMost how many are kept.
	logPage = 200
	logMost = 5000
	// detailLines is how many lines tell about the entry under the cursor.
	detailLines = 5
)

// Activity is the audit log: what was asked, allowed and done, the newest first.
type Activity struct {
	env     Env
	of      Subject
	entries []node.AuditEntry
	rows    []logRow
	more    bool // there are older ones
	loading bool
	stale   bool // something has happened since
	err     error
	list    widget.List
	filter  widget.Field
	keys    activityKeys

	width, height int
}

// logRow is what is shown in a line: an entry, the beginning of what it ends left
// out, and how many more like it come right below.
type logRow struct{ at, more int }

type activityKeys struct{ replay, peer, clear key.Binding }

// logged is a part of the log.
type logged struct {
	page    *Activity
	before  uint64
	entries []node.AuditEntry
	err     error
}

// NewActivity makes the page of what peers did, or of what one did.
func NewActivity(env Env, of Subject) Page {
	a := &Activity{
		env: env, of: of, loading: true, list: widget.NewList(env.Keys), filter: widget.NewField(env.Theme, "/"),
		keys: activityKeys{
			replay: theme.Bind("play the recording", "enter"), peer: theme.Bind("only this peer", "p"), clear: theme.Bind("clear the filter", "esc"),
		},
	}
	a.filter.Placeholder = "a peer, a service, denied" + env.Theme.Glyphs.Ellipsis
	return a
}

// Init asks for the newest entries.
func (a *Activity) Init() tea.Cmd { return tea.Batch(Send(a.verb()), a.load(0)) }

func (a *Activity) verb() Verb {
	if a.of.Ref() == node.Own {
		return Verb{"tandem log"}
	}
	return Verb{"tandem log --peer " + quoteArgument(a.of.Alias())}
}

func (a *Activity) load(before uint64) tea.Cmd {
	a.loading = true
	q := node.ActivityQuery{Before: before, Limit: logPage}
	if a.of.Ref() != node.Own {
		q.Peer = a.of.Ref()
	}
	backend := a.env.Backend
	return a.env.Run(func(ctx context.Context) tea.Msg {
		entries, err := backend.Activity(ctx, q)
		return logged{a, before, entries, err}
	})
}

// Captures takes the keys of text while the filter is typed.
func (a *Activity) Captures() Capture {
	if a.filter.Focused() {
		return CaptureText
	}
	return CaptureNone
}

// Update follows the log.
func (a *Activity) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case logged:
		if msg.page == a {
			return a, a.take(msg)
		}
	case Happened:
		a.stale = true
	case State: // twice a second at most
		if a.stale && !a.loading {
			a.stale = false
			return a, a.load(0)
		}
	case tea.MouseMsg:
		msg.Y -= a.top()
		if a.list.Clicked(msg) {
			return a, a.replay()
		}
		a.list.Update(msg)
		return a, a.older()
	case tea.KeyMsg:
		if a.filter.Focused() {
			a.typed(msg)
			return a, a.older()
		}
		return a, a.key(msg)
	}
	return a, nil
}

// take puts what was read where it belongs.
func (a *Activity) take(l logged) tea.Cmd {
	a.loading, a.err = false, l.err
	if l.err != nil {
		return nil
	}
	selected := a.selected()
	switch oldest := len(l.entries) - 1; {
	case l.before > 0:
		a.more = len(l.entries) > 0 && len(a.entries)+len(l.entries) < logMost
		a.entries = append(a.entries, l.entries...)
	case len(a.entries) > 0 && oldest >= 0 && l.entries[oldest].Seq <= a.entries[0].Seq: // they join up
		n := 0
		for n <= oldest && l.entries[n].Seq > a.entries[0].Seq {
			n++
		}
		a.entries = append(l.entries[:n:n], a.entries...)
	default:
		a.entries, a.more = l.entries, len(l.entries) > 0
	}
	a.pick(selected)
	return a.older()
}

// selected is the number of the entry under the cursor; 0 for the newest, which
// the cursor stays on.
func (a *Activity) selected() uint64 {
	if i := a.list.Cursor(); i > 0 && i < len(a.rows) {
		return a.entries[a.rows[i].at].Seq
	}
	return 0
}

// pick applies the filter, and keeps the cursor where it was.
func (a *Activity) pick(selected uint64) {
	words := strings.Fields(strings.ToLower(a.filter.Value()))
	a.rows = a.rows[:0]
	cursor := 0
	over := make(map[uint64]bool) // what was allowed and has ended
	for i, e := range a.entries {
		if e.Of != 0 {
			over[e.Of] = true
		}
		if over[e.Seq] || !picks(e, words) {
			continue
		}
		if last := len(a.rows) - 1; last >= 0 && alike(a.entries[a.rows[last].at], e) {
			a.rows[last].more++
		} else {
			a.rows = append(a.rows, logRow{at: i})
		}
		if e.Seq == selected {
			cursor = len(a.rows) - 1
		}
	}
	a.list.SetLength(len(a.rows))
	a.list.Select(cursor)
}

// alike reports whether two entries say the same of the same peer.
func alike(a, b node.AuditEntry) bool {
	return a.Outcome == b.Outcome && a.Peer == b.Peer && a.Name == b.Name && a.Recording == "" && b.Recording == "" && about(a) == about(b)
}

func picks(e node.AuditEntry, words []string) bool {
	if len(words) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join([]string{string(e.Outcome), e.Name, e.Service, e.Resource, e.Action, e.Detail, e.Reason}, " "))
	if e.Of != 0 {
		text += " allowed"
	}
	if !e.Peer.IsZero() {
		text += " " + e.Peer.String()
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// older asks for more where the end of what there is comes into sight.
func (a *Activity) older() tea.Cmd {
	if a.loading || !a.more || a.err != nil || a.list.Cursor()+2*max(1, a.height) < len(a.rows) {
		return nil
	}
	return a.load(a.entries[len(a.entries)-1].Seq)
}

func (a *Activity) typed(msg tea.KeyMsg) {
	switch {
	case key.Matches(msg, a.env.Keys.Back):
		a.filter.Set("")
		a.filter.Blur()
	case key.Matches(msg, a.env.Keys.Open):
		a.filter.Blur()
		return
	case !a.filter.Update(msg):
		return
	}
	a.pick(0)
}

func (a *Activity) key(msg tea.KeyMsg) tea.Cmd {
	switch {
	case key.Matches(msg, a.env.Keys.Filter):
		a.filter.Focus()
	case key.Matches(msg, a.keys.clear) && a.filter.Value() != "":
		a.filter.Set("")
		a.pick(a.selected())
	case key.Matches(msg, a.keys.replay):
		return a.replay()
	case key.Matches(msg, a.keys.peer):
		if e, ok := a.current(); ok && !e.Peer.IsZero() {
			a.filter.Set(e.Peer.String())
			a.pick(e.Seq)
		}
	default:
		a.list.Update(msg)
	}
	return a.older()
}

func (a *Activity) current() (node.AuditEntry, bool) {
	i := a.list.Cursor()
	if i < 0 || i >= len(a.rows) {
		return node.AuditEntry{}, false
	}
	return a.entries[a.rows[i].at], true
}

// replay plays a recording in the whole terminal.
func (a *Activity) replay() tea.Cmd {
	e, ok := a.current()
	file := e.Recording
	if !ok {
		return nil
	}
	if file == "" {
		return Send(Toast{"Nothing was recorded there.", Info})
	}
	return replay(a.env, file)
}

// top is how many lines are above the list.
func (a *Activity) top() int {
	if a.filter.Focused() || a.filter.Value() != "" {
		return 1
	}
	return 0
}

// View shows the list, and what there is to know about the entry under the cursor.
func (a *Activity) View() string {
	t := a.env.Theme
	below := 0
	if a.height >= 2*detailLines+3 {
		below = detailLines + 1
	}
	var lines []string
	if a.top() > 0 {
		lines = append(lines, widget.Pad(" "+a.filter.View(max(0, a.width-2)), a.width))
	}
	a.list.SetSize(a.width, max(0, a.height-len(lines)-below))
	body := a.list.View(a.row)
	if len(a.rows) == 0 {
		body = widget.Center(t.Dim.Render(a.nothing()), a.width, max(0, a.height-len(lines)-below))
	}
	lines = append(lines, body)
	if below > 0 {
		rule := strings.Repeat(t.Glyphs.Rule, max(0, a.width-2))
		if at := a.list.Position(); at != "" {
			rule = widget.Spread(rule, at, max(0, a.width-2), "")
		}
		lines = append(lines, " "+t.Dim.Render(rule))
		lines = append(lines, a.details()...)
	}
	return widget.Fit(strings.Join(lines, "\n"), a.width, a.height)
}

func (a *Activity) nothing() string {
	switch {
	case a.err != nil:
		return widget.Clean(describe(a.err))
	case a.loading:
		return "reading" + a.env.Theme.Glyphs.Ellipsis
	case len(a.entries) > 0:
		return "Nothing like that."
	}
	return "Nobody has asked for anything yet."
}

// outcome is how an entry's outcome looks.
func outcome(t theme.Theme, e node.AuditEntry) string {
	text := widget.Pad(widget.Clean(string(e.Outcome)), 8)
	switch e.Outcome {
	case "denied", "refused", "failed", "lost":
		return t.Bad.Render(text)
	case "revoked", "repaired":
		return t.Warn.Render(text)
	case "allowed", "approved":
		return t.Good.Render(text)
	}
	return t.Dim.Render(text)
}

// row is an entry in a line.
func (a *Activity) row(i int, selected bool) string {
	t := a.env.Theme
	e, more := a.entries[a.rows[i].at], a.rows[i].more
	at := e.Time.In(a.env.Now.Location())
	when := at.Format("15:04:05")
	if a.width >= 76 {
		when = at.Format("01-02 15:04:05")
	}
	mark := " "
	if e.Recording != "" {
		mark = t.Glyphs.Live
	}
	who := widget.Clean(e.Name)
	if who == "" && !e.Peer.IsZero() {
		who = e.Peer.Short()
	}
	cells := func(outcome string) string {
		left := when + " " + outcome + " " + mark + " " + widget.Pad(widget.Cut(who, 14, t.Glyphs.Ellipsis), 14) + " "
		what := about(e)
		if more > 0 {
			what = strconv.Itoa(more+1) + " times " + what
		}
		return left + widget.Cut(what, max(0, a.width-2-widget.Width(left)), t.Glyphs.Ellipsis)
	}
	if selected {
		line := t.Glyphs.Cursor + " " + cells(widget.Pad(widget.Clean(string(e.Outcome)), 8))
		return t.Selected.Render(widget.Pad(line, a.width))
	}
	return "  " + cells(outcome(t, e))
}

// about is what an entry is about.
func about(e node.AuditEntry) string {
	service, _, _ := strings.Cut(e.Service, "/")
	text := strings.Join(strings.Fields(strings.Join([]string{service, e.Resource, e.Action, e.Detail}, " ")), " ")
	switch {
	case e.Outcome == "invited":
		text = "number " + e.Resource
	case e.Outcome == "revoked" && e.Resource != "":
		text = "number " + e.Resource + ": " + e.Reason
	case text == "":
		text = e.Reason
	case e.Reason != "" && e.Service != "":
		text += ": " + e.Reason
	}
	if e.Count > 0 {
		text += " (and " + strconv.Itoa(e.Count) + " more)"
	}
	return widget.Clean(text)
}

// details are the lines about the entry under the cursor.
func (a *Activity) details() []string {
	e, ok := a.current()
	if !ok {
		return nil
	}
	t := a.env.Theme
	const label = 11
	var lines []string
	add := func(name, text string) {
		if text = widget.Clean(text); text != "" && len(lines) < detailLines {
			lines = append(lines, " "+widget.Pad(t.Dim.Render(name), label)+widget.Cut(text, max(0, a.width-label-2), t.Glyphs.Ellipsis))
		}
	}
	add("entry", strconv.FormatUint(e.Seq, 10)+", "+e.Time.In(a.env.Now.Location()).Format("2006-01-02 15:04:05"))
	if !e.Peer.IsZero() {
		add("peer", strings.TrimSpace(e.Name+" "+e.Peer.Short()+"  "+strings.Join(node.Words(e.Peer)[:3], " ")))
	}
	add("what", about(e))
	add("recording", e.Recording)
	if e.Sent+e.Received > 0 || e.Exit != nil {
		text := widget.Bytes(e.Sent) + " sent, " + widget.Bytes(e.Received) + " received"
		if e.Exit != nil {
			text += ", exit code " + strconv.Itoa(*e.Exit)
		}
		add("result", text)
	}
	return lines
}

// SetSize sets the size of the page.
func (a *Activity) SetSize(w, h int) { a.width, a.height = w, h }

// Title is that of the page.
func (a *Activity) Title() string { return "Activity" }

// Keys are those of the page.
func (a *Activity) Keys() []key.Binding {
	if a.filter.Focused() {
		return []key.Binding{a.env.Keys.Open, a.env.Keys.Back}
	}
	replay := a.keys.replay
	e, ok := a.current()
	replay.SetEnabled(ok && e.Recording != "")
	keys := []key.Binding{replay, a.env.Keys.Filter, a.keys.peer}
	if a.filter.Value() != "" {
		keys = append(keys, a.keys.clear)
	}
	return keys
}
