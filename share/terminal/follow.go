package terminal

import (
	"slices"
	"sync"
	"time"

	vt "tandem/share/terminal/internal/screen"
)

const (
	// followPause is how long output may wait to be followed. Nobody looks at
	// the screen while it is only followed, and a few large pieces cost less
	// than many small ones.
	followPause = 20 * time.Millisecond
	// followChunk is how much is followed at once.
	followChunk = 16 << 10
	// maxSizes is how many changes of the size are remembered for output that
	// hasn't been followed yet.
	maxSizes = 64
)

// follower keeps the screen that the terminal's output makes. It reads from the
// ring, behind everybody's back: nothing waits for it but who wants to see the
// screen.
type follower struct {
	mu     sync.Mutex // taken before the terminal's
	screen *vt.Screen
	at     uint64 // the first byte of output that the screen hasn't seen
	// hurry is told when there is much to follow.
	hurry chan struct{}

	// The terminal's mu guards the rest.
	marks []mark
}

// mark is a change of the size at an offset.
type mark struct {
	offset uint64
	size   Size
}

// noteSize lets the follower know that the size changes here. It is called with
// mu held.
func (t *terminal) noteSize(s Size) {
	f := &t.follower
	f.marks = slices.DeleteFunc(f.marks, func(m mark) bool { return m.offset == t.ring.end })
	if len(f.marks) >= maxSizes {
		f.marks = slices.Delete(f.marks, 0, 1)
	}
	f.marks = append(f.marks, mark{t.ring.end, s})
}

// follow follows the output until the program has ended. After that, who wants
// to see the screen does it.
func (t *terminal) follow() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-pause.C:
		case <-t.follower.hurry:
		case <-t.gone:
			return
		}
		t.mu.Lock()
		for t.exit == nil && t.followLimit() == t.followed {
			t.changed.Wait()
		}
		limit := t.followLimit()
		t.mu.Unlock()
		t.follower.mu.Lock()
		t.advance(limit)
		t.follower.mu.Unlock()
		pause.Reset(followPause)
	}
}

// printedMore lets the follower know that there is more to follow. It is called
// with mu held.
func (t *terminal) printedMore() {
	if t.ring.end-t.followed < uint64(t.ring.max)/8 {
		return
	}
	select {
	case t.follower.hurry <- struct{}{}:
	default:
	}
}

// followLimit is how far the output may be followed: to its end, unless a
// viewer that has just come wants the screen as it was then. One that takes long
// gets a later one. It is called with mu held.
func (t *terminal) followLimit() uint64 {
	limit := t.ring.end
	for _, v := range t.viewers {
		if v.wants && t.ring.end-v.next < uint64(t.ring.max)/2 {
			limit = min(limit, v.next)
		}
	}
	return max(limit, t.followed)
}

// advance follows the output up to limit. It is called with the follower's mu
// held.
func (t *terminal) advance(limit uint64) {
	f := &t.follower
	buf := make([]byte, followChunk)
	for {
		t.mu.Lock()
		if f.at < t.ring.start() {
			t.loseTrack()
		}
		if len(f.marks) > 0 && f.marks[0].offset <= f.at {
			size := f.marks[0].size
			f.marks = f.marks[1:]
			t.mu.Unlock()
			f.screen.Resize(int(size.Cols), int(size.Rows)) // takes a while: history may have to be wrapped anew
			continue
		}
		to := min(limit, t.ring.end)
		if len(f.marks) > 0 {
			to = min(to, f.marks[0].offset)
		}
		n := 0
		if f.at < to {
			n = t.ring.read(f.at, buf[:min(uint64(len(buf)), to-f.at)])
		}
		f.at += uint64(n)
		t.followed = f.at
		t.mu.Unlock()
		if n == 0 {
			return
		}
		if _, err := f.screen.Write(buf[:n]); err != nil {
			t.log.Error("the screen is lost; asking the program to draw it again", "error", err)
			t.requestRedraw()
		}
	}
}

// loseTrack goes on near the end when the ring has moved past what was
// followed. It is called with both mu held.
func (t *terminal) loseTrack() {
	f := &t.follower
	to := t.ring.context(contextBytes)
	t.log.Warn("output came too fast to follow the screen; asking the program to draw it again", "missed", to-f.at)
	f.at = to
	f.screen.Reset()
	t.requestRedraw()
}

// picture is the screen as frames, for a viewer that goes on at offset, with
// so many lines of history before it. The output goes on at at, which is offset
// unless the viewer took too long to ask.
func (t *terminal) picture(offset uint64, history int) (frames [][]byte, at uint64) {
	f := &t.follower
	f.mu.Lock()
	defer f.mu.Unlock()
	t.advance(offset)
	before, total := ^uint64(0), 0
	for history > 0 && total < maxHistoryBytes {
		h := t.page(page{before: before, lines: uint16(history)})
		if len(h.Lines) == 0 {
			break
		}
		frame := appendFrame(nil, h)
		frames = append(frames, frame)
		total += len(frame)
		before, history = h.First, history-len(h.Lines)
	}
	slices.Reverse(frames)
	cols, rows := f.screen.Size()
	data := f.screen.Snapshot(MaxSnapshot)
	return append(frames, snapshotFrames(f.at, clamp(cols, rows), data)...), f.at
}

// maxHistoryBytes is about how much history a new viewer gets.
const maxHistoryBytes = 1 << 20

// page draws lines of history. It is called with the follower's mu held.
func (t *terminal) page(p page) History {
	f := &t.follower
	var h History
	h.Start, h.End = f.screen.History()
	first, lines := f.screen.Lines(p.before, int(p.lines), maxLine, MaxBody-historyHeader-int(p.lines)*lineHeader)
	h.First = first
	for _, l := range lines {
		h.Lines = append(h.Lines, Line(l))
	}
	return h
}
