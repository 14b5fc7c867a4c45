package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"github.com/muesli/cancelreader"
	"golang.org/x/term"
)

// TTY is where a person sits: the files that input comes from and output goes
// to. Either may be something else than a terminal, and is then a plain pipe.
type TTY struct{ In, Out *os.File }

// Size is the terminal's size, or zero if neither file is a terminal.
func (t TTY) Size() Size {
	for _, f := range []*os.File{t.Out, t.In} {
		if f == nil || !term.IsTerminal(int(f.Fd())) {
			continue
		}
		if cols, rows, err := term.GetSize(int(f.Fd())); err == nil {
			return clamp(cols, rows)
		}
	}
	return Size{}
}

// console is a TTY in use: in raw mode, its input being read. It outlives the
// streams that a reattaching viewer goes through.
type console struct {
	tty    TTY
	opts   Options
	typed  bool // In is a terminal
	shows  bool // Out is a terminal: filter for it, and restore it
	keys   chan key
	sizes  chan Size
	closed chan struct{}
	input  cancelreader.CancelReader
	read   chan struct{} // closed when input is read no more
	work   sync.WaitGroup
	back   func() // called at the next welcome, if not nil
	kept   *keptRecording
	told   bool // that the host records

	restoring sync.Once
	unraw     func()

	guess *guess // predicts what is typed; nil: nothing does
	// out guards what is written to Out.
	out       sync.Mutex
	filter    Filter
	drawn     bool // a snapshot has been shown
	buf       []byte
	covered   bool // something of ours is shown; output waits
	uncovered *sync.Cond
	repaint   *time.Timer   // for what a notice covers
	stale     chan struct{} // it should be painted again

	opener Opener // of further streams to the host; nil if there is none
}

// openConsole takes the terminal over. The context it returns also ends when the
// process is asked to.
func openConsole(ctx context.Context, tty TTY, opts Options) (_ context.Context, _ *console, err error) {
	c := &console{
		tty: tty, opts: opts, typed: term.IsTerminal(int(tty.In.Fd())), shows: term.IsTerminal(int(tty.Out.Fd())),
		keys: make(chan key), sizes: make(chan Size, 1), closed: make(chan struct{}), read: make(chan struct{}),
		unraw: func() {}, filter: Filter{Clipboard: opts.Clipboard},
	}
	c.uncovered = sync.NewCond(&c.out)
	c.stale = make(chan struct{}, 1)
	scan := escapes{}
	if c.typed {
		scan.char = '~'
		if opts.Escape != 0 {
			scan.char = opts.Escape
		}
		if opts.NoEscape {
			scan.char = 0
		}
	}
	c.input, err = cancelreader.NewReader(tty.In)
	if err != nil {
		// A file that can't be polled, such as a regular one, does not block either.
		c.input, err = cancelreader.NewReader(onlyReader{tty.In})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read from the terminal: %w", err)
	}
	if c.typed || c.shows {
		// Before the terminal changes, so that no signal finds it changed.
		watched, stop := signal.NotifyContext(ctx, endSignals...)
		ctx = watched
		c.work.Go(func() {
			select {
			case <-ctx.Done():
			case <-c.closed:
			}
			stop() // a second signal acts as it does without us
		})
	}
	if c.typed {
		back := leave(opts.Rescue, tty.In)
		state, err := term.MakeRaw(int(tty.In.Fd()))
		if err != nil {
			back()
			close(c.closed)
			c.work.Wait()
			return nil, nil, errors.Join(fmt.Errorf("raw mode: %w", err), c.input.Close())
		}
		c.unraw = func() {
			_ = term.Restore(int(tty.In.Fd()), state)
			back()
		}
	}
	if size := tty.Size(); c.shows && c.typed && opts.Predict != "" && opts.Predict != PredictNever && !size.IsZero() {
		// What is on the screen from here on is then known. Usually it is nothing.
		_, _ = tty.Out.WriteString("\x1b[J")
		c.guess = newGuess(opts.Predict, size)
		c.work.Go(c.paint)
	}
	go func() {
		defer close(c.read)
		c.readKeys(scan)
	}()
	if c.shows || c.typed {
		c.work.Go(c.watchSize)
	}
	if opts.Notices != nil {
		c.work.Go(c.passNotices)
	}
	return ctx, c, nil
}

// onlyReader hides that a file is a file.
type onlyReader struct{ r io.Reader }

func (o onlyReader) Read(p []byte) (int, error) { return o.r.Read(p) }

