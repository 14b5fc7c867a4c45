package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/term"

	"tandem/session"
	"tandem/share/terminal/internal/predict"
)

// Options are what a viewer's person wishes. The zero Options are safe.
type Options struct {
	// Escape begins an escape after Enter: Escape and "." leaves. 0 means '~'.
	// NoEscape turns escapes off.
	Escape   byte
	NoEscape bool
	// Clipboard lets programs write to the person's clipboard (OSC 52); they
	// can never read it.
	Clipboard bool
	// Recording, if not nil, records what the terminal shows.
	Recording *Recording
	// Predict says when to show what is typed before the host has echoed it, on
	// a terminal that knows ECMA-48's sequences. The terminal is then cleared
	// from the cursor on at the beginning.
	Predict Prediction
	// Rescue is a folder for what it takes to bring the terminal back should this
	// process be killed; see Rescue. Empty means that nothing is kept for that.
	Rescue string
	// Words are the fingerprint of a peer, of which the list of viewers shows
	// the beginning. nil leaves it out.
	Words func(session.PeerID) []string
	// Notice shows the person a message, such as "connection lost,
	// reattaching…". nil writes it to the terminal in a line of its own, or
	// nowhere if output is not a terminal.
	Notice func(text string)
	// Notices are more messages for the person, shown as Notice says.
	Notices <-chan string
	// Events, if not nil, is called for every event but Output and Taken, in order.
	Events func(Event)
}

// Result is how an attachment ended: by the program's end, unless Detached or
// Lost says otherwise.
type Result struct {
	Exit            // the program's status
	Detached bool   // the person left; the terminal goes on
	Lost     error  // the stream failed before the program ended
	Terminal string // the terminal's ID; empty if the host never welcomed us
	Offset   uint64 // how much of the terminal's output has been shown
}

// Opener opens a stream to the host: the method of a session.Session, or
// something that makes the session first.
type Opener func(ctx context.Context, h session.Header) (session.Stream, error)

// Attach connects a person's terminal to one stream, opened with a Request's
// Header, until the program ends, the person leaves, or the stream fails. The
// terminal is raw meanwhile and is restored whatever happens, including a
// panic, SIGTERM, SIGHUP, and modes that the program left on. A person who may
// only watch also leaves with Ctrl-C.
//
// It fails with the host's *session.Error if the host refused, with an error of
// kind Integrity or Invalid if the host broke the protocol, and with the
// context's error if that ended or the process was asked to end.
func Attach(ctx context.Context, stream session.Stream, tty TTY, opts Options) (Result, error) {
	kept, err := keepRecording(opts.Recording, Request{}, tty)
	if err != nil {
		_ = stream.Close()
		return Result{}, err
	}
	defer kept.close()
	ctx, c, err := openConsole(ctx, tty, opts)
	if err != nil {
		_ = stream.Close()
		return Result{}, err
	}
	defer c.close()
	c.kept = kept
	defer c.restoreOnPanic()
	return c.attach(ctx, stream)
}

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
	// explainAfter is how long a lost stream goes without an explanation.
	explainAfter = 2 * time.Second
)

// Run attaches like Attach, to a stream that it opens, and when the stream is
// lost it opens another and goes on at the byte where the last one stopped. It
// tries until it succeeds, the host refuses, the person leaves or ctx ends.
// What is typed while there is no stream is dropped: nobody sees where it
// would go. A first attempt that fails is not repeated.
func Run(ctx context.Context, open Opener, request Request, tty TTY, opts Options) (Result, error) {
	if request.IsZero() {
		request.Size = tty.Size()
	}
	request.Record = opts.Recording != nil
	request.Screen = term.IsTerminal(int(tty.Out.Fd()))
	header, err := request.Header()
	if err != nil {
		return Result{}, err
	}
	kept, err := keepRecording(opts.Recording, request, tty)
	if err != nil {
		return Result{}, err
	}
	defer kept.close()
	stream, err := open(ctx, header)
	if err != nil {
		return Result{}, err
	}
	ctx, c, err := openConsole(ctx, tty, opts)
	if err != nil {
		_ = stream.Close()
		return Result{}, err
	}
	defer c.close()
	defer c.restoreOnPanic()
	c.kept = kept

	c.opener = open
	result, err := c.attach(ctx, stream)
	for err == nil && result.Lost != nil {
		c.notice("connection lost, reattaching…")
		result, err = c.reattach(ctx, open, request, result)
	}
	return result, err
}

