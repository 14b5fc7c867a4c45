package terminal

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tandem/session"
)

const (
	// outputChunk fits, with its frame's header, one message of a stream.
	outputChunk = 16<<10 - 64
	// goodbye is how long a viewer may take to close after EXIT.
	goodbye = 5 * time.Second
	// endOfFile is what a terminal takes as the end of input (VEOF).
	endOfFile = 0x04
	// endEvery is how often it is typed while a program still reads: each of
	// several programs, one after the other, meets the end of the same input.
	endEvery = 250 * time.Millisecond
	// redrawBurst is how many REDRAW frames have an effect at once; after that,
	// one has every redrawEvery.
	redrawBurst = 10
	// pingEvery is how often a viewer's round trip is measured.
	pingEvery = 5 * time.Second
)

// viewer is one attachment, on the host.
type viewer struct {
	terminal *terminal
	peer     session.Peer
	host     bool  // a window of the host's own person
	granted  Right // what was asked for, and granted
	records  bool  // keeps a recording
	screen   bool  // it wants snapshots
	stream   session.Stream

	// The terminal's mu guards the rest.
	number    uint64
	right     Right // at this moment
	typedOnce bool  // it had the right to type at some time
	asks      bool
	requests  int // how often it has asked
	size      Size
	// What the welcome says: as it was when the viewer came.
	welcomeSize  Size
	welcomeRight Right
	live         uint64   // output before it was printed before this viewer came
	next         uint64   // the first byte not sent
	acked        uint64   // the first byte not acknowledged
	wants        bool     // the screen as it is at next, before output from there on
	stale        bool     // it has asked for the screen again
	history      int      // how many lines that comes with
	paging       *page    // what it has asked for
	frames       [][]byte // to be sent before more output
	input        inputQueue
	received     uint64 // bytes of input that arrived
	lastTyped    byte
	typedAt      time.Time
	pings        pings
	redrawing    *rate.Limiter
	// What the viewer has been told.
	rosterVersion, sizeVersion, typingVersion int
	news                                      takenNews

	stopped bool
	err     error // why, if it was not the viewer's wish
}

// serve talks to the viewer until it leaves, the program has ended, or ctx has.
// It fails if the viewer broke the rules, was thrown out or was lost.
func (v *viewer) serve(ctx context.Context, made bool) error {
	t := v.terminal
	over := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() { v.stop(context.Cause(ctx)) })
	defer unwatch()

	var work sync.WaitGroup
	ended := make(chan struct{}) // the viewer has sent END
	work.Go(func() {
		// Whatever ended it, nothing more will be understood from this viewer.
		v.stop(v.read(ended))
	})
	work.Go(func() {
		select {
		case <-ended:
			v.typeEnd(over)
		case <-over:
		}
	})
	work.Go(func() { v.measure(over) })
	if err := v.write(made); err != nil {
		v.stop(err)
	} else {
		v.awaitGoodbye()
	}
	close(over)
	work.Wait()

	t.mu.Lock()
	err := v.err
	t.mu.Unlock()
	kind := session.KindOf(err)
	if kind == session.Invalid || kind == session.TooLarge {
		t.log.Warn("refused: this viewer breaks the rules", "viewer", v.number, "peer", v.peer.ID.Short(), "error", err)
	}
	t.detach(v, kind == session.Revoked || kind == session.Denied)
	return err
}

// stop ends the attachment: at the viewer's wish if err is nil. Only the first
// call has an effect.
func (v *viewer) stop(err error) {
	t := v.terminal
	t.mu.Lock()
	first := !v.stopped
	if first {
		v.stopped, v.err = true, err
	}
	t.mu.Unlock()
	if !first {
		return
	}
	t.changed.Broadcast()
	if err != nil {
		_ = v.stream.Reset(err)
		return
	}
	_ = v.stream.Close()
}

