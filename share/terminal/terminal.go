package terminal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/terminal/internal/cast"
	vt "tandem/share/terminal/internal/screen"
)

const (
	// readChunk is how much is read from a program at once.
	readChunk = 16 << 10
	// typeChunk is how much of one viewer's input is typed before the next
	// viewer's turn.
	typeChunk = 4 << 10
	// contextBytes is how much of the past a newcomer gets.
	contextBytes = 32 << 10
	// drainLimit bounds what is read after the program has ended, in case a
	// background process goes on printing.
	drainLimit = 1 << 20
	// maxLeft is how many departed viewers' input is kept.
	maxLeft = 4
	// redrawPause is how long the changed size of a redraw lasts.
	redrawPause = 30 * time.Millisecond
	// redrawEvery is how far apart redraws are at least.
	redrawEvery = time.Second
)

// terminal is one program on a pseudo-terminal, and who watches it.
type terminal struct {
	id      string // names this terminal among all that ever were
	name    string
	shared  bool   // one of those that an empty resource stands for
	program string // what was started
	locale  string // the program's, if it is not UTF-8
	owner   session.PeerID
	made    time.Time
	log     *slog.Logger
	// tellAsked lets the host know of a viewer that would like to type.
	tellAsked func(viewer uint64, peer session.Peer)

	process  *process // nil if the program could not be started
	follower follower
	redraw   chan struct{} // holds one request
	killed   chan struct{} // closed when the host ends the terminal
	gone     chan struct{} // closed when the program has ended and exit is set
	workers  sync.WaitGroup

	// Set before the terminal is used, and not changed after that:
	recorder    *cast.Recorder // nil if nothing is recorded
	recording   string         // its file
	recordInput bool

	mu       sync.Mutex
	changed  *sync.Cond // anything below, or of a viewer, has changed
	ring     ring
	size     Size
	exit     *Exit
	reason   string // why the host ended it
	followed uint64 // how far the follower is
	viewers  []*viewer
	inputs   []*inputQueue
	last     uint64 // the number of the newest viewer
	used     time.Time
	// recorded says that the recording goes on.
	recorded bool
	typist   uint64 // the number of who typed last
	pinned   Size   // zero: as large as the smallest typing viewer
	limits   []limit
	// These count changes; a viewer remembers which it has been told.
	rosterVersion, sizeVersion, typingVersion int
}

func newTerminal(name, program string, owner session.PeerID, size Size, ringSize int, log *slog.Logger) *terminal {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	t := &terminal{
		id: hex.EncodeToString(id[:]), name: name, program: program, owner: owner, made: time.Now(), used: time.Now(),
		log:    log.With("terminal", name),
		redraw: make(chan struct{}, 1), killed: make(chan struct{}), gone: make(chan struct{}),
		ring: ring{max: ringSize}, size: size,
		follower: follower{screen: vt.New(int(size.Cols), int(size.Rows)), hurry: make(chan struct{}, 1)},
	}
	t.changed = sync.NewCond(&t.mu)
	return t
}

// run starts the terminal's workers. They end when the program does.
func (t *terminal) run(p *process) {
	t.process = p
	drained := make(chan struct{})
	t.workers.Go(func() { defer close(drained); t.readProgram() })
	t.workers.Go(t.typeInput)
	t.workers.Go(t.redrawOnRequest)
	t.workers.Go(t.follow)
	t.workers.Go(func() {
		status := p.wait()
		p.leaderGone()
		<-drained
		_ = p.master.Close() // hangs up on what is left in the foreground
		t.finish(status)
		t.endRecording()
	})
}

// finish records how the program ended.
func (t *terminal) finish(status Exit) {
	t.mu.Lock()
	if t.reason != "" {
		status.Reason = t.reason
	}
	t.exit = &status
	t.mu.Unlock()
	close(t.gone)
	t.changed.Broadcast()
	t.log.Info("terminal ended", "code", status.Code, "signal", status.Signal, "reason", status.Reason)
}

// kill ends the program and everything in its session. It returns when the
// workers have ended.
func (t *terminal) kill(reason string) {
	if t.condemn(reason) {
		t.process.kill()
	}
	t.workers.Wait()
}

// condemn notes why a terminal is about to be killed, and reports whether there
// is something to kill.
func (t *terminal) condemn(reason string) (alive bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.killed:
	default:
		close(t.killed)
		if t.exit == nil {
			t.reason = reason
		}
	}
	t.changed.Broadcast() // nobody holds the program back any more
	return t.exit == nil
}

