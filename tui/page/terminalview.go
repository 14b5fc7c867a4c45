package page

import (
	"fmt"
	"strings"
	"time"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
	"tandem/tui/background"
	"tandem/tui/widget"
)

// sideWidth is how wide the list of people is beside a terminal.
const sideWidth = 44

// side reports whether a list fits beside the terminal.
func (t *TerminalPage) side() bool { return t.width >= 2*sideWidth }

// arrange gives each part its room.
func (t *TerminalPage) arrange() {
	width, height := t.width, max(t.height-1, 0)
	list := width
	if t.mode == looking || t.mode == choosing {
		if t.side() {
			width -= sideWidth + 1
			list = sideWidth
		}
		t.people.SetSize(list, max(height-4, 0))
		t.shelf.SetSize(list, max(height-2, 0))
	}
	if t.mode == finding {
		height--
	}
	t.view.SetSize(width, height)
}

// View draws the page.
func (t *TerminalPage) View() string {
	if t.height < 1 || t.width < 1 {
		return ""
	}
	t.view.Focused = t.mode == typing && t.mayType()
	height := t.height - 1
	body := t.view.String()
	if note := t.obstacle(); note != nil {
		body = widget.Center(strings.Join(note, "\n"), t.width, height)
	}
	switch t.mode {
	case finding:
		body = widget.Fit(body, t.width, height-1) + "\n" + t.find.View(t.width)
	case looking, choosing:
		list := t.peopleView()
		if t.mode == choosing {
			list = t.shelfView()
		}
		if t.side() {
			body = t.beside(body, list, height)
		} else {
			body = list
		}
	}
	return widget.Fit(t.headline()+"\n"+body, t.width, t.height)
}

// beside puts a list to the right of the terminal.
func (t *TerminalPage) beside(body, list string, height int) string {
	left := strings.Split(widget.Fit(body, t.width-sideWidth-1, height), "\n")
	right := strings.Split(widget.Fit(list, sideWidth, height), "\n")
	for i := range left {
		left[i] += t.env.Theme.Dim.Render(t.env.Theme.Glyphs.Side) + right[i]
	}
	return strings.Join(left, "\n")
}

// obstacle is what there is to say when there is no terminal to show.
func (t *TerminalPage) obstacle() []string {
	look := t.env.Theme
	switch {
	case t.state == background.Opening:
		return []string{look.Dim.Render("Opening the terminal" + look.Glyphs.Ellipsis)}
	case t.state == background.Over && t.welcome.Viewer == 0 && t.err != nil:
		_, why := session.Public(t.err)
		lines := append([]string{look.Bad.Render("No terminal")}, widget.Wrap(widget.Clean(why), min(t.width-2, 72))...)
		if hint := session.Hint(t.err); hint != "" {
			lines = append(lines, widget.Wrap(widget.Clean(hint), min(t.width-2, 72))...)
		}
		return append(lines, "", look.Key.Render("enter")+" tries again   "+look.Key.Render("l")+" shows which terminals there are")
	}
	return nil
}

// headline says which terminal this is, how large, who types, and how it stands.
func (t *TerminalPage) headline() string {
	look := t.env.Theme
	size := t.view.Screen.Size()
	left := look.Title.Render(widget.Clean(t.terminal()))
	if title := widget.Clean(t.view.Screen.Title()); title != "" && t.state != background.Opening {
		left += look.Dim.Render("  " + widget.Cut(title, 30, look.Glyphs.Ellipsis))
	}
	if t.welcome.Viewer != 0 {
		left += look.Dim.Render(fmt.Sprintf("  %dx%d", size.Cols, size.Rows))
		if t.roster.Pinned {
			left += look.Dim.Render(" fixed")
		}
	}
	left += "  " + t.whoTypes()
	return widget.Spread(" "+left, t.standing()+" ", t.width, look.Glyphs.Ellipsis)
}

// whoTypes is who is here, in a few words.
func (t *TerminalPage) whoTypes() string {
	look := t.env.Theme
	if t.state == background.Over || len(t.roster.Viewers) == 0 {
		return ""
	}
	var words []string
	self := t.self()
	switch {
	case self.Right == terminal.Control:
		words = append(words, "you type")
	case self.Asks != 0:
		words = append(words, look.Warn.Render("you asked to type"))
	default:
		words = append(words, look.Warn.Render("you only watch"))
	}
	if others := len(t.roster.Viewers) - 1; others > 0 {
		words = append(words, widget.Count(others, "other")+" here")
	}
	for _, v := range t.roster.Viewers {
		if v.Viewer == t.roster.Typist && v.Viewer != t.welcome.Viewer {
			words = append(words, look.Accent.Render(widget.Cut(widget.Clean(v.Name), 16, look.Glyphs.Ellipsis)+" typed last"))
		}
		if v.Asks != 0 && t.hosts() {
			words = append(words, look.Badge.Render(" "+widget.Cut(widget.Clean(v.Name), 16, look.Glyphs.Ellipsis)+" asks to type "))
		}
	}
	if t.roster.Recorded {
		words = append(words, look.Bad.Render("recorded"))
	}
	return strings.Join(words, look.Dim.Render(" "+look.Glyphs.Dot+" "))
}

