package tui

import (
	"tandem/share/facts"
	"tandem/share/folder"
	"tandem/share/forward"
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
		{Title: "Machine", About: "how it is doing; run a program", Key: theme.Bind("machine", "m"), Service: facts.ServiceName, Peer: true, New: page.NewMachine},
		{Title: "Forwards", About: "join ports of yours and of it", Key: theme.Bind("forwards", "o"), Service: forward.ServiceName, Peer: true, New: page.NewForwards},
		{Title: "Network", About: "the path to it, and why not a direct one", Key: theme.Bind("network", "w"), Peer: true, New: page.NewNetwork},
		{Title: "Its activity", About: "what it asked for, and got", Key: theme.Bind("its activity", "v"), Peer: true, New: page.NewActivity},
		{Title: "Machines", About: "how they are doing; run a program on several", Key: theme.Bind("machines", "M"), New: page.NewMachine},
		{Title: "Forwards", About: "the ports that are joined", Key: theme.Bind("forwards", "o"), New: page.NewForwards},
		{Title: "Network", About: "servers, paths, and what this network allows", Key: theme.Bind("network", "w"), New: page.NewNetwork},
		{Title: "Activity", About: "what peers asked for, and got", Key: theme.Bind("activity", "v"), New: page.NewActivity},
		{Title: "Transfers", About: "what is being copied", Key: theme.Bind("transfers", "T"), New: page.NewTransfers},
	}
}
