package page

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Transferred is what has become of the copies. It goes to every open page.
type Transferred struct {
	Version uint64
	List    []background.Status
}

// RunTransfers does the copies until the program ends.
func RunTransfers(env Env) tea.Cmd {
	return env.Run(func(ctx context.Context) tea.Msg {
		env.Transfers.Run(ctx)
		return nil
	})
}

// WatchTransfers waits until the copies are other than they were at version.
func WatchTransfers(env Env, version uint64) tea.Cmd {
	return env.Run(func(ctx context.Context) tea.Msg {
		version, ok := env.Transfers.Next(ctx, version)
		if !ok {
			return nil
		}
		return Transferred{version, env.Transfers.List()}
	})
}

// DescribeEnd says in a line how a copy has ended, or what it asks; "" while
// there is nothing to say.
func DescribeEnd(s background.Status) (string, Level) {
	switch s.Stage {
	case background.Done:
		text := fmt.Sprintf("Copied %s: %s", describeItems(s.Job), widget.Bytes(uint64(s.Total.Bytes)))
		if s.Total.Same > 0 {
			text += fmt.Sprintf(", %d there already", s.Total.Same)
		}
		if s.Total.Kept > 0 {
			text += fmt.Sprintf(", %d kept", s.Total.Kept)
		}
		if s.Total.Skipped > 0 {
			text += ", " + widget.Count(s.Total.Skipped, "link or special file") + " skipped"
		}
		return text + ".", Good
	case background.Failed:
		_, why := session.Public(s.Err)
		return fmt.Sprintf("Copying %s has failed: %s", describeItems(s.Job), widget.Clean(why)), Warn
	case background.Asking:
		return widget.Clean(s.Conflict.Path) + " is there already, with other content.", Warn
	}
	return "", Info
}

// describeItems names what a job copies.
func describeItems(j background.Job) string {
	if len(j.Items) == 1 && j.Items[0] == "" { // all of it
		return widget.Clean(j.Share)
	}
	if len(j.Items) == 1 {
		return widget.Clean(j.Items[0])
	}
	return widget.Count(len(j.Items), "thing")
}

// transferVerb is the command that does the same as a job's item.
func transferVerb(j background.Job) string {
	item := ""
	if len(j.Items) > 0 {
		item = j.Items[0]
	}
	if j.Put {
		return fmt.Sprintf("tandem put %s %s:%s/", shellWord(item), j.Alias, shellWord(path.Join(j.Share, j.To)))
	}
	return fmt.Sprintf("tandem get %s:%s %s", j.Alias, shellWord(path.Join(j.Share, j.From, item)), shellWord(j.To))
}