// close gives the terminal back and returns when nothing reads it any more.
func (c *console) close() {
	c.restore()
	close(c.closed)
	c.out.Lock()
	if c.repaint != nil {
		c.repaint.Stop()
	}
	c.out.Unlock()
	if c.input.Cancel() {
		<-c.read
	} // else a read can't be interrupted: of a regular file, or of a pipe on Windows
	c.work.Wait()
	_ = c.input.Close()
}

// restore brings the terminal back to how we found it, once.
func (c *console) restore() {
	c.restoring.Do(func() {
		c.unraw() // first: this can't block
		if c.shows {
			c.out.Lock()
			defer c.out.Unlock()
			if c.guess != nil {
				_, _ = c.tty.Out.Write(c.guess.end())
			}
			_, _ = c.tty.Out.Write(c.filter.Undo())
		}
	})
}

// restoreOnPanic is deferred in every goroutine while the terminal is raw: the
// report of a panic should be readable, and the shell after it usable.
func (c *console) restoreOnPanic() {
	if r := recover(); r != nil {
		c.unraw()
		if c.shows {
			_, _ = c.tty.Out.Write(c.filter.Undo())
		}
		panic(r)
	}
}

func (c *console) readKeys(scan escapes) {
	defer c.restoreOnPanic()
	buf := make([]byte, 16<<10)
	deliver := func(k key) bool {
		select {
		case c.keys <- k:
			return true
		case <-c.closed:
			return false
		}
	}
	for {
		n, err := c.input.Read(buf)
		for _, k := range scan.split(buf[:n]) {
			if (k.kind != keyText || len(k.text) > 0) && !deliver(k) {
				return
			}
		}
		if err != nil {
			if c.typed {
				deliver(key{kind: keyDetach}) // the terminal has gone
			} else {
				deliver(key{kind: keyEnd})
			}
			return
		}
	}
}

// sized passes a size on; only the newest counts.
func (c *console) sized(s Size) {
	select {
	case <-c.sizes:
	default:
	}
	select {
	case c.sizes <- s:
	default:
	}
}

// show writes output, filtered if a terminal is to show it.
func (c *console) show(p []byte, answer bool) error {
	c.out.Lock()
	defer c.out.Unlock()
	for c.covered {
		c.uncovered.Wait()
	}
	if c.shows {
		c.filter.Answer = answer
		c.buf = c.filter.Append(c.buf[:0], p)
		p = c.buf
	}
	return c.write(p)
}

// skip forgets the beginning of a sequence whose end will not come.
func (c *console) skip() {
	c.out.Lock()
	defer c.out.Unlock()
	if c.shows {
		c.buf = c.filter.Flush(c.buf[:0])
		_ = c.write(c.buf)
	}
}

// beginScreen makes the terminal what a snapshot expects: reset and empty. What
// it showed before the first one goes where the person can scroll back to it.
func (c *console) beginScreen() error {
	c.skip()
	c.out.Lock()
	defer c.out.Unlock()
	c.buf = append(c.buf[:0], c.filter.Undo()...)
	c.buf = append(c.buf, '\r')
	if !c.drawn {
		c.buf = append(c.buf, strings.Repeat("\n", max(int(c.tty.Size().Rows)-1, 0))...)
	}
	c.drawn = true
	// A soft reset, usual tab stops, and a clear screen.
	c.buf = append(c.buf, "\x1b[!p\x1b[?7h\x1b[?5W\x1b[H\x1b[J"...)
	return c.write(c.buf)
}

// passNotices shows what others have to say to the person.
func (c *console) passNotices() {
	defer c.restoreOnPanic()
	for {
		select {
		case text := <-c.opts.Notices:
			c.notice("%s", text)
		case <-c.closed:
			return
		}
	}
}

// notice tells the person something on a line of its own.
func (c *console) notice(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	switch {
	case c.opts.Notice != nil:
		c.opts.Notice(text)
	case c.shows:
		c.say(text)
	}
}

func (c *console) help() {
	char := byte('~')
	if c.opts.Escape != 0 {
		char = c.opts.Escape
	}
	c.notice("after Enter: %[1]c. leaves, the terminal goes on; %[1]cW shows who is here; %[1]cT asks to type; "+
		"%[1]cY and %[1]cN answer who asks; %[1]c%[1]c types %[1]c; %[1]c? shows this", char)
}

// idle lets the person leave while there is nothing to type into, until over
// yields. What is typed meanwhile is dropped: nobody sees where it would go.
func (c *console) idle(ctx context.Context, over <-chan time.Time) (detach bool, err error) {
	keys := c.keys
	if !c.typed {
		keys = nil // a pipe's input can wait
	}
	for {
		select {
		case k := <-keys:
			if leaves(k) {
				return true, nil
			}
			if k.kind == keyHelp {
				c.help()
			}
		case <-over:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}