// reattach goes on where last stopped. It returns when it has been welcomed
// and lost again, or when trying has no more sense.
func (c *console) reattach(ctx context.Context, open Opener, request Request, last Result) (Result, error) {
	request.Resume, request.History = &Resume{Terminal: last.Terminal, Offset: last.Offset}, 0
	lostAt := time.Now()
	last.Lost = nil
	told := ""
	for retry := firstRetry; ; retry = min(2*retry, lastRetry) {
		if detach, err := c.idle(ctx, time.After(retry/2+rand.N(retry/2))); detach || err != nil {
			last.Detached = detach
			return last, err
		}
		request.Size = c.tty.Size()
		stream, detach, err := c.open(ctx, open, request)
		if detach {
			last.Detached = true
			return last, nil
		}
		result := Result{Terminal: last.Terminal, Offset: last.Offset}
		if err == nil {
			c.back = func() { c.notice("reattached after %s", time.Since(lostAt).Round(100*time.Millisecond)) }
			if result, err = c.attach(ctx, stream); result.Terminal == "" {
				result.Terminal, result.Offset = last.Terminal, last.Offset
			}
		}
		if err == nil || ctx.Err() != nil || !WorthRetrying(err) {
			return result, err
		}
		if _, why := session.Public(err); why != "" && why != told && time.Since(lostAt) > explainAfter {
			c.notice("%s; still trying, Enter ~ . leaves", why)
			told = why
		}
	}
}

// open opens a stream while the person may still leave.
func (c *console) open(ctx context.Context, open Opener, request Request) (_ session.Stream, detach bool, _ error) {
	header, err := request.Header()
	if err != nil {
		return nil, false, err
	}
	opening, cancel := context.WithCancel(ctx)
	defer cancel()
	var stream session.Stream
	opened := make(chan time.Time)
	go func() {
		defer c.restoreOnPanic()
		defer close(opened)
		stream, err = open(opening, header)
	}()
	detach, ended := c.idle(ctx, opened)
	cancel()
	<-opened
	if !detach && ended == nil {
		return stream, false, err
	}
	if err == nil {
		_ = stream.Close()
	}
	return nil, detach, ended
}

// WorthRetrying tells a failing path, after which another stream may do, from a
// refusal by the host.
func WorthRetrying(err error) bool {
	if errors.As(err, new(unrecordedError)) {
		return false
	}
	var refused *session.Error
	if !errors.As(err, &refused) {
		return true // the stream itself failed
	}
	switch session.KindOf(err) {
	case session.Unavailable, session.Timeout, session.Busy:
		return true
	}
	return false
}

// attach connects the console to one stream.
func (c *console) attach(ctx context.Context, stream session.Stream) (Result, error) {
	a := &attachment{
		console: c, client: NewClient(stream), people: &people{words: c.opts.Words},
		welcomed: make(chan struct{}), over: make(chan struct{}),
	}
	// What was typed into another stream is not waited for any more.
	c.predicting(func(p *predict.Predictor, _ time.Time) { p.Reset() })
	closeStream := context.AfterFunc(ctx, func() { _ = stream.Close() })
	defer closeStream()
	var work sync.WaitGroup
	work.Go(func() {
		defer c.restoreOnPanic()
		defer close(a.over)
		a.err = a.receive()
	})
	detached := a.relay(ctx)
	_ = a.client.Close()
	work.Wait()

	result := Result{Terminal: a.welcome.Terminal, Offset: a.client.Offset()}
	if errors.Is(a.err, io.EOF) {
		a.err = &session.Error{Op: "terminal", Kind: session.Unavailable, Text: "the host closed the stream", Err: a.err}
	}
	switch {
	case a.exit != nil:
		result.Exit = *a.exit
	case detached:
		result.Detached = true
	case ctx.Err() != nil:
		return result, context.Cause(ctx)
	case a.welcome.Terminal == "", !WorthRetrying(a.err):
		return result, a.err
	default:
		result.Lost = a.err
	}
	return result, nil
}

// attachment is a console on one stream. Its fields belong to receive until
// over is closed; welcome may be read once welcomed is closed.
type attachment struct {
	console *console
	client  *Client
	people  *people

	welcomed chan struct{}
	over     chan struct{}
	welcome  Welcome
	answers  bool // ours is the terminal that answers queries
	exit     *Exit
	err      error
}

