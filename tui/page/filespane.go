package page

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/tui/background"
	"tandem/tui/widget"
)

// pane is one side of the Files page: a folder's entries, sorted and filtered.
// Of however many, only those in sight are drawn.
type pane struct {
	env    Env
	files  background.Folder
	label  string
	dir    string
	remote bool

	entries []background.Entry
	order   []int32 // indexes of entries, as they are listed
	marks   map[string]bool
	marked  int64 // bytes of marked files
	list    widget.List
	by      sorting
	hidden  bool   // entries that begin with a dot are shown
	filter  string // in lower case
	skipped int
	err     error
	loading bool
	turn    int // of the work whose result is waited for
	width   int
}

// sorting is an order of entries; folders always come first.
type sorting int

const (
	byName sorting = iota
	bySize
	byTime
)

func (s sorting) String() string { return [...]string{"name", "size", "newest"}[s] }

func newPane(env Env, files background.Folder, label, dir string, remote bool) *pane {
	return &pane{env: env, files: files, label: label, dir: dir, remote: remote, marks: make(map[string]bool), list: widget.NewList(env.Keys)}
}

// listed is a folder as it has been read, and in order.
type listed struct {
	pane    *pane
	turn    int
	dir     string
	entries []background.Entry
	order   []int32
	skipped int
	cursor  string // what the cursor goes to
	err     error
}

// arranged is a new order of the same entries.
type arranged struct {
	pane  *pane
	turn  int
	order []int32
}

// atOnce is how many entries are put in order while a key waits for it.
const atOnce = 10_000

// load reads a folder, and puts the cursor on the entry of that name.
func (p *pane) load(dir, cursor string) tea.Cmd {
	p.turn++
	p.loading = true
	files, turn, by, hidden := p.files, p.turn, p.by, p.hidden
	return p.env.Run(func(ctx context.Context) tea.Msg {
		entries, skipped, err := files.List(ctx, dir)
		l := listed{pane: p, turn: turn, dir: dir, entries: entries, skipped: skipped, cursor: cursor, err: err}
		if err == nil {
			l.order = arrange(entries, by, hidden, "")
		}
		return l
	})
}

// take shows a folder that was read, if it is still the one to be shown.
func (p *pane) take(l listed) tea.Cmd {
	if l.turn != p.turn {
		return nil
	}
	p.loading, p.err = false, l.err
	if l.err != nil {
		_, why := session.Public(l.err)
		if p.entries == nil {
			return nil // there is room for it
		}
		p.err = nil
		return Send(Toast{Text: p.place(l.dir) + ": " + widget.Clean(why), Level: Warn})
	}
	if p.dir != l.dir {
		p.marks, p.marked, p.filter = make(map[string]bool), 0, ""
	}
	if l.entries == nil {
		l.entries = []background.Entry{}
	}
	p.dir, p.entries, p.order, p.skipped = l.dir, l.entries, l.order, l.skipped
	p.list.SetLength(len(p.order))
	p.forgetMarks()
	if p.filter != "" {
		p.arrange()
	}
	p.seek(l.cursor)
	return nil
}

// forgetMarks drops the marks of what isn't there any more.
func (p *pane) forgetMarks() {
	if len(p.marks) == 0 {
		return
	}
	there := make(map[string]bool, len(p.marks))
	p.marked = 0
	for _, e := range p.entries {
		if p.marks[e.Name] {
			there[e.Name] = true
			p.marked += sizeOf(e)
		}
	}
	p.marks = there
}

// arrange puts the entries in order again, at once if there are few.
func (p *pane) arrange() tea.Cmd {
	p.turn++
	if len(p.entries) <= atOnce {
		p.reorder(arrange(p.entries, p.by, p.hidden, p.filter))
		return nil
	}
	p.loading = true
	entries, turn, by, hidden, filter := p.entries, p.turn, p.by, p.hidden, p.filter
	return p.env.Run(func(context.Context) tea.Msg {
		return arranged{p, turn, arrange(entries, by, hidden, filter)}
	})
}

