package main

import (
	"context"
	"fmt"
	"strings"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

// pushShown is how many files of a push are shown at first.
const pushShown = 20

// askPush shows what a guest would copy here. Only a deliberate "yes" lets it
// in.
func askPush(ctx context.Context, p *prompt, guest session.Peer, push node.Push) error {
	about, more := describePush(guest, push, pushShown)
	question, answers := "Accept? Type yes or no: ", []string{"yes", "no"}
	if more {
		question, answers = "Accept? Type yes, no or list to see all: ", append(answers, "list")
	}
	answer, err := p.ask(ctx, about, question, answers...)
	if err == nil && answer == "list" {
		about, _ = describePush(guest, push, len(push.Items))
		answer, err = p.ask(ctx, about, "Accept? Type yes or no: ", "yes", "no")
	}
	switch {
	case err != nil:
		return err
	case answer != "yes":
		return session.Errorf("push", session.Denied, "the host said no")
	}
	return nil
}

// describePush lists what a push has, at most so many files of it.
func describePush(guest session.Peer, push node.Push, most int) (about string, more bool) {
	var out strings.Builder
	fmt.Fprintf(&out, "%s would copy %s, %s, into %s", quoteName(guest), counted(push.Files, "file"), byteCount(push.Bytes), session.Printable(push.Folder))
	if push.Folders > 0 {
		fmt.Fprintf(&out, ", and make %s", counted(push.Folders, "folder"))
	}
	out.WriteString(".")
	for _, note := range []struct {
		n    int
		text string
	}{{push.Replaces, "replacing what is there"}, {push.Executable, "executable"}, {push.Hidden, "hidden"}} {
		if note.n > 0 {
			fmt.Fprintf(&out, "\n  %d of them %s", note.n, note.text)
		}
	}
	shown := push.Items[:min(most, len(push.Items))]
	for _, it := range shown {
		fmt.Fprintf(&out, "\n  %9s  %s%s", byteCount(uint64(max(0, it.Size))), session.Printable(it.Path), marks(it))
	}
	if left := len(push.Items) - len(shown) + push.Others; left > 0 {
		fmt.Fprintf(&out, "\n  … and %d more", left)
	}
	return out.String(), len(shown) < len(push.Items)
}

// marks say what is unusual about an item.
func marks(it folder.Pushed) string {
	var all []string
	if it.Dir {
		all = append(all, "FOLDER")
	}
	if it.Replaces {
		all = append(all, "REPLACES")
	}
	if it.Executable {
		all = append(all, "EXECUTABLE")
	}
	if it.Hidden {
		all = append(all, "HIDDEN")
	}
	if len(all) == 0 {
		return ""
	}
	return "  " + strings.Join(all, ", ")
}