// receive shows what comes until the stream ends, and says why it did.
func (a *attachment) receive() error {
	for {
		event, err := a.client.Next()
		if err != nil {
			return err
		}
		if output, ok := event.(Output); ok {
			if err := a.show(output); err != nil {
				return err
			}
		} else if _, often := event.(Taken); !often && a.console.opts.Events != nil {
			a.console.opts.Events(event)
		}
		switch e := event.(type) {
		case Welcome:
			a.welcome = e
			a.people.welcome(e)
			close(a.welcomed)
			a.console.kept.resize(e.Size)
			a.console.predicting(func(p *predict.Predictor, _ time.Time) { p.HostColumns(int(e.Cols)) })
			if e.Locale != "" && a.console.shows && a.console.back == nil {
				a.console.notice("the locale there is %s, not UTF-8: programs may garble characters beyond ASCII", e.Locale)
			}
			if a.console.back != nil {
				a.console.back()
				a.console.back = nil
			}
		case Roster:
			a.answers = e.Answers == a.welcome.Viewer
			a.console.recorded(e.Recorded)
			for _, v := range e.Viewers {
				if v.Viewer == a.welcome.Viewer {
					a.console.predicting(func(p *predict.Predictor, _ time.Time) { p.RoundTrip(v.RTT) })
				}
			}
			news, mayType := a.people.update(e)
			if mayType { // until now nobody wanted to know
				_ = a.client.Resize(a.console.tty.Size())
			}
			for _, n := range news {
				a.console.notice("%s", n)
			}
		case Size:
			a.console.kept.resize(e)
			a.console.predicting(func(p *predict.Predictor, _ time.Time) { p.HostColumns(int(e.Cols)) })
		case Taken:
			a.console.predicting(func(p *predict.Predictor, now time.Time) { p.Taken(uint64(e), now) })
		case Typing:
			a.people.typing(uint64(e))
		case Gap:
			a.console.skip()
			a.console.kept.mark(fmt.Sprintf("%d bytes are missing here: the connection was too slow for them", e.To-e.From))
			if !a.console.shows { // a terminal is shown what it looks like now
				a.console.notice("%d bytes of output were skipped", e.To-e.From)
			}
		case History:
			if err := a.showHistory(e); err != nil {
				return err
			}
		case Snapshot:
			if err := a.showSnapshot(e); err != nil {
				return err
			}
		case Exit:
			a.exit = &e
			return nil
		}
		if err := a.console.kept.failure(); err != nil {
			a.console.notice("%s", err)
		}
		// The stream tells by itself when it is broken.
		_ = a.client.Ack(a.client.Offset())
	}
}

func (a *attachment) show(o Output) error {
	data := o.Data
	if o.Offset < a.welcome.Live { // this was answered long ago
		n := min(uint64(len(data)), a.welcome.Live-o.Offset)
		if err := a.print(data[:n], false); err != nil {
			return err
		}
		data = data[n:]
	}
	return a.print(data, a.answers)
}

// showHistory writes lines that were printed before the person came.
func (a *attachment) showHistory(h History) error {
	for _, l := range h.Lines {
		text := l.Text
		if !l.Wrapped {
			text = append(bytes.Clone(text), "\r\n"...)
		}
		if err := a.print(text, false); err != nil {
			return err
		}
	}
	return nil
}

// showSnapshot draws a piece of a snapshot, the first one on an empty screen.
func (a *attachment) showSnapshot(s Snapshot) error {
	if s.First {
		if err := a.console.kept.output([]byte(reset)); err != nil {
			return err
		}
		if err := a.console.beginScreen(); err != nil {
			return session.Errorf("clear the screen", session.Internal, "%w", err)
		}
	}
	return a.print(s.Data, false)
}

// reset is a terminal's full reset (RIS), for recordings.
const reset = "\x1bc"

// print records and shows what comes.
func (a *attachment) print(p []byte, answer bool) error {
	if len(p) == 0 {
		return nil
	}
	if err := a.console.kept.output(p); err != nil {
		return err
	}
	if err := a.console.show(p, answer); err != nil {
		return session.Errorf("show output", session.Internal, "%w", err)
	}
	return nil
}

// relay passes keys and sizes on until the attachment is over.
func (a *attachment) relay(ctx context.Context) (detached bool) {
	defer a.console.restoreOnPanic()
	welcomed := a.welcomed
	for {
		// Of a broken stream, receive will tell.
		select {
		case <-welcomed:
			welcomed = nil
			if a.people.mine() == Control {
				_ = a.client.Resize(a.console.tty.Size())
			}
		case s := <-a.console.sizes:
			if a.people.mine() == Control {
				_ = a.client.Resize(s)
			}
		case <-a.console.stale:
			_ = a.client.Redraw()
		case k := <-a.console.keys:
			if a.pressed(ctx, k) {
				return true
			}
		case <-a.over:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// pressed does what a key is for. It reports whether that is to leave.
func (a *attachment) pressed(ctx context.Context, k key) (leave bool) {
	right := a.people.mine()
	switch {
	case k.kind == keyDetach, right != Control && leaves(k):
		return true
	case k.kind == keyHelp:
		a.console.help()
	case k.kind == keyPeople:
		return a.showPeople(ctx)
	case k.kind == keyAsk:
		a.askToType()
	case k.kind == keyAllow:
		a.answerAsker(ctx, Control)
	case k.kind == keyRefuse:
		a.answerAsker(ctx, View)
	case k.kind == keyText && right != View:
		a.console.predicting(func(p *predict.Predictor, now time.Time) { p.Type(k.text, now) })
		if a.console.kept.input(k.text) == nil { // or output fails soon
			_ = a.client.Input(k.text)
		}
	case k.kind == keyEnd && right != View:
		_ = a.client.End()
	}
	return false
}

// leaves reports whether a key makes a person leave who has nothing to type
// into.
func leaves(k key) bool {
	const interrupt = 0x03 // Ctrl-C in raw mode
	return k.kind == keyDetach || k.kind == keyText && bytes.IndexByte(k.text, interrupt) >= 0
}
