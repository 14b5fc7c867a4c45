package page

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/share/node"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

// Demo is another device, in this process: a peer to try things with.
type Demo interface {
	// Link is the invite to what it shares.
	Link() string
	// Join asks to come into a session, and stays.
	Join(ctx context.Context, link string) error
	Close() error
}

// Tour shows both sides of a session with a demo peer: a real node, over loopback.
type Tour struct {
	env   Env
	step  step
	busy  bool
	err   error
	demo  Demo
	stop  context.CancelFunc // ends the demo
	peer  Subject
	share string
	came  bool // the demo was let in
	keys  tourKeys

	width, height int
}

type tourKeys struct{ next, again key.Binding }

// step is where the tour is.
type step int

const (
	welcome step = iota
	invited
	inside
	hosting
	goodbye
)

// The messages of a tour's work; each is of one tour.
type (
	demoStarted struct {
		of   *Tour
		demo Demo
		err  error
	}
	demoMet struct {
		of     *Tour
		result node.Joined
		err    error
	}
	demoAsks struct {
		of    *Tour
		share node.ShareStatus
		err   error
	}
	demoCame struct {
		of  *Tour
		err error
	}
)

// NewTour makes the tour.
func NewTour(env Env) *Tour {
	return &Tour{env: env, keys: tourKeys{next: theme.Bind("go on", "enter"), again: theme.Bind("look at it again", "o")}}
}

// Init does nothing: the tour begins with a key.
func (t *Tour) Init() tea.Cmd { return nil }

// Update goes on, a step at a time.
func (t *Tour) Update(msg tea.Msg) (Page, tea.Cmd) {
	switch msg := msg.(type) {
	case demoStarted:
		if msg.of == t {
			t.settle(msg.err, invited)
			t.demo = msg.demo
		}
	case demoMet:
		if msg.of == t {
			t.settle(msg.err, inside)
			t.peer = subjectOf(msg.result)
			return t, Send(Refresh{})
		}
	case demoAsks:
		if msg.of == t {
			return t, t.knock(msg)
		}
	case demoCame:
		if msg.of == t {
			t.came = msg.err == nil
			if session.KindOf(msg.err) == session.Denied {
				msg.err = nil // they said no, and may
			}
			t.settle(msg.err, goodbye)
			return t, Send(Refresh{})
		}
	case tea.KeyMsg:
		switch {
		case key.Matches(msg, t.env.Keys.Back):
			return t, Send(Back{})
		case t.busy:
		case key.Matches(msg, t.keys.next):
			return t, t.next()
		case key.Matches(msg, t.keys.again) && t.step == inside:
			return t, Send(Open{NewPeer(t.env, t.peer)})
		}
	}
	return t, nil
}

// settle ends a piece of work: the next step, or what went wrong at this one.
func (t *Tour) settle(err error, next step) {
	t.busy, t.err = false, err
	if err == nil {
		t.step = next
	}
}

// next does what the present step offers.
func (t *Tour) next() tea.Cmd {
	t.err = nil
	switch t.step {
	case welcome:
		t.busy = true
		return t.start()
	case invited:
		t.busy = true
		link, backend, of := t.demo.Link(), t.env.Backend, t
		return t.env.Run(func(ctx context.Context) tea.Msg {
			result, err := backend.Join(ctx, link, nil)
			return demoMet{of, result, err}
		})
	case inside:
		t.step = hosting
		return nil
	case hosting:
		t.busy = true
		backend, of := t.env.Backend, t
		return t.env.Run(func(ctx context.Context) tea.Msg {
			share, err := backend.StartShare(ctx, node.Share{Terminal: true, ViewOnly: true, Uses: 1, Expires: 10 * time.Minute})
			return demoAsks{of, share, err}
		})
	}
	return Send(Back{})
}

// start starts the demo; it ends with the tour, or with the program.
func (t *Tour) start() tea.Cmd {
	ended, stop := context.WithCancel(context.Background())
	t.stop = stop
	begin, of, up := t.env.Demo, t, make(chan demoStarted, 1)
	life := t.env.Run(func(ctx context.Context) tea.Msg {
		demo, err := begin(ctx)
		up <- demoStarted{of, demo, err}
		if err != nil {
			return nil
		}
		select {
		case <-ended.Done():
		case <-ctx.Done():
		}
		if err := demo.Close(); err != nil {
			return Fail{err}
		}
		return nil
	})
	wait := t.env.Run(func(ctx context.Context) tea.Msg {
		select {
		case started := <-up:
			return started
		case <-ctx.Done():
			return nil
		}
	})
	return tea.Batch(life, wait)
}