// shellWord quotes a word for people to type, if need be.
func shellWord(s string) string {
	s = widget.Clean(s)
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r < 0x80 && !strings.ContainsRune("/._-+,=@%", r) && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// TransfersPage is the copies under way, and those that have ended.
type TransfersPage struct {
	env  Env
	all  []background.Status
	list widget.List
	keys transferKeys
	// What carries the copies that are under way, by their peers.
	lanes map[string]*lanes

	width, height int
}

type transferKeys struct{ pause, again, stop, clear, replace, keep, replaceAll, keepAll key.Binding }

func newTransferKeys() transferKeys {
	return transferKeys{
		pause: theme.Bind("pause or go on", "p", " "), again: theme.Bind("try again", "r"), stop: theme.Bind("stop", "x"), clear: theme.Bind("clear ended", "c"),
		replace: theme.Bind("replace", "y"), keep: theme.Bind("keep", "n"), replaceAll: theme.Bind("replace all", "Y"), keepAll: theme.Bind("keep all", "N"),
	}
}

// NewTransfers makes the page of copies.
func NewTransfers(env Env, _ Subject) Page {
	t := &TransfersPage{env: env, list: widget.NewList(env.Keys), keys: newTransferKeys(), lanes: make(map[string]*lanes)}
	t.take(env.Transfers.List())
	return t
}

// Init says which verb this page is, and asks for the lanes.
func (t *TransfersPage) Init() tea.Cmd { return tea.Batch(t.verb(), t.askLanes()) }

func (t *TransfersPage) verb() tea.Cmd {
	if s, ok := t.under(); ok {
		return Send(Verb{transferVerb(s.Job)})
	}
	return Send(Verb{"tandem get PEER:SHARE/PATH, tandem put FILE PEER:SHARE"})
}

// take shows the newest copy first, and keeps the cursor on the one it was on.
func (t *TransfersPage) take(all []background.Status) {
	was, had := t.under()
	t.all = slices.Clone(all)
	slices.Reverse(t.all)
	t.list.SetLength(len(t.all))
	if i := slices.IndexFunc(t.all, func(s background.Status) bool { return s.ID == was.ID }); had && i >= 0 {
		t.list.Select(i)
	}
}

// under is the copy under the cursor.
func (t *TransfersPage) under() (background.Status, bool) {
	if i := t.list.Cursor(); i >= 0 && i < len(t.all) {
		return t.all[i], true
	}
	return background.Status{}, false
}

// Update takes news and keys.
func (t *TransfersPage) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case Transferred:
		t.take(msg.List)
	case Tick:
		t.take(t.env.Transfers.List()) // rates fall when nothing comes
		return t, t.askLanes()
	case carried:
		if of := t.lanes[msg.peer]; msg.page == t && of != nil {
			of.carry(msg)
		}
	case tea.MouseMsg:
		msg.Y -= 2
		if msg.Action == tea.MouseActionPress && msg.Button == tea.MouseButtonLeft {
			msg.Y /= t.rows()
		}
		t.list.Update(msg)
	case tea.KeyMsg:
		if t.list.Update(msg) {
			return t, t.verb()
		}
		t.key(msg)
	}
	return t, nil
}

func (t *TransfersPage) key(msg tea.KeyMsg) {
	if key.Matches(msg, t.keys.clear) {
		t.env.Transfers.Clear()
		return
	}
	s, ok := t.under()
	switch k := t.keys; {
	case !ok:
	case s.Stage == background.Asking && answerConflict(t.env.Transfers, k, s, msg):
	case key.Matches(msg, k.pause) && (s.Stage == background.Paused || s.Stage == background.Failed || s.Stage == background.Stopped):
		t.env.Transfers.Resume(s.ID)
	case key.Matches(msg, k.pause):
		t.env.Transfers.Pause(s.ID)
	case key.Matches(msg, k.again):
		t.env.Transfers.Resume(s.ID)
	case key.Matches(msg, k.stop):
		t.env.Transfers.Stop(s.ID)
	}
}

// answerConflict decides by a key about what is in a copy's way.
func answerConflict(all *background.Transfers, k transferKeys, s background.Status, msg tea.KeyMsg) bool {
	for _, c := range []struct {
		b key.Binding
		d background.Decision
	}{{k.replace, background.Replace}, {k.keep, background.Keep}, {k.replaceAll, background.ReplaceAll}, {k.keepAll, background.KeepAll}} {
		if key.Matches(msg, c.b) {
			all.Answer(s.ID, c.d)
			return true
		}
	}
	return false
}

// Keys are those that have an effect now.
func (t *TransfersPage) Keys() []key.Binding {
	k := t.keys
	s, ok := t.under()
	if !ok {
		return nil
	}
	var keys []key.Binding
	switch s.Stage {
	case background.Asking:
		keys = append(keys, k.replace, k.keep, k.replaceAll, k.keepAll, k.stop)
	case background.Waiting, background.Running, background.Paused:
		keys = append(keys, k.pause, k.stop)
	case background.Failed, background.Stopped:
		keys = append(keys, k.again)
		if s.Stage == background.Failed {
			keys = append(keys, k.stop)
		}
	}
	return append(keys, k.clear)
}

// Title is that of the page.
func (t *TransfersPage) Title() string { return "Transfers" }

