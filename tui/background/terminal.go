package background

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/terminal"
)

// Link is how an attachment to a terminal stands.
type Link int

// The states of a Link.
const (
	Opening  Link = iota // for the first time
	Attached             // events come
	Lost                 // the stream has failed; another is tried for
	Over                 // nothing more comes
)

// Batch is what has happened at a terminal since the last one.
type Batch struct {
	Events []terminal.Event // in order, and safe to keep
	Link   Link
	Err    error // why the link is Lost, or Over without an Exit
}

// Terminal is an attachment to a peer's terminal that comes back when its
// stream is lost, at the byte where it stopped. One goroutine calls Run, one at a
// time Next; the others may be called from anywhere, and never wait.
type Terminal struct {
	open    terminal.Opener
	request terminal.Request

	mu      sync.Mutex
	changed *sync.Cond

	client  *terminal.Client // nil while there is none
	self    uint64
	right   terminal.Right
	link    Link
	err     error
	resume  *terminal.Resume
	closing bool

	events []terminal.Event
	bytes  int    // in events
	news   bool   // since the last batch
	given  uint64 // the offset that the last batch goes up to
	offset uint64 // of the next event

	outbox []action
	queued int // bytes typed in outbox
	size   terminal.Size
	sized  terminal.Size // as the host was told
}

// action is something for the host.
type action struct {
	input       []byte
	ask, redraw bool
	before      uint64 // a page of history before that line; 0: none
}

const (
	// maxBatch is how much output waits for whoever draws it; then the host does.
	maxBatch = 512 << 10
	// maxTyped is how much may be typed that the program has not read, here.
	maxTyped = 1 << 20

	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
	// frame is how often batches come at most, if there is much output.
	frame = 16 * time.Millisecond
	much  = 4 << 10
)

// NewTerminal makes an attachment; Run begins it.
func NewTerminal(open terminal.Opener, request terminal.Request) *Terminal {
	request.Screen = true
	t := &Terminal{open: open, request: request, size: request.Size}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// Run attaches until the program ends, the host refuses, Close or ctx's end.
func (t *Terminal) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wake := context.AfterFunc(ctx, t.wake)
	defer wake()
	var work sync.WaitGroup
	work.Go(func() { // ends waiting for a stream
		t.mu.Lock()
		defer t.mu.Unlock()
		for !t.closing && ctx.Err() == nil {
			t.changed.Wait()
		}
		cancel()
	})
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		attached, err := t.attach(ctx)
		if attached {
			retry = firstRetry
		}
		t.mu.Lock()
		over := t.closing || ctx.Err() != nil || err == nil || t.resume == nil || !terminal.WorthRetrying(err)
		t.link, t.err, t.news, t.outbox, t.queued = Lost, err, true, nil, 0
		if over {
			t.link = Over
		}
		t.mu.Unlock()
		t.changed.Broadcast()
		if over {
			break
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
	cancel()
	t.wake()
	work.Wait()
}

// wake has everybody look again.
func (t *Terminal) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed.Broadcast()
}

// attach goes through one stream. Without an error the terminal's program has
// ended.
func (t *Terminal) attach(ctx context.Context) (attached bool, _ error) {
	t.mu.Lock()
	request := t.request
	request.Resume, request.Size = t.resume, t.size
	if t.resume != nil {
		request.History = 0
	}
	t.mu.Unlock()
	header, err := request.Header()
	if err != nil {
		return false, err
	}
	stream, err := t.open(ctx, header)
	if err != nil {
		return false, err
	}
	client := terminal.NewClient(stream)
	closeStream := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer closeStream()
	var work sync.WaitGroup
	gone := make(chan struct{})
	work.Go(func() { t.send(ctx, client, gone) })
	err = t.receive(ctx, client, &attached)
	t.mu.Lock()
	close(gone)
	t.client, t.right = nil, terminal.View
	t.changed.Broadcast()
	t.mu.Unlock()
	_ = client.Close()
	work.Wait()
	if errors.Is(err, io.EOF) {
		err = &session.Error{Op: "terminal", Kind: session.Unavailable, Text: "the host closed the stream", Err: err}
	}
	return attached, err
}

