package folder

import (
	"bufio"
	"context"
	"encoding/json"
	"strings"
	"sync"

	"tandem/session"
)

// MaxPush is how many files and directories a push may have where it is asked
// about.
const MaxPush = 100_000

// Push is what a peer would like to copy into a share.
type Push struct {
	Peer  session.Peer
	Share string
	// Items are in the order of their paths. What is there already is left out.
	Items []Pushed
}

// Pushed is one file or directory of a Push. Its name has been checked; it is
// the peer's word that it is like that, and nothing else is let in later.
type Pushed struct {
	Path string `json:"path"` // in the share
	Dir  bool   `json:"dir,omitempty"`
	Size int64  `json:"size"`
	// Executable says that it will be, so only where the share lets it.
	Executable bool `json:"executable,omitempty"`
	// Hidden says that a name in its path begins with a dot.
	Hidden bool `json:"hidden,omitempty"`
	// Replaces says that it takes the place of a file with other content, or
	// with another time.
	Replaces bool `json:"replaces,omitempty"`
}

// gate lets changes through that have been accepted.
type gate struct {
	ask   func(context.Context, Push) error
	share string
	peer  session.Peer
	tree  *tree

	mu       sync.Mutex
	accepted map[string]Pushed
}

// announced reads the list of a push.
func (g *gate) announced(req request, b *body) ([]Pushed, error) {
	if b == nil {
		return nil, violation("push without a list")
	}
	var items []Pushed
	if e, err := g.tree.stat(req.Path); err != nil || !e.Dir {
		items = append(items, Pushed{Path: req.Path, Dir: true, Hidden: hidden(req.Path)})
	}
	err := readPages(b, listing{recursive: true}, func(p page) error {
		for _, e := range p.Entries {
			path := join(req.Path, join(p.Dir, e.Name))
			if err := checkPath(path); err != nil {
				return err
			}
			items = append(items, Pushed{
				Path: path, Dir: e.Dir, Size: e.Size, Executable: e.Exec && !e.Dir && g.tree.exec,
				Hidden: hidden(path),
			})
			if there, err := g.tree.stat(path); err == nil {
				it := &items[len(items)-1]
				it.Replaces = !there.Dir && (there.Size != e.Size || there.MTime != e.MTime)
				if !it.Replaces && there.Dir == e.Dir {
					it.Size = known
				}
			}
		}
		if len(items) > MaxPush {
			return session.Errorf("push", session.TooLarge, "a push of more than %d files and folders, where each is asked about", MaxPush)
		}
		return nil
	})
	return items, err
}

func hidden(path string) bool { return strings.HasPrefix(path, ".") || strings.Contains(path, "/.") }

// known is the size of an item that is there already.
const known = -1

// decide asks about a push.
func (g *gate) decide(ctx context.Context, items []Pushed) error {
	p := Push{Peer: g.peer, Share: g.share}
	for _, it := range items {
		if it.Size != known {
			p.Items = append(p.Items, it)
		}
	}
	if len(p.Items) > 0 {
		if err := g.ask(ctx, p); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.accepted = make(map[string]Pushed, len(p.Items))
	for _, it := range p.Items {
		g.accepted[it.Path] = it
	}
	return nil
}

// allow refuses every change that has not been accepted.
func (g *gate) allow(req request) error {
	g.mu.Lock()
	it, ok := g.accepted[req.Path]
	open := g.accepted != nil
	g.mu.Unlock()
	switch req.Op {
	case opCheck:
		return nil // changes nothing
	case opPut:
		if ok && !it.Dir && it.Size == req.Size && (it.Executable || !req.Exec || !g.tree.exec) {
			return nil
		}
	case opMkdir:
		if ok && it.Dir {
			return nil
		}
		if e, err := g.tree.stat(req.Path); open && err == nil && e.Dir {
			return nil // it is there
		}
	}
	if open {
		return session.Errorf(string(req.Op), session.Denied, "%s was not among what they have accepted", session.Printable(req.Path))
	}
	return session.Errorf(string(req.Op), session.Denied, "they want to be asked about each change here, which only `tandem put` of files does")
}

// push arranges that the owner is asked. The question ends with the stream.
func (c *conversation) push(ctx context.Context, a *answer, b *body) {
	if c.gate == nil {
		return // welcome
	}
	items, err := c.gate.announced(a.req, b)
	if err != nil {
		a.err = err
		return
	}
	a.done = make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c.heard:
			cancel()
		case <-a.done:
		}
	}()
	go func() { // complete waits for it
		defer close(a.done)
		defer cancel()
		a.err = c.gate.decide(ctx, items)
	}()
}

// announce shows the peer what a put would copy, where they want to see that
// first, and returns when they have accepted. Asked says whether they were asked.
func (p *put) announce(ctx context.Context) (asked bool, err error) {
	rep, err := p.conn.do(request{Op: opStat}, nil)
	if err != nil || !rep.Asks {
		return false, err
	}
	if p.options.Asking != nil {
		p.options.Asking()
	}
	req := request{Op: opPush, Path: p.to}
	if p.single != "" {
		req.Path, _ = split(p.to)
	}
	cl := p.conn.start(req, func(w *bufio.Writer, _ *call) (trailer, error) {
		emit := func(_ *directory, pg page) error {
			raw, err := json.Marshal(page{Dir: pg.Dir, Entries: pg.Entries})
			if err != nil {
				return err
			}
			return writeUnit(w, raw)
		}
		if p.single == "" {
			return trailer{}, p.from.pages(ctx, "", "", true, emit)
		}
		e, err := p.from.stat(p.single)
		if err != nil {
			return trailer{}, err
		}
		_, e.Name = split(p.to)
		return trailer{}, emit(nil, page{Entries: []Entry{e}})
	}, nil)
	<-cl.done
	if session.KindOf(cl.err) == session.Denied && cl.err != nil {
		_, text := session.Public(cl.err)
		return true, &session.Error{Op: "put", Kind: session.Denied, Text: text, Hint: "Putting it again asks them again.", Err: cl.err}
	}
	return true, cl.err
}