// read takes the viewer's frames. It returns nil if the viewer closed.
func (v *viewer) read(ended chan<- struct{}) error {
	frames := newFrameReader(v.stream)
	finished := false
	for {
		m, err := frames.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		switch m := m.(type) {
		case input:
			err = v.typed(m, finished)
		case resize:
			err = v.resized(Size(m))
		case ack:
			err = v.acknowledged(uint64(m))
		case end:
			var ok bool
			if ok, err = v.endsInput(); ok && !finished {
				finished = true
				close(ended)
			}
		case ask:
			v.terminal.asked(v)
		case redraw:
			v.redraws()
		case page:
			v.turnsTo(m)
		case pong:
			err = v.ponged(m)
		default:
			err = session.Errorf("terminal", session.Invalid, "frame %#02x is the host's to send", m.frameType())
		}
		if err != nil {
			return err
		}
	}
}

// mayControl is the guard of everything but watching. Without the right it is
// an error, unless the right was taken back in the meantime: what is then still
// under way just has no effect. It is called with mu held.
func (v *viewer) mayControl(what string) (bool, error) {
	if v.right == Control {
		return true, nil
	}
	v.terminal.log.Warn("refused: this viewer may only watch", "viewer", v.number, "peer", v.peer.ID.Short(), "what", what)
	if v.typedOnce {
		return false, nil
	}
	return false, session.Errorf("terminal", session.Denied, "this viewer may watch, but not %s", what)
}

func (v *viewer) endsInput() (bool, error) {
	v.terminal.mu.Lock()
	defer v.terminal.mu.Unlock()
	return v.mayControl("end the input")
}

// redraws shows the viewer its screen once more: drawn by us, or else by the
// program, which is the effect of a moment's change of size, and not for those
// who may not resize.
func (v *viewer) redraws() {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case v.screen && v.redrawing.Allow():
		v.stale = true
		t.changed.Broadcast()
	case !v.screen && v.right == Control:
		t.requestRedraw()
	}
}

func (v *viewer) typed(p []byte, finished bool) error {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	ok, err := v.mayControl("type")
	if err != nil {
		return err
	}
	if finished {
		return session.Errorf("terminal", session.Invalid, "input after its end")
	}
	if v.received+uint64(len(p))-v.input.taken > InputWindow {
		return session.Errorf("terminal", session.TooLarge, "more input than the terminal takes")
	}
	v.received += uint64(len(p))
	if !ok {
		v.input.taken += uint64(len(p))
		t.changed.Broadcast()
		return nil
	}
	v.lastTyped = p[len(p)-1]
	t.noteTyping(v)
	v.input.bytes = append(v.input.bytes, p...)
	t.changed.Broadcast()
	return nil
}

func (v *viewer) resized(s Size) error {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok, err := v.mayControl("resize"); !ok {
		return err
	}
	if v.size != s {
		v.size = s
		t.fit()
		t.rosterChanged()
	}
	return nil
}

func (v *viewer) acknowledged(offset uint64) error {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	if offset < v.acked || offset > v.next {
		return session.Errorf("terminal", session.Invalid, "an acknowledgement of %d, outside %d to %d", offset, v.acked, v.next)
	}
	v.acked = offset
	t.changed.Broadcast()
	return nil
}

// typeEnd types end-of-file, again and again, as long as the viewer is there.
// A program in the middle of a line needs it twice.
func (v *viewer) typeEnd(over <-chan struct{}) {
	t := v.terminal
	t.mu.Lock()
	if v.right == Control { // it may have been taken back since
		if v.received > 0 && v.lastTyped != '\n' && v.lastTyped != '\r' {
			v.input.extra(endOfFile)
		}
		v.input.extra(endOfFile)
	}
	t.mu.Unlock()
	t.changed.Broadcast()
	tick := time.NewTicker(endEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-over:
			return
		}
		t.mu.Lock()
		if len(v.input.bytes) == 0 && v.right == Control {
			v.input.extra(endOfFile)
		}
		t.mu.Unlock()
		t.changed.Broadcast()
	}
}

// write sends what there is to send until EXIT has been sent or the viewer is
// stopped.
func (v *viewer) write(made bool) error {
	t := v.terminal
	frames := appendFrame(nil, Welcome{
		Terminal: t.id, Name: t.name, Right: v.welcomeRight, Viewer: v.number,
		Offset: v.next, Live: v.live, Made: made, Locale: t.locale, Size: v.welcomeSize,
	})
	data := make([]byte, outputChunk)
	for {
		if len(frames) > 0 {
			if _, err := v.stream.Write(frames); err != nil {
				return err
			}
		}
		var last bool
		if frames, last = v.due(frames[:0], data); last {
			if len(frames) == 0 {
				return nil // stopped
			}
			if _, err := v.stream.Write(frames); err != nil {
				return err
			}
			return v.stream.CloseWrite()
		}
	}
}

