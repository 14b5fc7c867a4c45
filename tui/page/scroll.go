package page

import (
	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/tui/theme"
)

// scrolled is the first line to show of a text after a key, if that scrolls.
// The text has end lines, of which page are shown at once; the caller keeps the
// result within them.
func scrolled(first int, msg tea.KeyMsg, keys theme.Keys, page, end int) int {
	switch {
	case key.Matches(msg, keys.Up):
		return first - 1
	case key.Matches(msg, keys.Down):
		return first + 1
	case key.Matches(msg, keys.PageUp):
		return first - page
	case key.Matches(msg, keys.PageDown):
		return first + page
	case key.Matches(msg, keys.Top):
		return 0
	case key.Matches(msg, keys.Bottom):
		return end
	}
	return first
}