// rows is how many lines one copy takes.
func (t *TransfersPage) rows() int { return 3 }

// SetSize sets the size of the page.
func (t *TransfersPage) SetSize(w, h int) {
	t.width, t.height = w, h
	t.list.SetSize(w, max((h-2)/t.rows(), 0))
}

// View draws the list.
func (t *TransfersPage) View() string {
	look := t.env.Theme
	if len(t.all) == 0 {
		return widget.Center(look.Dim.Render("Nothing is being copied. Mark files on a peer's Files page, and press c."), t.width, t.height)
	}
	running, bytes := 0, 0.0
	for _, s := range t.all {
		if s.Stage == background.Running {
			running++
			bytes += s.Rate
		}
	}
	head := " " + look.Title.Render(fmt.Sprintf("%d under way", running)) + look.Dim.Render(fmt.Sprintf(" of %d", len(t.all)))
	if bytes > 0 {
		head += "  " + widget.Bytes(uint64(bytes)) + "/s"
	}
	// Two copies at least stay in sight.
	below := t.laneLines(t.height - 2 - 2*t.rows())
	t.list.SetSize(t.width, max((t.height-2-len(below))/t.rows(), 0))
	lines := t.list.Lines(func(i int, selected bool) []string { return t.row(t.all[i], selected) })
	body := widget.Fit(head+"\n\n"+strings.Join(lines, "\n"), t.width, t.height-len(below))
	if len(below) == 0 {
		return body
	}
	return body + "\n" + widget.Fit(strings.Join(below, "\n"), t.width, len(below))
}

// row draws one copy.
func (t *TransfersPage) row(s background.Status, selected bool) []string {
	look := t.env.Theme
	arrow, where := look.Glyphs.Down, "from "+s.Alias+":"+path.Join(s.Share, s.From)
	if s.Put {
		arrow, where = look.Glyphs.Up, "to "+s.Alias+":"+path.Join(s.Share, s.To)
	}
	cursor := "  "
	if selected {
		cursor = look.Accent.Render(look.Glyphs.Cursor) + " "
	}
	first := cursor + arrow + " " + look.Title.Render(describeItems(s.Job)) + look.Dim.Render("  "+widget.Clean(where))
	second := "    " + t.bar(s) + " " + describeProgress(s)
	return []string{
		widget.Pad(widget.Spread(first, t.stage(s)+" ", t.width, look.Glyphs.Ellipsis), t.width),
		widget.Pad(widget.Spread(second, sparkline(look, s.Rates, max(t.width/4, 8))+" ", t.width, look.Glyphs.Ellipsis), t.width),
		widget.Pad("    "+t.remark(s), t.width),
	}
}

// stage is a copy's state in a word.
func (t *TransfersPage) stage(s background.Status) string {
	look := t.env.Theme
	switch s.Stage {
	case background.Waiting:
		return look.Dim.Render("waiting")
	case background.Asking:
		return look.Badge.Render(" asks ")
	case background.Paused:
		return look.Warn.Render("paused")
	case background.Failed:
		return look.Bad.Render("failed")
	case background.Stopped:
		return look.Dim.Render("stopped")
	case background.Done:
		return look.Good.Render(look.Glyphs.Check + " done")
	}
	if s.Left > 0 {
		return widget.Remaining(s.Left) + " left"
	}
	return "running"
}

// bar is how much of a copy is done.
func (t *TransfersPage) bar(s background.Status) string {
	g := t.env.Theme.Glyphs
	width := min(max(t.width/5, 8), 24)
	done := 0
	if s.Progress.Bytes > 0 {
		done = int(float64(width) * float64(s.Progress.BytesDone) / float64(s.Progress.Bytes))
	}
	if s.Stage == background.Done {
		done = width
	}
	done = min(max(done, 0), width)
	return t.env.Theme.Accent.Render(strings.Repeat(g.Full, done)) + t.env.Theme.Dim.Render(strings.Repeat(g.Empty, width-done))
}