// due waits until there is something to tell the viewer and appends it as
// frames. With last, nothing comes after it.
func (v *viewer) due(frames, data []byte) (_ []byte, last bool) {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if v.stopped {
			return frames[:0], true
		}
		if v.sizeVersion != t.sizeVersion {
			v.sizeVersion = t.sizeVersion
			frames = appendFrame(frames, t.size)
		}
		if v.rosterVersion != t.rosterVersion {
			v.rosterVersion = t.rosterVersion
			frames = appendFrame(frames, t.roster())
		}
		if v.typingVersion != t.typingVersion {
			v.typingVersion = t.typingVersion
			frames = appendFrame(frames, Typing(t.typist))
		}
		if v.pings.wanted {
			frames = appendFrame(frames, v.pings.next(time.Now()))
		}
		frames = v.dueOutput(frames, data)
		if v.takenDue(time.Now()) {
			frames = appendFrame(frames, Taken(v.news.told))
		}
		if t.exit != nil && v.next == t.ring.end && !v.wants && len(v.frames) == 0 {
			return appendFrame(frames, *t.exit), true
		}
		if len(frames) > 0 {
			return frames, false
		}
		t.changed.Wait()
	}
}

// dueOutput appends what is due of output, and what comes in its place. It is
// called with the terminal's mu held, and lets go of it to draw the screen.
func (v *viewer) dueOutput(frames, data []byte) []byte {
	t := v.terminal
	if v.stale && v.next >= t.followed { // so that none of the output is left out
		v.stale, v.wants = false, true
	}
	if len(v.frames) == 0 && (v.wants || v.paging != nil) {
		v.drawDue()
	}
	if len(v.frames) > 0 {
		frames = append(frames, v.frames[0]...)
		v.frames[0], v.frames = nil, v.frames[1:]
		return frames
	}
	if v.next-v.acked >= Window {
		return frames
	}
	if v.next < t.ring.start() {
		// Far behind: go on at the end or near it, or the gap would soon open
		// again.
		to := t.ring.end
		if !v.screen {
			to = t.ring.context(contextBytes)
			t.requestRedraw()
		}
		frames = appendFrame(frames, Gap{From: v.next, To: to})
		t.log.Info("viewer was too slow", "viewer", v.number, "missed", to-v.next)
		v.next, v.wants = to, v.screen
		return frames
	}
	if v.next < t.ring.end {
		n := t.ring.read(v.next, data)
		frames = appendFrame(frames, Output{Offset: v.next, Data: data[:n]})
		v.next += uint64(n)
	}
	return frames
}

// drawDue draws what the viewer wants to see, without the terminal's mu, which
// is held before and after.
func (v *viewer) drawDue() {
	t := v.terminal
	if v.wants {
		offset, history := v.next, v.history
		t.mu.Unlock()
		frames, at := t.picture(offset, history)
		t.mu.Lock()
		v.frames, v.next, v.wants, v.history = frames, at, false, 0
		t.changed.Broadcast() // the follower may go on
		return
	}
	wish := *v.paging
	v.paging = nil
	t.mu.Unlock()
	t.follower.mu.Lock()
	lines := t.page(wish)
	t.follower.mu.Unlock()
	t.mu.Lock()
	v.frames = [][]byte{appendFrame(nil, lines)}
}

// turnsTo notes what history the viewer asks for.
func (v *viewer) turnsTo(p page) {
	t := v.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	v.paging = &p
	t.changed.Broadcast()
}

// awaitGoodbye gives the viewer time to read what was sent and to close.
func (v *viewer) awaitGoodbye() {
	t := v.terminal
	timer := time.AfterFunc(goodbye, func() {
		v.stop(session.Errorf("terminal", session.Timeout, "the viewer did not close after the exit"))
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !v.stopped {
		t.changed.Wait()
	}
}
