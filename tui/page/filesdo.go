package page

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/tui/background"
	"tandem/tui/widget"
)

// copy has what is marked copied to the other side.
func (f *FilesPage) copy() tea.Cmd {
	from, to := f.active(), f.other()
	names := from.chosen()
	if len(names) == 0 {
		return nil
	}
	remote := from
	if to.remote {
		remote = to
	}
	j := background.Job{Peer: f.of.Ref(), Alias: f.of.Alias(), Put: to.remote, From: from.dir, To: to.dir, Items: names}
	share, inside, _ := strings.Cut(remote.dir, "/")
	switch {
	case share == "" && to.remote:
		return Send(Toast{Text: "Open one of their folders first, for it to go to.", Level: Warn})
	case share == "": // the shares themselves: each is copied as a folder of its name
		return f.copyShares(names)
	}
	j.Share = share
	if j.Put {
		j.To = inside
	} else {
		j.From = inside
	}
	for _, name := range names {
		if i := slices.IndexFunc(from.entries, func(e background.Entry) bool { return e.Name == name }); i >= 0 && from.entries[i].Other != "" {
			return Send(Toast{Text: widget.Clean(name) + " is a " + from.entries[i].Other + ": only files and folders are copied.", Level: Warn})
		}
	}
	f.env.Transfers.Add(j)
	from.marks, from.marked = make(map[string]bool), 0
	return tea.Batch(Send(Verb{transferVerb(j)}), Send(Toast{Text: fmt.Sprintf("Copying %s to %s. T shows how far it is.", describeItems(j), to.place(to.dir))}))
}

// copyShares copies whole shares here.
func (f *FilesPage) copyShares(names []string) tea.Cmd {
	var cmds []tea.Cmd
	for _, share := range names {
		j := background.Job{
			Peer: f.of.Ref(), Alias: f.of.Alias(), Share: share, From: "", To: f.panes[0].files.Join(f.panes[0].dir, share), Items: []string{""},
		}
		f.env.Transfers.Add(j)
		cmds = append(cmds, Send(Verb{transferVerb(j)}))
	}
	return tea.Batch(append(cmds, Send(Toast{Text: "Copying " + describeItems(background.Job{Items: names}) + ". T shows how far it is."}))...)
}

// finish does what a line was typed for.
func (f *FilesPage) finish(what fileAsk, text, subject string, names []string) tea.Cmd {
	p := f.active()
	valid := text != "" && text != "." && text != ".." && !strings.Contains(text, "/")
	switch what {
	case making:
		if !valid {
			return Send(Fail{&session.Error{Op: "new folder", Kind: session.Invalid, Err: errName}})
		}
		dir := p.files.Join(p.dir, text)
		return f.change(f.peerVerb("mkdir", dir), text, func(ctx context.Context) (string, error) {
			return "Made " + widget.Clean(text) + ".", p.files.Mkdir(ctx, dir)
		})
	case renaming:
		if text == subject {
			return nil
		}
		if !valid {
			return Send(Fail{&session.Error{Op: "rename", Kind: session.Invalid, Err: errName}})
		}
		from, to := p.files.Join(p.dir, subject), p.files.Join(p.dir, text)
		return f.change(f.moveVerb(from, to), text, func(ctx context.Context) (string, error) {
			return widget.Clean(subject) + " is " + widget.Clean(text) + " now.", p.files.Move(ctx, from, to)
		})
	case moving:
		return f.moveAll(p, names, text)
	}
	return nil
}

// moveAll moves things into another folder of the same side.
func (f *FilesPage) moveAll(p *pane, names []string, dir string) tea.Cmd {
	if dir == p.dir || len(names) == 0 {
		return nil
	}
	if !strings.HasPrefix(dir, "/") && !p.remote {
		dir = p.files.Join(p.dir, dir)
	}
	from := p.dir
	return f.change(f.moveVerb(p.files.Join(from, names[0]), p.files.Join(dir, names[0])), "", func(ctx context.Context) (string, error) {
		for i, name := range names {
			if err := p.files.Move(ctx, p.files.Join(from, name), p.files.Join(dir, name)); err != nil {
				return "", partly(err, i, len(names), "moved")
			}
		}
		return "Moved " + describeItems(background.Job{Items: names}) + " to " + p.place(dir) + ".", nil
	})
}

// remove moves things to the trash of their side.
func (f *FilesPage) remove(names []string) tea.Cmd {
	p := f.active()
	dir := p.dir
	return f.change(f.peerVerb("rm", p.files.Join(dir, names[0])), p.name(), func(ctx context.Context) (string, error) {
		var trash string
		for i, name := range names {
			var err error
			if trash, err = p.files.Remove(ctx, p.files.Join(dir, name)); err != nil {
				return "", partly(err, i, len(names), "deleted")
			}
		}
		if len(names) == 1 {
			return widget.Clean(names[0]) + " is in the trash: " + widget.Clean(trash), nil
		}
		return describeItems(background.Job{Items: names}) + " are in the trash.", nil
	})
}

// partly adds to an error how much had been done before it.
func partly(err error, done, of int, what string) error {
	if done == 0 {
		return err
	}
	kind, text := session.Public(err)
	return &session.Error{Op: what, Kind: kind, Text: fmt.Sprintf("%d of %d are %s, then: %s", done, of, what, text), Hint: session.Hint(err), Err: err}
}

// peerVerb is the command for a change at the peer; of changes here there is none
// to be learned.
func (f *FilesPage) peerVerb(verb, at string) string {
	if !f.active().remote {
		return ""
	}
	return fmt.Sprintf("tandem %s %s:%s", verb, f.of.Alias(), shellWord(at))
}

func (f *FilesPage) moveVerb(from, to string) string {
	if !f.active().remote {
		return ""
	}
	_, inside, _ := strings.Cut(to, "/")
	return fmt.Sprintf("tandem mv %s:%s %s", f.of.Alias(), shellWord(from), shellWord(path.Clean(inside)))
}
