package tui

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/page"
	"tandem/tui/widget"
)

// palette lists what can be done here, and does it: the page's keys, the root's,
// and the pages of this device.
type palette struct {
	env           page.Env
	field         widget.Field
	all           []choice
	shown         []int
	list          widget.List
	width, height int
}

// choice is one thing to do.
type choice struct {
	name, key string
	cmd       tea.Cmd
}

func newPalette(env page.Env, under page.Page) *palette {
	p := &palette{env: env, field: widget.NewField(env.Theme, ":"), list: widget.NewList(env.Keys)}
	p.field.Focus()
	for _, b := range under.Keys() {
		if b.Enabled() && len(b.Keys()) > 0 {
			p.add(b)
		}
	}
	for _, e := range env.Entries {
		if !e.Peer {
			p.all = append(p.all, choice{e.Title + ": " + e.About, e.Key.Help().Key, func() tea.Msg {
				return page.Replace{Page: e.New(env, page.Subject{})}
			}})
		}
	}
	for _, b := range []key.Binding{env.Keys.Help, env.Keys.Suspend} {
		p.add(b)
	}
	p.all = append(p.all,
		choice{"home", "", tea.Sequence(page.Send(page.Back{}), page.Send(page.Home{}))},
		choice{"quit", env.Keys.Quit.Help().Key, tea.Sequence(page.Send(page.Back{}), page.Send(page.Quit{}))})
	p.filter()
	return p
}

// add makes a choice of a key: the palette closes, and the key is pressed.
func (p *palette) add(b key.Binding) {
	press, ok := widget.ParseKey(b.Keys()[0])
	if !ok {
		return
	}
	p.all = append(p.all, choice{b.Help().Desc, b.Help().Key, tea.Sequence(page.Send(page.Back{}), page.Send(run{press}))})
}

func (p *palette) filter() {
	p.shown = p.shown[:0]
	words := strings.Fields(strings.ToLower(p.field.Value()))
	for i, c := range p.all {
		if matches(strings.ToLower(c.name), words) {
			p.shown = append(p.shown, i)
		}
	}
	p.list.SetLength(len(p.shown))
	p.list.Select(0)
}

func matches(name string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(name, w) {
			return false
		}
	}
	return true
}

func (p *palette) Init() tea.Cmd { return nil }

func (p *palette) Captures() page.Capture { return page.CaptureText }

func (p *palette) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	if m, ok := msg.(tea.MouseMsg); ok {
		m.Y -= 2
		msg = m
	}
	if p.list.Clicked(msg) {
		return p, p.choose()
	}
	k, ok := msg.(tea.KeyMsg)
	switch {
	case !ok:
		p.list.Update(msg)
	case key.Matches(k, p.env.Keys.Back), k.Type == tea.KeyCtrlP:
		return p, page.Send(page.Back{})
	case key.Matches(k, p.env.Keys.Open):
		return p, p.choose()
	case k.Type == tea.KeyUp, k.Type == tea.KeyDown, k.Type == tea.KeyPgUp, k.Type == tea.KeyPgDown:
		p.list.Update(msg)
	case p.field.Update(msg):
		p.filter()
	}
	return p, nil
}

func (p *palette) choose() tea.Cmd {
	if i := p.list.Cursor(); i >= 0 {
		return p.all[p.shown[i]].cmd
	}
	return nil
}

func (p *palette) View() string {
	t := p.env.Theme
	rows := p.list.View(func(i int, selected bool) string {
		c := p.all[p.shown[i]]
		line := widget.Columns([]int{2, 10, max(0, p.width-14)}, t.Glyphs.Ellipsis, "", t.Key.Render(c.key), c.name)
		if selected {
			return t.Selected.Render(widget.Columns([]int{1, 11, max(0, p.width-14)}, t.Glyphs.Ellipsis, t.Glyphs.Cursor, c.key, c.name))
		}
		return line
	})
	return widget.Fit(" "+p.field.View(p.width-2)+"\n\n"+rows, p.width, p.height)
}

func (p *palette) SetSize(w, h int) {
	p.width, p.height = w, h
	p.list.SetSize(w, max(0, h-2))
}

func (p *palette) Title() string { return "Commands" }

func (p *palette) Keys() []key.Binding {
	return []key.Binding{p.env.Keys.Open, p.env.Keys.Back}
}
