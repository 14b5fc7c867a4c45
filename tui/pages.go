package tui

import (
	"tandem/share/folder"
	"tandem/share/terminal"
	"tandem/tui/page"
	"tandem/tui/theme"
)

// entries are the pages that people open by a key, in the order of the help.
func entries() []page.Entry {
	return []page.Entry{
		{Title: "Terminal", About: "the terminal that it shares", Key: theme.Bind("terminal", "t"), Service: terminal.ServiceName, Peer: true, New: page.NewTerminal},
		{Title: "Files", About: "the folders that it shares beside yours: look, copy, move", Key: theme.Bind("files", "f"), Service: folder.Name, Peer: true, New: page.NewFiles},
		{Title: "My terminal", About: "the terminal that you share, and who is at it", Key: theme.Bind("my terminal", "m"), New: page.NewTerminal},
		{Title: "Transfers", About: "what is being copied", Key: theme.Bind("transfers", "T"), New: page.NewTransfers},
	}
}
