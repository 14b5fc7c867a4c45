package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"tandem/session"
	"tandem/share/folder"
)

// pushShown is how many files of a push are shown at first.
const pushShown = 20

// askPush shows what a guest would copy here. Only a deliberate "yes" lets it
// in.
func askPush(ctx context.Context, p *prompt, push folder.Push) error {
	about, more := describePush(push, pushShown)
	question, answers := "Accept? Type yes or no: ", []string{"yes", "no"}
	if more {
		question, answers = "Accept? Type yes, no or list to see all: ", append(answers, "list")
	}
	answer, err := p.ask(ctx, about, question, answers...)
	if err == nil && answer == "list" {
		about, _ = describePush(push, len(push.Items))
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

// describePush lists what a push has, at most so many files of it: those that
// do more than add a file first.
func describePush(push folder.Push, most int) (about string, more bool) {
	var files []folder.Pushed
	var dirs, hidden, executable, replaced int
	var size int64
	for _, it := range push.Items {
		if it.Dir {
			dirs++
			if !it.Hidden {
				continue // the files in it tell
			}
		} else {
			size += it.Size
		}
		hidden += count(it.Hidden)
		executable += count(it.Executable)
		replaced += count(it.Replaces)
		files = append(files, it)
	}
	slices.SortStableFunc(files, func(a, b folder.Pushed) int { return cmp.Compare(weight(b), weight(a)) })
	var out strings.Builder
	fmt.Fprintf(&out, "%s would copy %s, %s, into %s", quoteName(push.Peer), counted(len(push.Items)-dirs, "file"), byteCount(uint64(size)), session.Printable(push.Share))
	if dirs > 0 {
		fmt.Fprintf(&out, ", and make %s", counted(dirs, "folder"))
	}
	out.WriteString(".")
	for _, note := range []struct {
		n    int
		text string
	}{{replaced, "replace what is there"}, {executable, "can be executed"}, {hidden, "are hidden"}} {
		if note.n > 0 {
			fmt.Fprintf(&out, "\n  %d of them %s", note.n, note.text)
		}
	}
	for i, it := range files {
		if i == most {
			fmt.Fprintf(&out, "\n  … and %d more", len(files)-i)
			return out.String(), true
		}
		fmt.Fprintf(&out, "\n  %9s  %s%s", byteCount(uint64(it.Size)), session.Printable(it.Path), marks(it))
	}
	return out.String(), false
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

func weight(it folder.Pushed) int {
	return 4*count(it.Replaces) + 2*count(it.Executable) + count(it.Hidden)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}
