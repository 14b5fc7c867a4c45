package page

import (
	"slices"
	"strconv"
	"strings"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// describeRights says in words what rights allow, one line each.
func describeRights(rights []node.Right) []string {
	var lines []string
	anyProgram := slices.ContainsFunc(rights, func(r node.Right) bool { return isService(r, "command") && r.Resource == "" })
	for _, r := range rights {
		if isService(r, "forward") && r.Resource == "" || isService(r, "command") && r.Resource != "" && anyProgram {
			continue // its targets are rights of their own; one of any
		}
		lines = append(lines, widget.Clean(describeRight(r)))
	}
	if len(lines) == 0 {
		return []string{"nothing"}
	}
	return lines
}

func isService(r node.Right, name string) bool {
	service, _, _ := strings.Cut(r.Service, "/")
	return service == name
}

func describeRight(r node.Right) string {
	service, _, _ := strings.Cut(r.Service, "/")
	may := strings.Join(r.Actions, " and ")
	switch may {
	case "view and control":
		may = "watch and type"
	case "view":
		may = "only watch"
	case "read":
		may = "only read"
	case "read and write":
		may = "read and change"
	case "connect":
		may = "connect from here"
	case "listen":
		may = "listen here"
	}
	switch {
	case service == "command" && r.Resource == "":
		return "any program (run)"
	case service == "facts":
		return "facts about the machine (read)"
	case r.Resource != "":
		service += " " + r.Resource
	}
	return service + " (" + may + ")"
}

// describePush is what a guest would copy, as the end of a sentence.
func describePush(p node.Push) string {
	text := " would copy " + widget.Count(p.Files, "file") + ", " + widget.Bytes(p.Bytes) + ", into " + widget.Clean(p.Folder)
	if p.Folders > 0 {
		text += ", and make " + widget.Count(p.Folders, "folder")
	}
	return text
}

// pushLines are the files of a push, those that do more than add a file first.
func pushLines(t theme.Theme, p node.Push, width int) []string {
	var lines []string
	for _, note := range []struct {
		n    int
		text string
	}{{p.Replaces, "replacing what is there"}, {p.Executable, "executable"}, {p.Hidden, "hidden"}} {
		if note.n > 0 {
			lines = append(lines, t.Warn.Render(strconv.Itoa(note.n)+" of them "+note.text))
		}
	}
	for _, it := range p.Items {
		var marks []string
		for mark, is := range map[string]bool{"FOLDER": it.Dir, "REPLACES": it.Replaces, "EXECUTABLE": it.Executable, "HIDDEN": it.Hidden} {
			if is {
				marks = append(marks, mark)
			}
		}
		slices.Sort(marks)
		right := t.Warn.Render(strings.Join(marks, " ")) + " " + widget.Bytes(uint64(max(0, it.Size)))
		lines = append(lines, widget.Spread(widget.Clean(it.Path), right, width, t.Glyphs.Ellipsis))
	}
	if p.Others > 0 {
		lines = append(lines, "and "+strconv.Itoa(p.Others)+" more")
	}
	return lines
}

// describePath says in a few words how bytes travel.
func describePath(p session.Path) string {
	if p.Kind == session.NoPath || p.Kind == "" {
		return "looking for a path"
	}
	s := string(p.Kind)
	if p.Remote.Protocol != "" {
		s += " over " + widget.Clean(p.Remote.Protocol)
	}
	if p.RTT > 0 {
		s += ", " + widget.RoundTrip(p.RTT)
	}
	return s
}

// wordLines breaks a fingerprint where people breathe when they read aloud: in
// threes, as many of them a line as fit.
func wordLines(words []string, width int) []string {
	var threes []string
	widest := 0
	for three := range slices.Chunk(words, 3) {
		s := widget.Clean(strings.Join(three, " "))
		threes = append(threes, s)
		widest = max(widest, len(s))
	}
	a := max(1, min(2, (width+3)/(widest+3)))
	var lines []string
	for some := range slices.Chunk(threes, a) {
		lines = append(lines, strings.Join(some, "   "))
	}
	return lines
}

// labelled puts lines beside a label of so many columns.
func labelled(t theme.Theme, label string, columns int, lines []string) []string {
	out := make([]string, 0, len(lines))
	for i, l := range lines {
		if i > 0 {
			label = ""
		}
		out = append(out, widget.Pad(t.Dim.Render(label), columns)+l)
	}
	return out
}

// name is a peer for people: our alias for it, else what it calls itself.
func name(p node.PeerStatus) string {
	switch {
	case p.Alias != "":
		return widget.Clean(p.Alias)
	case p.Peer.Name != "":
		return widget.Clean(p.Peer.Name)
	}
	return p.Peer.ID.Short()
}

// describeRecorded says what is recorded, and whether it must be.
func describeRecorded(r node.Recorded) string {
	switch r {
	case node.NotRecorded:
		return "nothing"
	case node.RecordedOrNothing:
		return "the terminal, which ends if that fails"
	case node.RecordedMaybe:
	}
	return "the terminal"
}
