package tui

import (
	"context"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	jobs "tandem/tui/background"
	"tandem/tui/page"
)

// The window below which pages aren't shown.
const (
	leastWidth  = 40
	leastHeight = 10
)

// The window of a terminal that doesn't say.
const (
	usualWidth  = 80
	usualHeight = 24
)

// chrome is how many lines the header, status and footer take.
const chrome = 3

// layer is an open page and the verb that does the same.
type layer struct {
	page page.Page
	verb string
}

// root is the model of the whole window.
type root struct {
	env           page.Env
	ends          func() bool
	width, height int
	pages         []layer // the first is home
	over          page.Page
	asked         string // the request that over is about
	later         map[string]bool
	feed          *feed
	state         page.State
	copies        map[int]jobs.Stage // as they were last told
	now           time.Time
	toasts        toasts
	first         func(page.Env) page.Page
}

func newRoot(c Config, run func(func(context.Context) tea.Msg) tea.Cmd, now time.Time) *root {
	theme := newTheme(c.Theme)
	m := &root{
		env: page.Env{
			Backend: c.Backend, Theme: theme, Keys: c.Keys, Entries: entries(), Seat: c.Seat, Doctor: c.Doctor, Now: now, Run: run, Demo: startDemo,
			Transfers: jobs.NewTransfers(jobs.FolderCopier(c.Backend)), Forwards: jobs.NewForwards(c.Backend),
		},
		ends:  c.Ends,
		later: make(map[string]bool),
		feed:  &feed{run: run, backend: c.Backend},
		now:   now,
		first: c.First,
		width: usualWidth, height: usualHeight,
	}
	m.pages = []layer{{page: page.NewHome(m.env)}}
	m.resize()
	return m
}

func (m *root) Init() tea.Cmd {
	home := m.pages[0].page.Init()
	if m.first != nil {
		home = tea.Sequence(home, page.Send(page.Open{Page: m.first(m.env)}))
	}
	return tea.Batch(home, m.feed.subscribe(), m.feed.ask(), m.tick(), tea.SetWindowTitle("tandem"),
		page.RunTransfers(m.env), page.WatchTransfers(m.env, 0), page.RunForwards(m.env))
}

func (m *root) tick() tea.Cmd {
	return m.env.After(time.Second, func(now time.Time) tea.Msg { return page.Tick{Now: now} })
}

// again listens to events anew after a while.
func (m *root) again() tea.Cmd {
	return m.env.After(time.Second, func(time.Time) tea.Msg { return subscribe{} })
}

func (m *root) top() *layer { return &m.pages[len(m.pages)-1] }

// Update hands each message to whom it is for.
func (m *root) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.setSize(msg.Width, msg.Height)
		if m.over != nil {
			return m, m.toOver(msg)
		}
		return m, nil
	case tea.KeyMsg:
		return m, m.key(msg)
	case tea.MouseMsg:
		return m, m.mouse(msg)
	case subscribe, subscribed, drained, answered, page.Tick, page.Refresh, page.Transferred:
		return m, m.live(msg)
	case page.Open, page.Replace, page.Back, page.Home, page.Quit, page.Ask, answer, later:
		return m, m.navigate(msg)
	case page.Toast:
		m.toasts.add(msg.Text, msg.Level, m.now)
	case page.Fail:
		m.toasts.fail(msg.Err, m.now)
	case page.Verb:
		m.top().verb = msg.Text
	case page.Exec:
		return m, exec(msg)
	case run:
		return m, m.key(msg.key)
	case panicked:
		panic(msg.why)
	default:
		return m, m.broadcast(msg)
	}
	return m, nil
}

func exec(e page.Exec) tea.Cmd {
	return tea.Exec(e.Command, func(err error) tea.Msg {
		if e.Done != nil {
			return e.Done(err)
		}
		if err != nil {
			return page.Fail{Err: err}
		}
		return nil
	})
}

// broadcast gives a message to every page.
func (m *root) broadcast(msg tea.Msg) tea.Cmd {
	cmds := make([]tea.Cmd, 0, len(m.pages)+1)
	for i := range m.pages {
		var cmd tea.Cmd
		m.pages[i].page, cmd = m.pages[i].page.Update(msg)
		cmds = append(cmds, cmd)
	}
	if m.over != nil {
		var cmd tea.Cmd
		m.over, cmd = m.over.Update(msg)
		cmds = append(cmds, cmd)
	}
	return tea.Batch(cmds...)
}

