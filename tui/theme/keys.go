package theme

import "github.com/charmbracelet/bubbles/key"

// Keys are the keys that mean the same everywhere. A page adds its own.
type Keys struct {
	Up, Down, PageUp, PageDown, Top, Bottom key.Binding
	Open, Back, Next, Previous, Filter      key.Binding
	Mark                                    key.Binding

	// Those of the root.
	Quit, Help, Palette, Suspend key.Binding
}

// Bind makes a binding: its help is the first of its names.
func Bind(help string, keys ...string) key.Binding {
	return key.NewBinding(key.WithKeys(keys...), key.WithHelp(name(keys[0]), help))
}

func name(k string) string {
	switch k {
	case " ":
		return "space"
	case "pgup":
		return "PgUp"
	case "pgdown":
		return "PgDn"
	}
	return k
}

// DefaultKeys are the keys of every page.
func DefaultKeys() Keys {
	return Keys{
		Up: Bind("up", "up"), Down: Bind("down", "down"), PageUp: Bind("page up", "pgup", "ctrl+u"),
		PageDown: Bind("page down", "pgdown", "ctrl+d"), Top: Bind("first", "home", "g"), Bottom: Bind("last", "end", "G"),
		Open: Bind("open", "enter"), Back: Bind("back", "esc"), Next: Bind("next", "tab"), Previous: Bind("previous", "shift+tab"),
		Filter: Bind("filter", "/"), Mark: Bind("mark", " "),
		Quit: Bind("quit", "q", "ctrl+c"), Help: Bind("help", "?", "f1"), Palette: Bind("commands", ":", "ctrl+p"), Suspend: Bind("suspend", "ctrl+z"),
	}
}
