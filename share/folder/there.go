package folder

import (
	"context"
	"strings"

	"tandem/session"
)

// there walks what a peer has below a directory, beside a walk through a tree
// of ours that visits directories in the same order: each before those below
// it, and those in the order of their names. It holds one directory at a time.
type there struct {
	pages  chan page
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid when pages is closed

	dir     string
	entries map[string]Entry
	next    *page // has been read, and comes later
	over    bool
}

// listThere begins to list path at the peer.
func listThere(ctx context.Context, c *Client, path string) *there {
	ctx, cancel := context.WithCancel(ctx)
	t := &there{pages: make(chan page), cancel: cancel, done: make(chan struct{}), dir: "\x00"}
	go func() {
		defer close(t.done)
		defer close(t.pages)
		t.err = c.pages(ctx, path, true, func(p page) error {
			select {
			case t.pages <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return t
}

// enter goes on to dir and reads what is in it.
func (t *there) enter(dir string) error {
	if dir == t.dir {
		return nil // another page of ours
	}
	t.dir, t.entries = dir, make(map[string]Entry)
	for !t.over {
		if t.next == nil {
			p, ok := <-t.pages
			if !ok {
				t.over = true
				switch session.KindOf(t.err) {
				case session.Integrity, session.Internal, session.Canceled, session.Unavailable:
					return t.err
				}
				return nil // nothing is there, or nothing that we may know
			}
			t.next = &p
		}
		switch order := strings.Compare(walkKey(t.next.Dir), walkKey(dir)); {
		case order > 0:
			return nil
		case order == 0:
			for _, e := range t.next.Entries {
				t.entries[e.Name] = e
			}
		}
		t.next = nil
	}
	return nil
}

// walkKey orders directories as a listing does.
func walkKey(dir string) string { return strings.ReplaceAll(dir, "/", "\x00") }

// entry is what the peer has under name, or nil.
func (t *there) entry(name string) *Entry {
	if e, ok := t.entries[name]; ok {
		return &e
	}
	return nil
}

func (t *there) close() {
	t.cancel()
	<-t.done
}
