package tui

import (
	"strings"

	"github.com/charmbracelet/bubbles/key"
	"github.com/charmbracelet/x/ansi"

	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

func newTheme(o theme.Options) theme.Theme { return theme.New(o) }

// View draws the window.
func (m *root) View() string {
	if m.tooSmall() {
		text := strings.Join(widget.Wrap("tandem needs a window of 40 by 10. q quits.", m.width), "\n")
		return widget.Fit(m.asASCII(text), m.width, m.height)
	}
	w, h := m.body()
	shown := m.top().page
	if m.over != nil {
		shown = m.over
	}
	if whole, ok := shown.(page.Whole); ok {
		if view, ok := whole.Whole(m.width, m.height); ok {
			return m.asASCII(widget.Fit(view, m.width, m.height))
		}
	}
	view := strings.Join([]string{
		m.header(shown), widget.Fit(shown.View(), w, h), widget.Pad(m.status(), w), widget.Pad(m.footer(shown), w),
	}, "\n")
	return m.asASCII(view)
}

// tooSmall reports whether the window shows no page.
func (m *root) tooSmall() bool { return m.width < leastWidth || m.height < leastHeight }

// asASCII replaces, in a terminal without UTF-8, what it can't show.
func (m *root) asASCII(s string) string {
	if !m.env.Theme.ASCII {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 { // what is laid out as one is replaced as one
		if s[0] == 0x1b {
			_, _, n, _ := ansi.DecodeSequence(s, 0, nil)
			b.WriteString(s[:n])
			s = s[n:]
			continue
		}
		cluster, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		if len(cluster) == 1 {
			b.WriteString(cluster)
		} else {
			b.WriteString(strings.Repeat("?", width))
		}
		s = s[len(cluster):]
	}
	return b.String()
}

// header says where we are, and what is live.
func (m *root) header(shown page.Page) string {
	t := m.env.Theme
	var crumbs []string
	for i, l := range m.pages {
		if i == 0 && len(m.pages) > 1 {
			continue // there is always a way home
		}
		crumbs = append(crumbs, l.page.Title())
	}
	if m.over != nil {
		crumbs = append(crumbs, shown.Title())
	}
	left := t.Header.Render(" tandem ") + t.Dim.Render(t.Glyphs.Arrow+" ") + strings.Join(crumbs, t.Dim.Render(" "+t.Glyphs.Arrow+" "))
	return widget.Pad(widget.Spread(left, m.situation()+" ", m.width, t.Glyphs.Ellipsis), m.width)
}

// situation is this device, its server and what is live, in a few words.
func (m *root) situation() string {
	t := m.env.Theme
	s := m.state
	switch {
	case s.Err != nil:
		return t.Badge.Render(" " + trouble(s.Err) + " ")
	case s.At.IsZero():
		return t.Dim.Render("starting" + t.Glyphs.Ellipsis)
	}
	var parts []string
	if n := len(s.Requests); n > 0 {
		parts = append(parts, t.Badge.Render(" "+itoa(n)+" waiting "))
	}
	live := 0
	for live < len(s.Peers) && s.Peers[live].Connected {
		live++
	}
	if live > 0 {
		parts = append(parts, t.Good.Render(t.Glyphs.Live)+" "+itoa(live)+" live")
	}
	name := widget.Cut(widget.Clean(s.Self.Peer.Name), 24, t.Glyphs.Ellipsis)
	if name == "" {
		name = s.Self.Peer.ID.Short()
	}
	return strings.Join(append(parts, t.Title.Render(name)), "  ")
}

// status is a toast, an error, or the page's verb.
func (m *root) status() string {
	t := m.env.Theme
	if line := m.toasts.line(t); line != "" {
		return widget.Cut(" "+line, m.width, t.Glyphs.Ellipsis)
	}
	verb := m.top().verb
	if v, ok := m.top().page.(page.Verber); ok {
		verb = v.Verb()
	}
	if verb != "" && m.over == nil {
		return widget.Cut(t.Dim.Render(" $ "+widget.Clean(verb)), m.width, t.Glyphs.Ellipsis)
	}
	return ""
}

// footer is the keys of the page, and how to find the others.
func (m *root) footer(shown page.Page) string {
	t, keys := m.env.Theme, m.env.Keys
	var always []key.Binding
	if m.over == nil {
		always = []key.Binding{keys.Help, keys.Palette}
		if c, ok := shown.(page.Capturer); ok {
			switch c.Captures() {
			case page.CaptureText:
				always = []key.Binding{theme.Bind("help", "f1")}
			case page.CaptureAll:
				always = nil
			}
		}
		if len(m.pages) == 1 {
			always = append(always, keys.Quit)
		}
	}
	right := renderKeys(t, always)
	left := " "
	for _, b := range shown.Keys() {
		if !b.Enabled() {
			continue
		}
		next := renderKeys(t, []key.Binding{b}) + "  "
		if ansi.StringWidth(left)+ansi.StringWidth(next)+ansi.StringWidth(right)+1 > m.width {
			break
		}
		left += next
	}
	return widget.Spread(left, right+" ", m.width, "")
}

func renderKeys(t theme.Theme, keys []key.Binding) string {
	var parts []string
	for _, b := range keys {
		h := b.Help()
		parts = append(parts, t.Key.Render(h.Key)+" "+t.Footer.Render(h.Desc))
	}
	return strings.Join(parts, "  ")
}
