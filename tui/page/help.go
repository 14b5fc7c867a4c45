package page

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/widget"
)

// Help lists the keys of the page it was opened from, those that mean the same
// everywhere, and the pages there are. It is generated from the keymaps.
type Help struct {
	env           Env
	lines         []string
	list          widget.List
	width, height int
}

// NewHelp makes the help about a page.
func NewHelp(env Env, about Page) *Help {
	h := &Help{env: env, list: widget.NewList(env.Keys)}
	t, k := env.Theme, env.Keys
	h.section(about.Title())
	h.keys(about.Keys()...)
	h.section("Everywhere")
	h.keys(k.Back, k.Help, k.Palette, k.Suspend, k.Quit)
	h.section("Lists")
	h.keys(k.Up, k.Down, k.PageUp, k.PageDown, k.Top, k.Bottom, k.Open)
	if len(env.Entries) > 0 {
		h.section("Pages")
		for _, e := range env.Entries {
			where := "about this device"
			if e.Peer {
				where = "from a peer"
			}
			h.line(e.Key.Help().Key, e.Title+": "+e.About+t.Dim.Render("  "+where))
		}
	}
	h.section("Good to know")
	for _, s := range []string{
		"The line above the keys shows the command that does the same: everything here is a verb too.",
		"Who asks to come in interrupts any page. Compare the words by voice, then answer with a capital letter.",
		"The mouse works: click a line to select it, again to open it. Hold shift to select text.",
		"NO_COLOR, --plain (for screen readers) and theme in the configuration change how this looks.",
	} {
		h.lines = append(h.lines, "  "+s)
	}
	h.list.SetLength(len(h.lines))
	return h
}

func (h *Help) section(title string) {
	if len(h.lines) > 0 {
		h.lines = append(h.lines, "")
	}
	h.lines = append(h.lines, h.env.Theme.Title.Render(title))
}

func (h *Help) keys(bindings ...key.Binding) {
	for _, b := range bindings {
		if b.Enabled() {
			h.line(strings.Join(b.Keys(), " "), b.Help().Desc)
		}
	}
}

func (h *Help) line(keys, about string) {
	if strings.HasPrefix(keys, " ") {
		keys = "space"
	}
	h.lines = append(h.lines, "  "+widget.Pad(h.env.Theme.Key.Render(keys), 16)+" "+about)
}

// Init does nothing.
func (h *Help) Init() tea.Cmd { return nil }

// Update scrolls.
func (h *Help) Update(msg tea.Msg) (Page, tea.Cmd) {
	if k, ok := msg.(tea.KeyMsg); ok { // there is no cursor: the window moves
		switch {
		case key.Matches(k, h.env.Keys.Down):
			h.list.Select(min(len(h.lines)-1, max(h.list.Cursor(), h.height-1)+1))
			return h, nil
		case key.Matches(k, h.env.Keys.Up):
			h.list.Select(max(0, min(h.list.Cursor(), len(h.lines)-h.height)-1))
			return h, nil
		}
	}
	h.list.Update(msg)
	return h, nil
}

// View shows what fits.
func (h *Help) View() string {
	return h.list.View(func(i int, _ bool) string {
		return widget.Cut(" "+h.lines[i], h.width, h.env.Theme.Glyphs.Ellipsis)
	})
}

// SetSize sets the size of the page.
func (h *Help) SetSize(w, height int) {
	h.width, h.height = w, height
	h.list.SetSize(w, height)
}

// Title is that of the page.
func (h *Help) Title() string { return "Help" }

// Keys are none but the root's.
func (h *Help) Keys() []key.Binding { return nil }