func (p *pane) reorder(order []int32) {
	name := ""
	if e, ok := p.under(); ok {
		name = e.Name
	}
	p.loading, p.order = false, order
	p.list.SetLength(len(order))
	p.seek(name)
}

// seek puts the cursor on the entry of that name; without one, on the first.
func (p *pane) seek(name string) {
	at := 0
	if name != "" {
		at = p.list.Cursor()
		for i, n := range p.order {
			if p.entries[n].Name == name {
				at = i
				break
			}
		}
	}
	p.list.Select(max(at, 0))
}

// arrange is the order in which entries are listed that pass the filter.
func arrange(entries []background.Entry, by sorting, hidden bool, filter string) []int32 {
	order := make([]int32, 0, len(entries))
	for i, e := range entries {
		if (hidden || !strings.HasPrefix(e.Name, ".")) && (filter == "" || strings.Contains(strings.ToLower(e.Name), filter)) {
			order = append(order, int32(i))
		}
	}
	slices.SortFunc(order, func(i, j int32) int {
		a, b := &entries[i], &entries[j]
		if a.Dir != b.Dir {
			if a.Dir {
				return -1
			}
			return 1
		}
		c := 0
		switch by {
		case bySize:
			c = cmp.Compare(b.Size, a.Size)
		case byTime:
			c = b.Time.Compare(a.Time)
		}
		if c == 0 {
			c = cmp.Compare(a.Name, b.Name)
		}
		return c
	})
	return order
}

// under is the entry under the cursor.
func (p *pane) under() (background.Entry, bool) {
	if i := p.list.Cursor(); i >= 0 && i < len(p.order) {
		return p.entries[p.order[i]], true
	}
	return background.Entry{}, false
}

// chosen are the names that are marked, in the order they are listed, or else
// the one under the cursor.
func (p *pane) chosen() []string {
	if len(p.marks) > 0 {
		var names []string
		for _, i := range p.order {
			if name := p.entries[i].Name; p.marks[name] {
				names = append(names, name)
			}
		}
		return names
	}
	if e, ok := p.under(); ok {
		return []string{e.Name}
	}
	return nil
}

// mark marks or unmarks the entry under the cursor and goes on to the next.
func (p *pane) mark() {
	e, ok := p.under()
	if !ok {
		return
	}
	if p.marks[e.Name] {
		delete(p.marks, e.Name)
		p.marked -= sizeOf(e)
	} else {
		p.marks[e.Name] = true
		p.marked += sizeOf(e)
	}
	p.list.Select(p.list.Cursor() + 1)
}

// invert marks what isn't marked of what is listed, and the other way round.
func (p *pane) invert() {
	marks := make(map[string]bool)
	p.marked = 0
	for _, i := range p.order {
		if e := p.entries[i]; !p.marks[e.Name] {
			marks[e.Name] = true
			p.marked += sizeOf(e)
		}
	}
	p.marks = marks
}

// sizeOf is what an entry counts for: of a folder nobody knows.
func sizeOf(e background.Entry) int64 {
	if e.Dir {
		return 0
	}
	return e.Size
}

// up goes to the folder above.
func (p *pane) up() tea.Cmd {
	parent, name := p.files.Parent(p.dir)
	if parent == p.dir {
		return nil
	}
	return p.load(parent, name)
}

// place is a folder as people write it.
func (p *pane) place(dir string) string {
	if p.remote {
		return widget.Clean(p.label + ":" + dir)
	}
	return widget.Clean(dir)
}

func (p *pane) setSize(width, height int) {
	p.width = width
	p.list.SetSize(width, max(height-2, 0))
}