// readProgram moves the program's output into the ring.
func (t *terminal) readProgram() {
	buf := make([]byte, readChunk)
	for {
		t.awaitViewers()
		n, err := t.process.master.Read(buf)
		t.printed(buf[:n])
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.drain(buf)
			}
			return
		}
	}
}

// drain reads what the program printed just before it ended.
func (t *terminal) drain(buf []byte) {
	for total := 0; total < drainLimit; {
		t.awaitViewers()
		n := t.process.pending(buf)
		if n == 0 {
			return
		}
		t.printed(buf[:n])
		total += n
	}
}

func (t *terminal) printed(p []byte) {
	if err := t.recorder.Output(p); err != nil {
		return // what has to be recorded and isn't, nobody sees
	}
	t.mu.Lock()
	t.ring.write(p)
	t.printedMore()
	t.used = time.Now()
	t.mu.Unlock()
	t.changed.Broadcast()
}

// awaitViewers waits while every viewer that may type is a window behind. A
// terminal that is being killed waits for nobody.
func (t *terminal) awaitViewers() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.allBehind() {
		t.changed.Wait()
	}
}

func (t *terminal) allBehind() bool {
	select {
	case <-t.killed:
		return false
	default:
	}
	typing := false
	for _, v := range t.viewers {
		if v.right != Control {
			continue
		}
		if t.ring.end-v.acked < Window {
			return false
		}
		typing = true
	}
	return typing
}

// typeInput types the viewers' input, taking turns.
func (t *terminal) typeInput() {
	buf := make([]byte, typeChunk)
	for {
		t.mu.Lock()
		var from *inputQueue
		for from == nil && t.exit == nil {
			if from = t.nextInput(); from == nil {
				t.changed.Wait()
			}
		}
		if from == nil {
			t.mu.Unlock()
			return
		}
		n, typed := from.take(buf)
		t.mu.Unlock()

		if !t.recordInput || t.recorder.Input(buf[:n]) == nil {
			// This blocks while the program doesn't read, until its terminal is
			// closed. Errors mean that it has been: finish tells.
			_, _ = t.process.master.Write(buf[:n])
		}

		t.mu.Lock()
		from.taken += uint64(typed)
		t.used = time.Now()
		t.mu.Unlock()
		t.changed.Broadcast()
	}
}

// nextInput picks a queue with input in it and moves it to the end of the
// line. Queues that were left behind empty are dropped.
func (t *terminal) nextInput() *inputQueue {
	t.inputs = slices.DeleteFunc(t.inputs, func(q *inputQueue) bool { return q.left && len(q.bytes) == 0 })
	for i, q := range t.inputs {
		if len(q.bytes) > 0 {
			t.inputs = append(slices.Delete(t.inputs, i, i+1), q)
			return q
		}
	}
	return nil
}

// fit makes the terminal as large as the smallest typing viewer, or as the host
// has pinned it. It reports whether that changed anything.
func (t *terminal) fit() bool {
	size := t.pinned
	for _, v := range t.viewers {
		if v.right != Control || v.size.IsZero() || !t.pinned.IsZero() {
			continue
		}
		if size.IsZero() {
			size = v.size
		}
		size = Size{Cols: min(size.Cols, v.size.Cols), Rows: min(size.Rows, v.size.Rows)}
	}
	if size.IsZero() || size == t.size {
		return false
	}
	t.size = size
	t.sizeVersion++
	t.recorder.Resize(int(size.Cols), int(size.Rows))
	t.noteSize(size)
	t.applySize(size)
	return true
}

// applySize is called with mu held, so that sizes reach the kernel in order.
func (t *terminal) applySize(s Size) {
	if t.process == nil || t.exit != nil {
		return
	}
	if err := t.process.resize(s); err != nil {
		t.log.Debug("resize", "error", err)
	}
}

// requestRedraw asks for a redraw soon; several requests make one.
func (t *terminal) requestRedraw() {
	select {
	case t.redraw <- struct{}{}:
	default:
	}
}