// live takes what comes in from the node and the clock.
func (m *root) live(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case subscribe:
		return m.feed.subscribe()
	case subscribed:
		if msg.err != nil {
			return m.again()
		}
		return m.feed.wait(msg.events)
	case drained:
		cmds := []tea.Cmd{m.broadcast(msg.Happened), m.feed.happened(msg.Happened)}
		for _, e := range msg.Events {
			m.toasts.event(e, m.now)
		}
		if msg.ended {
			return tea.Batch(append(cmds, m.again())...)
		}
		return tea.Batch(append(cmds, m.feed.wait(msg.events))...)
	case answered:
		state := msg.state
		if state.Err != nil { // what was known stays
			was := m.state
			was.Err = state.Err
			state = was
		}
		m.state, m.env.State = state, state
		return tea.Batch(m.broadcast(state), m.feed.answered(msg), m.interrupt())
	case page.Refresh:
		return m.feed.ask()
	case page.Transferred:
		m.transferred(msg)
		return tea.Batch(m.broadcast(msg), page.WatchTransfers(m.env, msg.Version))
	case page.Tick:
		m.now, m.env.Now = msg.Now, msg.Now
		m.toasts.expire(msg.Now)
		return tea.Batch(m.broadcast(msg), m.feed.due(msg.Now), m.tick())
	}
	return nil
}

// transferred tells of copies that have ended or ask something since.
func (m *root) transferred(msg page.Transferred) {
	stages := make(map[int]jobs.Stage, len(msg.List))
	for _, s := range msg.List {
		stages[s.ID] = s.Stage
		if was, known := m.copies[s.ID]; known && was == s.Stage {
			continue
		}
		if text, level := page.DescribeEnd(s); text != "" {
			m.toasts.add(text, level, m.now)
		}
	}
	m.copies = stages
}

// key gives a key to whom it is for: what interrupts, a page that takes it, the
// root, the page.
func (m *root) key(msg tea.KeyMsg) tea.Cmd {
	m.toasts.keyed(m.now)
	keys := m.env.Keys
	if m.over != nil && !m.tooSmall() { // nobody answers what isn't shown
		if key.Matches(msg, keys.Suspend) {
			return tea.Suspend
		}
		return m.toOver(msg)
	}
	capture := page.CaptureNone
	if c, ok := m.top().page.(page.Capturer); ok {
		capture = c.Captures()
	}
	if capture == page.CaptureAll || capture == page.CaptureText && isText(msg) {
		return m.toTop(msg)
	}
	switch {
	case key.Matches(msg, keys.Suspend):
		return tea.Suspend
	case msg.Type == tea.KeyCtrlC:
		return m.quit()
	case takes(m.top().page, msg):
		return m.toTop(msg)
	case key.Matches(msg, keys.Help):
		return m.open(page.NewHelp(m.env, m.top().page))
	case key.Matches(msg, keys.Palette):
		return m.open(newPalette(m.env, m.top().page))
	case key.Matches(msg, keys.Quit) && len(m.pages) == 1:
		return m.quit()
	case key.Matches(msg, keys.Quit), key.Matches(msg, keys.Back):
		return m.back()
	}
	return m.toTop(msg)
}

// takes reports whether a key is one of the page's own.
func takes(p page.Page, msg tea.KeyMsg) bool {
	for _, b := range p.Keys() {
		if key.Matches(msg, b) {
			return true
		}
	}
	return false
}

// isText reports whether a key belongs to text that is being typed.
func isText(msg tea.KeyMsg) bool {
	switch msg.Type {
	case tea.KeyCtrlC, tea.KeyCtrlP, tea.KeyCtrlZ, tea.KeyF1:
		return false
	}
	return true
}

func (m *root) toTop(msg tea.Msg) tea.Cmd {
	top := m.top()
	var cmd tea.Cmd
	top.page, cmd = top.page.Update(msg)
	return cmd
}

func (m *root) toOver(msg tea.Msg) tea.Cmd {
	var cmd tea.Cmd
	m.over, cmd = m.over.Update(msg)
	return cmd
}

// mouse gives the mouse to the page, in the page's own coordinates.
func (m *root) mouse(msg tea.MouseMsg) tea.Cmd {
	msg.Y--
	if msg.Y < 0 || msg.Y >= m.height-chrome || msg.X < 0 || msg.X >= m.width {
		return nil
	}
	if m.over != nil && !m.tooSmall() {
		return m.toOver(msg)
	}
	return m.toTop(msg)
}