func (t *Terminal) receive(ctx context.Context, client *terminal.Client, attached *bool) error {
	for {
		e, err := client.Next()
		if err != nil {
			return err
		}
		n := 0
		switch m := e.(type) {
		case terminal.Taken:
			continue
		case terminal.Output:
			n = len(m.Data)
		case terminal.Snapshot:
			n = len(m.Data)
		case terminal.Welcome:
			*attached = true
		}
		t.mu.Lock()
		for t.bytes > maxBatch && !t.closing && ctx.Err() == nil {
			t.changed.Wait()
		}
		t.note(client, e)
		t.events = append(t.events, terminal.Keep(e))
		t.bytes += n
		t.offset = client.Offset()
		if t.resume != nil {
			t.resume = &terminal.Resume{Terminal: t.resume.Terminal, Offset: t.offset}
		}
		t.news = true
		_, ended := e.(terminal.Exit)
		t.mu.Unlock()
		t.changed.Broadcast()
		if ended {
			return nil
		}
	}
}

// note keeps what an event says about this viewer. It is called with mu held.
func (t *Terminal) note(client *terminal.Client, e terminal.Event) {
	switch m := e.(type) {
	case terminal.Welcome:
		t.client, t.self, t.right, t.link, t.err = client, m.Viewer, m.Right, Attached, nil
		t.resume = &terminal.Resume{Terminal: m.Terminal, Offset: m.Offset}
		t.sized = t.size // it came with the request
	case terminal.Roster:
		for _, v := range m.Viewers {
			if v.Viewer == t.self {
				if v.Right == terminal.Control && t.right != terminal.Control {
					t.sized = terminal.Size{} // until now nobody wanted to know
				}
				t.right = v.Right
			}
		}
	}
}

// send passes on what was typed until the stream has gone. A failure is the
// reader's to tell.
func (t *Terminal) send(ctx context.Context, client *terminal.Client, gone <-chan struct{}) {
	over := func() bool {
		select {
		case <-gone:
			return true
		default:
			return t.closing || ctx.Err() != nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		resize := t.size != t.sized && !t.size.IsZero()
		mayType := t.right == terminal.Control
		switch {
		case over():
			return
		case t.client == nil || len(t.outbox) == 0 && (!resize || !mayType):
			t.changed.Wait()
		case resize && mayType:
			size := t.size
			t.sized = size
			t.mu.Unlock()
			_ = client.Resize(size)
			t.mu.Lock()
		default:
			a := t.outbox[0]
			t.outbox = t.outbox[1:]
			t.queued -= len(a.input)
			t.mu.Unlock()
			switch {
			case a.ask:
				_ = client.Ask()
			case a.redraw:
				_ = client.Redraw()
			case a.before > 0:
				_ = client.Page(a.before, terminal.MaxHistory)
			case mayType:
				_ = client.Input(a.input)
			}
			t.mu.Lock()
		}
	}
}

// Next waits for something to happen and returns all that has. It is false
// once the terminal is over and that has been told, or ctx has ended.
func (t *Terminal) Next(ctx context.Context) (Batch, bool) {
	wake := context.AfterFunc(ctx, t.wake)
	defer wake()
	t.mu.Lock()
	if client, given := t.client, t.given; client != nil {
		t.mu.Unlock()
		_ = client.Ack(given) // whoever asks for more has dealt with the last
		t.mu.Lock()
	}
	for !t.news && ctx.Err() == nil && t.link != Over {
		t.changed.Wait()
	}
	if !t.news || ctx.Err() != nil {
		t.mu.Unlock()
		return Batch{}, false
	}
	b := Batch{Events: t.events, Link: t.link, Err: t.err}
	many := t.bytes > much
	t.events, t.bytes, t.news, t.given = nil, 0, false, t.offset
	t.mu.Unlock()
	t.changed.Broadcast()
	if many {
		select {
		case <-time.After(frame):
		case <-ctx.Done():
		}
	}
	return b, true
}

// Type types p. It reports false if the program has not read for so long that
// there is no room for it, or nobody would see where it goes.
func (t *Terminal) Type(p []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.client == nil || t.right != terminal.Control || t.queued+len(p) > maxTyped {
		return false
	}
	t.queued += len(p)
	t.outbox = append(t.outbox, action{input: p})
	t.changed.Broadcast()
	return true
}

// Ask asks the host's person for the right to type.
func (t *Terminal) Ask() { t.post(action{ask: true}) }

// Page asks for history before the line of that number: a terminal.History comes,
// unless the stream is lost.
func (t *Terminal) Page(before uint64) { t.post(action{before: before}) }

// Redraw asks for the screen once more.
func (t *Terminal) Redraw() { t.post(action{redraw: true}) }

func (t *Terminal) post(a action) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.outbox) < 1000 {
		t.outbox = append(t.outbox, a)
		t.changed.Broadcast()
	}
}

// Resize says how much room there is for the terminal.
func (t *Terminal) Resize(s terminal.Size) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.size = s
	t.changed.Broadcast()
}

// Close detaches; Run then returns.
func (t *Terminal) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closing = true
	t.changed.Broadcast()
}
