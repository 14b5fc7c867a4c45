package widget

import (
	"strings"
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"

	"tandem/tui/theme"
)

// maxField is how much text a field takes, in bytes.
const maxField = 4096

// Field is a line of text that can be edited.
type Field struct {
	theme       theme.Theme
	prompt      string
	value       []rune
	cursor      int
	focused     bool
	Placeholder string
}

// NewField makes an empty field.
func NewField(t theme.Theme, prompt string) Field { return Field{theme: t, prompt: prompt} }

// Value is the text.
func (f *Field) Value() string { return string(f.value) }

// Set replaces the text.
func (f *Field) Set(s string) {
	f.value = nil
	f.insert([]rune(s))
}

// Focus and Blur give and take the cursor; Focused reports who has it.
func (f *Field) Focus() { f.focused = true }

// Blur takes the cursor away.
func (f *Field) Blur() { f.focused = false }

// Focused reports whether the field has the cursor.
func (f *Field) Focused() bool { return f.focused }

// Update edits the text by a key, and reports whether it has changed.
func (f *Field) Update(msg tea.Msg) bool {
	k, ok := msg.(tea.KeyMsg)
	if !ok || !f.focused {
		return false
	}
	switch k.String() {
	case "left", "ctrl+b":
		f.cursor = max(0, f.cursor-1)
	case "right", "ctrl+f":
		f.cursor = min(len(f.value), f.cursor+1)
	case "home", "ctrl+a":
		f.cursor = 0
	case "end", "ctrl+e":
		f.cursor = len(f.value)
	case "backspace", "ctrl+h":
		return f.remove(f.cursor-1, f.cursor)
	case "delete", "ctrl+d":
		return f.remove(f.cursor, f.cursor+1)
	case "ctrl+u":
		return f.remove(0, f.cursor)
	case "ctrl+k":
		return f.remove(f.cursor, len(f.value))
	case "ctrl+w", "alt+backspace":
		from := f.cursor
		for from > 0 && f.value[from-1] == ' ' {
			from--
		}
		for from > 0 && f.value[from-1] != ' ' {
			from--
		}
		return f.remove(from, f.cursor)
	default:
		if k.Type != tea.KeyRunes && k.Type != tea.KeySpace || k.Alt {
			return false
		}
		return f.insert(k.Runes)
	}
	return false
}

func (f *Field) insert(runes []rune) bool {
	var clean []rune
	for _, r := range Clean(strings.TrimRight(string(runes), "\r\n")) {
		if r != utf8.RuneError { // what can't be shown isn't taken
			clean = append(clean, r)
		}
	}
	f.cursor = min(f.cursor, len(f.value))
	if len(clean) == 0 || len(string(f.value))+len(string(clean)) > maxField {
		return false
	}
	f.value = append(f.value[:f.cursor:f.cursor], append(clean, f.value[f.cursor:]...)...)
	f.cursor += len(clean)
	return true
}

func (f *Field) remove(from, to int) bool {
	from, to = max(0, from), min(len(f.value), to)
	if from >= to {
		return false
	}
	f.value = append(f.value[:from:from], f.value[to:]...)
	f.cursor = from
	return true
}

// View is the field in width columns, with the cursor in sight.
func (f *Field) View(width int) string {
	prompt := ""
	if f.prompt != "" {
		prompt = f.theme.Accent.Render(f.prompt) + " "
	}
	room := width - ansi.StringWidth(prompt)
	if room <= 1 {
		return Pad(prompt, width)
	}
	if len(f.value) == 0 && !f.focused {
		return Pad(prompt+f.theme.Dim.Render(Cut(f.Placeholder, room, f.theme.Glyphs.Ellipsis)), width)
	}
	if !f.focused {
		return Pad(prompt+Cut(string(f.value), room, f.theme.Glyphs.Ellipsis), width)
	}
	from := 0
	for ansi.StringWidth(string(f.value[from:f.cursor])) > room-2 {
		from++
	}
	at, after := " ", ""
	if f.cursor < len(f.value) {
		at, after = string(f.value[f.cursor]), string(f.value[f.cursor+1:])
	}
	cursor := f.theme.Selected.Reverse(true).Render(at)
	if f.theme.Plain {
		cursor = "|" + at
	}
	line := prompt + string(f.value[from:f.cursor]) + cursor + after
	if len(f.value) == 0 && f.Placeholder != "" {
		line += f.theme.Dim.Render(f.Placeholder)
	}
	return Pad(line, width)
}