// navigate opens and closes pages.
func (m *root) navigate(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case page.Open:
		return m.open(msg.Page)
	case page.Replace:
		if len(m.pages) == 1 {
			return m.open(msg.Page)
		}
		return tea.Batch(m.back(), m.open(msg.Page))
	case page.Back:
		return m.back()
	case page.Home:
		var cmds []tea.Cmd
		for len(m.pages) > 1 {
			cmds = append(cmds, m.back())
		}
		return tea.Batch(cmds...)
	case page.Quit:
		return m.quit()
	case page.Ask:
		delete(m.later, msg.Request)
		return m.interrupt()
	case later:
		m.later[msg.id] = true
		m.over, m.asked = nil, ""
		return m.interrupt()
	case answer:
		m.over, m.asked = nil, ""
		m.later[msg.id] = true // until the node says that it is settled
		return tea.Batch(msg.cmd, m.interrupt())
	}
	return nil
}

func (m *root) open(p page.Page) tea.Cmd {
	p.SetSize(m.body())
	m.pages = append(m.pages, layer{page: p})
	top := m.top()
	cmds := []tea.Cmd{top.page.Init()}
	missed := []tea.Msg{page.Tick{Now: m.now}} // since its Env was made
	if !m.state.At.IsZero() {
		missed = append(missed, m.state)
	}
	for _, msg := range missed {
		var cmd tea.Cmd
		top.page, cmd = top.page.Update(msg)
		cmds = append(cmds, cmd)
	}
	return tea.Batch(cmds...)
}

// back closes the top page; home stays.
func (m *root) back() tea.Cmd {
	if len(m.pages) == 1 {
		return nil
	}
	top := m.top().page
	m.pages = m.pages[:len(m.pages)-1]
	if c, ok := top.(page.Closer); ok {
		return c.Close()
	}
	return nil
}

// interrupt shows the oldest request that waits, if nothing is shown yet, and
// takes away one that has been settled elsewhere.
func (m *root) interrupt() tea.Cmd {
	waiting := func(id string) bool {
		for _, r := range m.state.Requests {
			if r.ID == id {
				return true
			}
		}
		return false
	}
	for id := range m.later {
		if !waiting(id) {
			delete(m.later, id)
		}
	}
	if m.over != nil && m.asked != "" && !waiting(m.asked) {
		m.over, m.asked = nil, ""
		m.toasts.add("That request needs no answer any more.", page.Info, m.now)
	}
	if m.over != nil {
		return nil
	}
	for _, r := range m.state.Requests {
		if !m.later[r.ID] {
			return m.ask(r)
		}
	}
	return nil
}

func (m *root) ask(r node.Request) tea.Cmd {
	approval := page.NewApproval(m.env, r, shareName(m.state, r.Share),
		func(id string, cmd tea.Cmd) tea.Msg { return answer{id, cmd} }, func(id string) tea.Msg { return later{id} })
	approval.SetSize(m.body())
	m.over, m.asked = approval, r.ID
	return approval.Init()
}

func shareName(s page.State, id string) string {
	for _, share := range s.Shares {
		if share.ID == id {
			return share.Name
		}
	}
	return ""
}

// answer closes an approval, and runs what it decided; later closes it only.
type answer struct {
	id  string
	cmd tea.Cmd
}

type later struct{ id string }

// run is a key that the palette chose.
type run struct{ key tea.KeyMsg }

// quit ends the program, after a question if that would cut somebody off.
func (m *root) quit() tea.Cmd {
	cut := m.cut()
	if len(cut) == 0 {
		return tea.Quit
	}
	q := newQuestion(m.env, "Quit?", cut, "Y", "quit", func() tea.Msg { return tea.QuitMsg{} })
	return m.open(q)
}

// cut is what quitting would cut off.
func (m *root) cut() []string {
	var cut []string
	if m.ends != nil && m.ends() {
		for _, s := range m.state.Shares {
			if s.Beside {
				continue // it goes on in its own window
			}
			guests := 0
			for _, g := range s.Guests {
				if g.Connected {
					guests++
				}
			}
			cut = append(cut, describeCut(s, guests))
		}
	}
	for _, what := range []string{m.env.Transfers.Keeping(), m.env.Forwards.Keeping()} {
		if what != "" {
			cut = append(cut, what)
		}
	}
	for _, l := range m.pages {
		if k, ok := l.page.(page.Keeper); ok {
			if what := k.Keeping(); what != "" {
				cut = append(cut, session.Printable(what))
			}
		}
	}
	return cut
}

func (m *root) body() (width, height int) { return m.width, max(0, m.height-chrome) }

// setSize takes the size of the window. A terminal that doesn't know its own, such as
// a serial console, says 0 by 0.
func (m *root) setSize(width, height int) {
	if width <= 0 || height <= 0 {
		width, height = usualWidth, usualHeight
	}
	m.width, m.height = width, height
	m.resize()
}

func (m *root) resize() {
	w, h := m.body()
	for _, l := range m.pages {
		l.page.SetSize(w, h)
	}
	if m.over != nil {
		m.over.SetSize(w, h)
	}
}