// knock has the demo ask to come into our session.
func (t *Tour) knock(asks demoAsks) tea.Cmd {
	if asks.err != nil {
		t.settle(asks.err, t.step)
		return nil
	}
	t.share = asks.share.ID
	demo, link, of := t.demo, asks.share.Link, t
	return t.env.Run(func(ctx context.Context) tea.Msg { return demoCame{of, demo.Join(ctx, link)} })
}

// Close ends what the tour has begun.
func (t *Tour) Close() tea.Cmd {
	if t.stop == nil {
		return nil
	}
	stop, backend, share, peer := t.stop, t.env.Backend, t.share, t.peer
	return t.env.Run(func(ctx context.Context) tea.Msg {
		defer stop()
		var errs []error
		if share != "" {
			errs = append(errs, backend.EndShare(ctx, share))
		}
		if !peer.Peer.Peer.ID.IsZero() {
			errs = append(errs, backend.Forget(ctx, peer.Ref()))
		}
		if err := errors.Join(errs...); err != nil && session.KindOf(err) != session.NotFound {
			return Fail{err}
		}
		return Refresh{}
	})
}

// text is what the present step says.
func (t *Tour) text() (title string, paragraphs []string) {
	switch t.step {
	case welcome:
		return "A tour of two minutes", []string{
			"A second device called demo starts inside this program: a real peer, but for being so near. You join its session, look around in it, and then let it into one of yours.",
			"Nothing is left behind: the demo, its folder and what you granted it end with the tour.",
		}
	case invited:
		return "1 of 4: join a session", []string{
			"demo shares a terminal and a folder. A colleague would now tell you a code such as 4821-wolf-paper-lunar, and you would type it after j. demo gives you its link instead:",
			t.demo.Link(),
			"Joining proves, by the secret in it, that this is the device you mean, whatever server is in between.",
		}
	case inside:
		return "2 of 4: you are in", []string{
			"You are connected to " + t.peer.Alias() + ", directly and encrypted from end to end. Press o to look around: its page has the keys to its terminal and its files. esc comes back here.",
			"Then enter goes on.",
		}
	case hosting:
		if t.busy {
			return "3 of 4: demo knocks", []string{"In a moment you are asked. Take your hands off the keys, compare the words, then press a capital letter: O lets it in once, R refuses."}
		}
		return "3 of 4: now the other way round", []string{
			"enter starts a session of yours, with a terminal that guests only watch. demo has the code and asks to come in.",
			"Whoever asks interrupts any page. You see who it is by words that the other side can read to you, what they would get, and by which path they come.",
		}
	}
	if t.came {
		return "4 of 4: it is here", []string{
			"demo may watch a terminal of yours now. Home lists the session; its page sends guests away (K) and ends it (E), and with it everything that it granted, within a second.",
			"enter ends the tour. n starts a session of your own, j joins one, ? shows every key.",
		}
	}
	return "4 of 4: nobody came in", []string{
		"You have refused, so nothing was granted, and that is in the log.",
		"enter ends the tour. n starts a session of your own, j joins one, ? shows every key.",
	}
}

// View shows the step.
func (t *Tour) View() string {
	look := t.env.Theme
	title, paragraphs := t.text()
	width := max(20, min(t.width-4, 72))
	lines := []string{look.Title.Render(title)}
	for i, p := range paragraphs {
		if i == 0 || t.height > 12 {
			lines = append(lines, "")
		}
		lines = append(lines, widget.Wrap(widget.Clean(p), width)...)
	}
	lines = append(lines, "")
	switch {
	case t.busy:
		lines = append(lines, look.Accent.Render("working"+look.Glyphs.Ellipsis))
	case t.err != nil:
		for _, l := range widget.Wrap(widget.Clean(describe(t.err)), width) {
			lines = append(lines, look.Bad.Render(l))
		}
	}
	return widget.Fit(widget.Center(strings.Join(lines, "\n"), t.width, t.height), t.width, t.height)
}

// SetSize sets the size of the page.
func (t *Tour) SetSize(w, h int) { t.width, t.height = w, h }

// Title is that of the page.
func (t *Tour) Title() string { return "Tour" }

// Keys are those of the page.
func (t *Tour) Keys() []key.Binding {
	var keys []key.Binding
	if !t.busy {
		keys = append(keys, t.keys.next)
	}
	if t.step == inside {
		keys = append(keys, t.keys.again)
	}
	return append(keys, theme.Bind("end the tour", "esc"))
}