// standing is how the link and the view are.
func (t *TerminalPage) standing() string {
	look := t.env.Theme
	switch {
	case t.state == background.Lost:
		_, why := session.Public(t.err)
		return look.Badge.Render(" connection lost, trying again ") + look.Dim.Render(" "+widget.Cut(widget.Clean(why), 40, look.Glyphs.Ellipsis))
	case t.state == background.Over && t.exit != nil:
		text := fmt.Sprintf(" ended with %d ", t.exit.Code)
		if t.exit.Reason != "" {
			text = " ended: " + widget.Clean(t.exit.Reason) + " "
		}
		return look.Badge.Render(text) + look.Dim.Render(" enter opens another")
	case t.state == background.Over && t.err != nil && t.welcome.Viewer != 0:
		_, why := session.Public(t.err)
		return look.Badge.Render(" " + widget.Clean(why) + " ")
	case t.silence() > 0:
		return look.Badge.Render(" no answer for " + t.silence().Round(time.Second).String() + " ")
	case t.mode == scrolling:
		rows, of := t.view.Scrolled()
		text := fmt.Sprintf(" %d of %d lines back ", rows, of)
		switch {
		case t.hits != "" && of == 0:
			text = " " + t.hits + " "
		case t.hits != "":
			text = " " + t.hits + "," + text
		}
		if t.view.Selecting() {
			text += "selecting "
		}
		return look.Badge.Render(text)
	case t.seeking:
		return look.Badge.Render(" fetching what was printed before" + look.Glyphs.Ellipsis + " ")
	case t.mode == command:
		return look.Badge.Render(" a command? ")
	case t.deaf && t.state == background.Attached:
		return look.Badge.Render(" not sent: you watch only ") + look.Dim.Render(" "+t.keys.prefix.Help().Key+" "+t.keys.ask.Help().Key+" asks to type")
	case t.mode == typing && t.state == background.Attached:
		return look.Dim.Render(t.keys.prefix.Help().Key + " for commands")
	}
	return ""
}

// peopleView is the list of who is here.
func (t *TerminalPage) peopleView() string {
	look := t.env.Theme
	lines := []string{look.Title.Render(" Who is here")}
	width := t.width
	if t.side() {
		width = sideWidth
	}
	list := t.people.View(func(i int, selected bool) string {
		if i >= len(t.roster.Viewers) {
			return ""
		}
		v := t.roster.Viewers[i]
		row := terminal.Describe(v, t.roster.Typist, node.Words)
		row[0] = t.who(v)
		switch { // first, as long names are cut
		case v.Viewer == t.welcome.Viewer:
			row[0] = "you: " + row[0]
		case v.Host:
			row[0] = "host: " + row[0]
		}
		right := strings.TrimSpace(strings.Join([]string{row[1], row[2], row[3]}, " "))
		if row[4] != "" {
			right = row[4]
		}
		line := widget.Spread(" "+row[0], right+" ", width, look.Glyphs.Ellipsis)
		if selected {
			return look.Selected.Render(widget.Pad(line, width))
		}
		return line
	})
	lines = append(lines, list)
	foot := ""
	if out := t.keptOut(); len(out) > 0 {
		names := make([]string, len(out))
		for i, p := range out {
			names[i] = terminal.Who(p, nil)
		}
		foot = look.Dim.Render(widget.Cut(" kept out: "+strings.Join(names, ", "), width, look.Glyphs.Ellipsis))
	}
	return strings.Join(append(lines, "", foot), "\n")
}

// shelfView is the list of terminals.
func (t *TerminalPage) shelfView() string {
	look := t.env.Theme
	width := t.width
	if t.side() {
		width = sideWidth
	}
	list := t.shelf.View(func(i int, selected bool) string {
		line := " a new one"
		if i < len(t.infos) {
			info := t.infos[i]
			left := " " + widget.Clean(info.Name)
			if info.Name == t.terminal() {
				left += " (this one)"
			}
			right := widget.Clean(info.Program) + ", " + widget.Count(len(info.Viewers), "viewer") + " "
			line = widget.Spread(left, right, width, look.Glyphs.Ellipsis)
		}
		if selected {
			return look.Selected.Render(widget.Pad(line, width))
		}
		return line
	})
	return look.Title.Render(" Terminals") + "\n\n" + list
}
