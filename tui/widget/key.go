package widget

import (
	"unicode/utf8"

	tea "github.com/charmbracelet/bubbletea"
)

// ParseKey makes the message of a key from its name in a binding, and reports
// whether it knows it.
func ParseKey(name string) (tea.KeyMsg, bool) {
	if utf8.RuneCountInString(name) == 1 {
		r, _ := utf8.DecodeRuneInString(name)
		if r == ' ' {
			return tea.KeyMsg{Type: tea.KeySpace, Runes: []rune{' '}}, true
		}
		return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}, true
	}
	for t := tea.KeyF20; t <= tea.KeyBackspace; t++ { // the keys without text, lowest to highest
		if k := (tea.KeyMsg{Type: t}); k.String() == name && t != tea.KeyRunes {
			return k, true
		}
	}
	return tea.KeyMsg{}, false
}
