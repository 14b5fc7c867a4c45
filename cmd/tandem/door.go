package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"tandem/session"
	"tandem/share/node"
)

// door asks the person at the keyboard about the guests of a share, each until
// somebody has answered: here or in another window.
type door struct {
	prompt  *prompt
	folders []node.Folder // of our own share
	work    sync.WaitGroup

	mu      sync.Mutex
	node    node.Backend
	share   string // the one that this is about
	closed  bool
	waiting map[string]context.CancelFunc // by request
}

func newDoor(p *prompt, folders []node.Folder) *door {
	return &door{prompt: p, folders: folders, waiting: make(map[string]context.CancelFunc)}
}

// open says whom to give the answers to.
func (d *door) open(n node.Backend) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.node = n
}

// tell takes note of who comes and who has been answered.
func (d *door) tell(e node.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case e.Event == node.EventInvite:
		d.share = cmp.Or(d.share, e.Share) // the first is ours
	case e.Request == "" || d.closed:
	case e.Event == node.EventRequest, e.Event == node.EventPush:
		ctx, cancel := context.WithCancel(context.Background())
		d.waiting[e.Request] = cancel
		n, folders := d.node, d.folders
		if e.Share != d.share { // another window's, through our node
			folders = nil
		}
		d.work.Go(func() { d.ask(ctx, n, folders, e) })
	case e.Event == node.EventSettled:
		if cancel := d.waiting[e.Request]; cancel != nil {
			cancel()
			delete(d.waiting, e.Request)
		}
	}
}

// close takes the questions back, and waits until they are.
func (d *door) close() {
	d.mu.Lock()
	d.closed = true
	for _, cancel := range d.waiting {
		cancel()
	}
	d.mu.Unlock()
	d.work.Wait()
}

// ask puts one question, and gives its answer to the node.
func (d *door) ask(ctx context.Context, n node.Backend, folders []node.Folder, e node.Event) {
	var err error
	if e.Event == node.EventPush {
		err = d.askPush(ctx, n, e)
	} else {
		err = d.askGuest(ctx, folders, e)
	}
	if ctx.Err() != nil {
		return // they have left, or were answered elsewhere
	}
	a := node.Answer{Allow: err == nil}
	if err != nil {
		_, a.Reason = session.Public(err)
	}
	// What comes of it is an event, and so is an answer that was given elsewhere first.
	_ = n.Answer(ctx, e.Request, a)
}

// askPush looks up what a guest would copy, and asks.
func (d *door) askPush(ctx context.Context, n node.Backend, e node.Event) error {
	requests, err := n.Requests(ctx)
	if err != nil {
		return err
	}
	for _, r := range requests {
		if r.ID == e.Request && r.Push != nil {
			return askPush(ctx, d.prompt, r.Guest.Peer, *r.Push)
		}
	}
	return session.Errorf("push", session.NotFound, "the copy is not there any more") // nothing is accepted unseen
}

// askGuest shows who asks for what. Only a deliberate "yes" lets them in.
func (d *door) askGuest(ctx context.Context, folders []node.Folder, e node.Event) error {
	var about strings.Builder
	fmt.Fprintf(&about, "%s asks to join.\n", quoteName(*e.Peer))
	fmt.Fprintf(&about, "  fingerprint  %s\n", wordGroups(e.Words))
	fmt.Fprintf(&about, "  would get    %s", column(describeRights(e.Offers)))
	if e.Recorded != node.NotRecorded {
		about.WriteString("\n  recorded     what happens in the terminal is")
	}
	for _, f := range folders {
		fmt.Fprintf(&about, "\n  the folder   %s", session.Printable(f.Dir))
	}
	typed, err := d.prompt.ask(ctx, about.String(), "Let them in? Type yes or no: ", "yes", "no")
	if err == nil && typed != "yes" {
		err = session.Errorf("approve", session.Denied, "the host said no")
	}
	return err
}
