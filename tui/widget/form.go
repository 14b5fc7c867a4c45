package widget

import (
	"slices"
	"strings"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/theme"
)

// Form is questions one below the other: texts, switches and choices.
type Form struct {
	theme         theme.Theme
	keys          theme.Keys
	items         []*Item
	focus         int
	offset        int // the first visible of the shown items
	width, height int
}

// Item is one question of a form.
type Item struct {
	Label string
	// Hint is shown beside the item that has the focus.
	Hint string
	// Options are what can be chosen; nil makes it a text.
	Options []string
	Chosen  int
	Text    Field
	// Hidden reports that the question doesn't arise; nil is never.
	Hidden func() bool
	// Wrong is what is wrong with the answer.
	Wrong string
}

// TextItem makes a question for a text.
func TextItem(t theme.Theme, label, value, placeholder, hint string) *Item {
	i := &Item{Label: label, Hint: hint, Text: NewField(t, "")}
	i.Text.Set(value)
	i.Text.Placeholder = placeholder
	return i
}

// ChoiceItem makes a question with a few answers.
func ChoiceItem(label, hint string, options ...string) *Item {
	return &Item{Label: label, Hint: hint, Options: options}
}

// Value is the text that was typed, without blanks around it.
func (i *Item) Value() string { return strings.TrimSpace(i.Text.Value()) }

func (i *Item) hidden() bool { return i.Hidden != nil && i.Hidden() }

// NewForm makes a form with the focus on its first item.
func NewForm(t theme.Theme, keys theme.Keys, items ...*Item) Form {
	f := Form{theme: t, keys: keys, items: items}
	f.settle()
	return f
}

// Focused is the item that has the focus.
func (f *Form) Focused() *Item { return f.items[f.focus] }

// FocusOn moves the focus to an item.
func (f *Form) FocusOn(item *Item) {
	if i := slices.Index(f.items, item); i >= 0 {
		f.focus = i
		f.settle()
	}
}

// SetSize sets the size of the form; items that don't fit scroll.
func (f *Form) SetSize(width, height int) {
	f.width, f.height = max(0, width), max(0, height)
	f.settle()
}

// shown are the items that are not hidden.
func (f *Form) shown() []*Item {
	var items []*Item
	for _, i := range f.items {
		if !i.hidden() {
			items = append(items, i)
		}
	}
	return items
}

func (f *Form) settle() {
	for i, item := range f.items {
		if i == f.focus && item.Options == nil {
			item.Text.Focus()
		} else {
			item.Text.Blur()
		}
	}
	shown := f.shown()
	at := slices.Index(shown, f.items[f.focus])
	f.offset = min(f.offset, at)
	if f.height > 0 {
		f.offset = max(f.offset, at-f.height+1)
	}
	f.offset = max(0, min(f.offset, len(shown)-f.height))
}

// step moves the focus over the shown items, around the ends.
func (f *Form) step(by int) {
	shown := f.shown()
	at := slices.Index(shown, f.items[f.focus])
	next := shown[(at+by+len(shown))%len(shown)]
	f.focus = slices.Index(f.items, next)
	f.settle()
}

// Update takes a key or a click, and reports whether it was for the form.
func (f *Form) Update(msg tea.Msg) bool {
	switch msg := msg.(type) {
	case tea.MouseMsg:
		return f.mouse(msg)
	case tea.KeyMsg:
		item := f.items[f.focus]
		switch {
		case key.Matches(msg, f.keys.Next), msg.Type == tea.KeyDown:
			f.step(1)
		case key.Matches(msg, f.keys.Previous), msg.Type == tea.KeyUp:
			f.step(-1)
		case item.Options != nil && (msg.Type == tea.KeySpace || msg.Type == tea.KeyRight):
			f.choose(item, 1)
		case item.Options != nil && msg.Type == tea.KeyLeft:
			f.choose(item, -1)
		case item.Options == nil && item.Text.Update(msg):
			item.Wrong = ""
		default:
			return item.Options == nil && msg.Type == tea.KeyRunes
		}
		return true
	}
	return false
}

func (f *Form) choose(item *Item, by int) {
	item.Chosen = (item.Chosen + by + len(item.Options)) % len(item.Options)
	item.Wrong = ""
	f.settle()
}

func (f *Form) mouse(msg tea.MouseMsg) bool {
	if msg.Action != tea.MouseActionPress {
		return false
	}
	switch msg.Button {
	case tea.MouseButtonWheelUp:
		f.step(-1)
	case tea.MouseButtonWheelDown:
		f.step(1)
	case tea.MouseButtonLeft:
		shown := f.shown()
		i := f.offset + msg.Y
		if msg.Y < 0 || msg.Y >= f.height || i >= len(shown) {
			return false
		}
		if shown[i] == f.items[f.focus] && shown[i].Options != nil {
			f.choose(shown[i], 1)
		}
		f.FocusOn(shown[i])
	default:
		return false
	}
	return true
}

// View draws the items that fit, one line each.
func (f *Form) View() string {
	const label = 14
	t := f.theme
	var lines []string
	shown := f.shown()
	for n := f.offset; n < min(len(shown), f.offset+f.height); n++ {
		item := shown[n]
		focused := item == f.items[f.focus]
		mark, name := " ", t.Dim.Render(item.Label)
		if focused {
			mark, name = t.Accent.Render(t.Glyphs.Cursor), t.Accent.Render(item.Label)
		}
		line := mark + " " + Pad(name, label) + " " + f.answer(item, focused, max(10, f.width-label-4))
		lines = append(lines, Cut(line, f.width, t.Glyphs.Ellipsis))
	}
	return Fit(strings.Join(lines, "\n"), f.width, f.height)
}

func (f *Form) answer(item *Item, focused bool, width int) string {
	t := f.theme
	if item.Wrong != "" {
		wrong := t.Bad.Render(item.Wrong)
		if item.Options != nil {
			return item.Options[item.Chosen] + "  " + wrong
		}
		return strings.TrimRight(item.Text.View(min(width, 30)), " ") + "  " + wrong
	}
	if item.Options == nil {
		if focused && item.Hint != "" && item.Text.Value() == "" {
			field := item.Text
			field.Placeholder = ""
			return field.View(3) + t.Dim.Render(item.Hint)
		}
		return item.Text.View(width)
	}
	var parts []string
	for i, o := range item.Options {
		switch {
		case i != item.Chosen:
			parts = append(parts, t.Dim.Render(" "+o+" "))
		case focused && !t.Plain:
			parts = append(parts, t.Selected.Render(" "+o+" "))
		default:
			parts = append(parts, t.Text.Render("["+o+"]"))
		}
	}
	return strings.Join(parts, "")
}