// redrawOnRequest makes the program repaint: full-screen programs do when the
// size changes, so it changes for a moment.
func (t *terminal) redrawOnRequest() {
	pause := func(d time.Duration) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-t.gone:
			return false
		}
	}
	for {
		select {
		case <-t.redraw:
		case <-t.gone:
			return
		}
		t.mu.Lock()
		other := t.size
		if other.Rows > 1 {
			other.Rows--
		} else {
			other.Rows++
		}
		t.applySize(other)
		t.mu.Unlock()
		if !pause(redrawPause) {
			return
		}
		t.mu.Lock()
		t.applySize(t.size)
		t.mu.Unlock()
		if !pause(redrawEvery) {
			return
		}
	}
}

// attach adds a viewer and settles where its output begins. Who made the
// terminal, or resumes it, has a right to all queries from there on.
func (t *terminal) attach(v *viewer, made bool, resume *Resume) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	right, err := t.limited(v)
	if err != nil {
		return err
	}
	ofThisPeer := 0
	for _, w := range t.viewers {
		if w.peer.ID == v.peer.ID {
			ofThisPeer++
		}
	}
	if len(t.viewers) >= maxViewers || ofThisPeer >= maxOfOnePeer {
		return session.Errorf("terminal", session.Busy, "%s has too many viewers already", t.name)
	}
	switch {
	case resume == nil && v.screen && !made:
		v.next, v.wants = t.ring.end, true
	case resume == nil:
		v.next = t.ring.context(contextBytes)
	case resume.Offset > t.ring.end:
		return session.Errorf("terminal", session.Invalid, "offset %d is beyond the output's end", resume.Offset)
	default:
		v.next = resume.Offset
	}
	v.live = t.ring.end
	if made || resume != nil {
		v.live = v.next
	}
	v.acked = v.next
	v.setRight(right)
	v.welcomeRight = right
	v.typingVersion = t.typingVersion
	t.last++
	v.number = t.last
	t.viewers = append(t.viewers, v)
	t.inputs = append(t.inputs, &v.input)
	t.rosterVersion++
	resized := t.fit()
	// A newcomer to a running program needs a screen; one who made it, none.
	if !made && resume == nil && !resized && !v.screen {
		t.requestRedraw()
	}
	v.sizeVersion = t.sizeVersion // the welcome tells it
	v.welcomeSize = t.size
	t.changed.Broadcast()
	t.log.Info("viewer attached", "viewer", v.number, "peer", v.peer.ID.Short(), "right", right, "resumed", resume != nil)
	return nil
}

// detach removes a viewer. What it typed before it left still counts, unless
// its permission was revoked or the departed have left much behind already.
func (t *terminal) detach(v *viewer, revoked bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.viewers = slices.DeleteFunc(t.viewers, func(w *viewer) bool { return w == v })
	left := 0
	for _, q := range t.inputs {
		if q.left {
			left++
		}
	}
	v.input.left = true
	if revoked || left >= maxLeft {
		v.input.bytes, v.input.ours = nil, 0
	}
	t.rosterVersion++
	t.fit()
	t.changed.Broadcast()
	t.log.Info("viewer detached", "viewer", v.number, "peer", v.peer.ID.Short())
}

// ended reports whether the program has; its name is then free.
func (t *terminal) ended() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.exit != nil
}

// code is the program's exit code, or nil while it runs.
func (t *terminal) code() *int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.exit == nil {
		return nil
	}
	code := t.exit.Code
	return &code
}

// inputQueue is what one viewer has typed and the program has not taken yet.
// The terminal's mu guards it.
type inputQueue struct {
	bytes []byte
	ours  int // how many of the last bytes the viewer did not type
	taken uint64
	left  bool // the viewer has left
}

// take moves n bytes from the queue's front into buf, of which the viewer
// typed the first ones.
func (q *inputQueue) take(buf []byte) (n, typed int) {
	typed = min(len(buf), len(q.bytes)-q.ours)
	n = copy(buf, q.bytes)
	q.ours -= n - typed
	q.bytes = q.bytes[n:]
	if len(q.bytes) == 0 {
		q.bytes = nil
	}
	return n, typed
}

// drop forgets what has not been typed, as if it had been.
func (q *inputQueue) drop() {
	q.taken += uint64(len(q.bytes) - q.ours)
	q.bytes, q.ours = nil, 0
}

// extra adds a byte that we type on the viewer's behalf; it isn't counted as
// taken from the viewer.
func (q *inputQueue) extra(b byte) {
	q.bytes = append(q.bytes, b)
	q.ours++
}