// describeProgress is how far a copy is, in numbers.
func describeProgress(s background.Status) string {
	text := ""
	switch {
	case s.Stage == background.Done:
		text = widget.Bytes(uint64(max(s.Total.Bytes, 0)))
	case s.Progress.Bytes > 0 || s.Stage == background.Running:
		text = widget.Bytes(uint64(max(s.Progress.BytesDone, 0))) + " of " + widget.Bytes(uint64(max(s.Progress.Bytes, 0)))
	}
	if s.Rate > 0 {
		text += ", " + widget.Bytes(uint64(s.Rate)) + "/s"
	}
	if s.Progress.Files > 1 {
		text += fmt.Sprintf(", %d/%d files", s.Progress.FilesDone, s.Progress.Files)
	}
	if s.Stage.Ended() && s.Elapsed >= time.Second {
		text += " in " + widget.Remaining(s.Elapsed)
	}
	return text
}

// remark is what else there is to know about a copy.
func (t *TransfersPage) remark(s background.Status) string {
	look := t.env.Theme
	switch s.Stage {
	case background.Asking:
		return look.Warn.Render(describeConflict(s.Conflict, t.env.Now))
	case background.Failed:
		_, why := session.Public(s.Err)
		if hint := session.Hint(s.Err); hint != "" {
			why += ". " + hint
		}
		return look.Bad.Render(widget.Clean(why))
	case background.Running:
		text := look.Dim.Render(widget.Clean(s.Progress.Current))
		if saved := s.Progress.BytesDone - s.Progress.Wire; saved > s.Progress.BytesDone/10 && saved > 100_000 {
			return widget.Spread(text, widget.Bytes(uint64(saved))+" saved ", t.width-4, look.Glyphs.Ellipsis)
		}
		return text
	case background.Paused:
		return look.Dim.Render("goes on where it stopped")
	}
	return look.Dim.Render(describeSaved(s))
}

// describeSaved is how much did not have to travel.
func describeSaved(s background.Status) string {
	var parts []string
	if saved := s.Total.Bytes - s.Total.Resumed - s.Total.Wire; s.Total.Wire > 0 && saved > s.Total.Bytes/100 {
		parts = append(parts, fmt.Sprintf("%s travelled, %s saved", widget.Bytes(uint64(s.Total.Wire)), widget.Bytes(uint64(saved))))
	}
	if s.Total.Resumed > 0 {
		parts = append(parts, widget.Bytes(uint64(s.Total.Resumed))+" had arrived before")
	}
	if s.Total.Same > 0 {
		parts = append(parts, fmt.Sprintf("%d there already", s.Total.Same))
	}
	if s.Total.Kept > 0 {
		parts = append(parts, fmt.Sprintf("%d kept as they were", s.Total.Kept))
	}
	if s.Total.Skipped > 0 {
		parts = append(parts, widget.Count(s.Total.Skipped, "link or special file")+" skipped")
	}
	return strings.Join(parts, ", ")
}

// describeConflict says what would be replaced by what.
func describeConflict(c background.Conflict, now time.Time) string {
	one := func(e background.Entry) string {
		text := widget.Bytes(uint64(max(e.Size, 0)))
		if !e.Time.IsZero() && !now.IsZero() {
			if ago := widget.Ago(now.Sub(e.Time)); ago == "now" {
				text += ", just written"
			} else {
				text += ", " + ago + " old"
			}
		}
		return text
	}
	return fmt.Sprintf("%s is there already (%s). Replace it (%s)?", widget.Clean(c.Path), one(c.There), one(c.New))
}

// sparkline draws numbers as a row of bars, the newest at the right.
func sparkline(look theme.Theme, values []int64, width int) string {
	values = values[max(len(values)-width, 0):]
	var most int64 = 1
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		b.WriteString(look.Glyphs.Spark[int(v*int64(len(look.Glyphs.Spark)-1)/most)])
	}
	return look.Accent.Render(b.String())
}