// view draws the pane, with its head and foot.
func (p *pane) view(active bool, height int) string {
	look := p.env.Theme
	head := look.Dim.Render(cutLeft(" "+p.place(p.dir), p.width-1, look.Glyphs.Ellipsis))
	if active {
		head = look.Title.Render(cutLeft(" "+p.place(p.dir), p.width-1, look.Glyphs.Ellipsis))
	}
	body := ""
	switch {
	case p.err != nil:
		_, why := session.Public(p.err)
		lines := widget.Wrap(widget.Clean(why), max(p.width-4, 10))
		if hint := session.Hint(p.err); hint != "" {
			lines = append(lines, widget.Wrap(widget.Clean(hint), max(p.width-4, 10))...)
		}
		body = widget.Center(look.Bad.Render(strings.Join(lines, "\n")), p.width, max(height-2, 0))
	case p.entries == nil:
		body = widget.Center(look.Dim.Render("Reading"+look.Glyphs.Ellipsis), p.width, max(height-2, 0))
	case len(p.order) == 0:
		body = widget.Center(look.Dim.Render("Nothing here."), p.width, max(height-2, 0))
	default:
		body = p.list.View(func(i int, selected bool) string { return p.row(p.entries[p.order[i]], selected && active) })
	}
	return widget.Fit(head+"\n"+widget.Fit(body, p.width, max(height-2, 0))+"\n"+p.foot(), p.width, height)
}

// cutLeft cuts a line at its beginning, where a path is less interesting.
func cutLeft(s string, width int, head string) string {
	r := []rune(s)
	for len(r) > 0 && len([]rune(widget.Cut(string(r), width, ""))) < len(r) {
		r = r[1:]
	}
	if len(r) < len([]rune(s)) && len(r) > 0 {
		return head + string(r[1:])
	}
	return string(r)
}

// row draws one entry.
func (p *pane) row(e background.Entry, selected bool) string {
	look := p.env.Theme
	mark := " "
	if p.marks[e.Name] {
		mark = look.Glyphs.Check
	}
	name := widget.Clean(e.Name)
	right := widget.Bytes(uint64(max(e.Size, 0)))
	style := look.Text
	switch {
	case e.Dir:
		name += "/"
		right = ""
		style = look.Accent
	case e.Other != "":
		right = e.Other
		style = look.Dim
	case e.Exec:
		style = look.Good
	}
	if p.width >= 48 && !e.Time.IsZero() {
		right += "  " + e.Time.Local().Format("2006-01-02 15:04")
	}
	if p.marks[e.Name] {
		style = look.Warn
	}
	if selected {
		return look.Selected.Render(widget.Pad(widget.Spread(mark+name, right+" ", p.width, look.Glyphs.Ellipsis), p.width))
	}
	return widget.Spread(style.Render(mark+widget.Cut(name, max(p.width-len(right)-4, 1), look.Glyphs.Ellipsis)), look.Dim.Render(right)+" ", p.width, look.Glyphs.Ellipsis)
}

// foot is how much there is, and what is marked.
func (p *pane) foot() string {
	look := p.env.Theme
	if p.entries == nil {
		return ""
	}
	parts := []string{widget.Count(len(p.order), "entry")}
	if len(p.order) != 1 {
		parts[0] = fmt.Sprintf("%d entries", len(p.order))
	}
	if len(p.marks) > 0 {
		parts = []string{fmt.Sprintf("%d marked, %s", len(p.marks), widget.Bytes(uint64(max(p.marked, 0))))}
	}
	if p.filter != "" {
		parts = append(parts, "with "+widget.Clean(p.filter))
	}
	if p.by != byName {
		parts = append(parts, "by "+p.by.String())
	}
	if p.skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d can't be shown", p.skipped))
	}
	if p.loading {
		parts = append(parts, "reading"+look.Glyphs.Ellipsis)
	}
	return look.Dim.Render(widget.Cut(" "+strings.Join(parts, ", "), p.width, look.Glyphs.Ellipsis))
}
