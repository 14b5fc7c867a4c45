//go:build linux || darwin

package terminal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"tandem/session"
	"tandem/session/sessiontest"
	vt "tandem/share/terminal/internal/screen"
)

// mirror is a viewer with a screen: an emulator that is fed what a person's
// terminal would be.
type mirror struct {
	*Client
	t    *testing.T
	done chan struct{}

	mu        sync.Mutex
	screen    *vt.Screen
	terminal  string
	wrote     []byte // to the screen since it was new
	offset    uint64
	snapshots int
	gaps      int
	history   []History
	exit      *Exit
	err       error
	frozen    bool // do not read on
	thawed    *sync.Cond
}

func mirrored(t *testing.T, guest session.Session, r Request) *mirror {
	t.Helper()
	r.Screen = true
	header, err := r.Header()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := guest.Open(t.Context(), header)
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{Client: NewClient(stream), t: t, done: make(chan struct{})}
	m.thawed = sync.NewCond(&m.mu)
	go m.run()
	t.Cleanup(func() {
		m.freeze(false)
		_ = m.Close()
		<-m.done
	})
	return m
}

func (m *mirror) freeze(on bool) {
	m.mu.Lock()
	m.frozen = on
	m.mu.Unlock()
	m.thawed.Broadcast()
}

func (m *mirror) run() {
	defer close(m.done)
	for {
		m.mu.Lock()
		for m.frozen {
			m.thawed.Wait()
		}
		m.mu.Unlock()
		event, err := m.Next()
		m.mu.Lock()
		m.take(event, err)
		m.mu.Unlock()
		if err != nil {
			return
		}
		_ = m.Ack(m.Offset())
	}
}

func (m *mirror) take(event Event, err error) {
	m.err = err
	var data []byte
	switch e := event.(type) {
	case Welcome:
		m.terminal, m.screen = e.Terminal, vt.New(int(e.Cols), int(e.Rows))
	case Size:
		m.screen.Resize(int(e.Cols), int(e.Rows))
	case Snapshot:
		if e.First {
			m.screen = vt.New(int(e.Cols), int(e.Rows))
			m.snapshots++
			m.wrote = nil
		}
		data = e.Data
	case Output:
		data = e.Data
	case Gap:
		m.gaps++
	case History:
		lines := make([]Line, len(e.Lines))
		for i, l := range e.Lines {
			lines[i] = Line{bytes.Clone(l.Text), l.Wrapped}
		}
		e.Lines = lines
		m.history = append(m.history, e)
	case Exit:
		m.exit = &e
	}
	m.offset = m.Offset()
	if len(data) == 0 {
		return
	}
	m.wrote = append(m.wrote, data...)
	if _, err := m.screen.Write(data); err != nil {
		m.t.Error(err)
	}
}

// until waits for a condition; mu is held while it is tried.
func (m *mirror) until(what string, ok func() bool) {
	m.t.Helper()
	eventually(m.t, what, func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !ok() && m.err != nil {
			m.t.Fatalf("never: %s; error %v", what, m.err)
		}
		return ok()
	})
}

// shows waits for text on the screen.
func (m *mirror) shows(text string) {
	m.t.Helper()
	m.until(fmt.Sprintf("%q on the screen", text), func() bool {
		return m.screen != nil && strings.Contains(string(m.screen.Snapshot(MaxSnapshot)), text)
	})
}

func (m *mirror) picture() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(m.screen.Snapshot(MaxSnapshot))
}

// look is picture without what can't be told in a snapshot.
func (m *mirror) look() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return string(look(m.screen))
}

// look is what a screen shows, but for which rows are one line: that is not to
// be told of lines that have been drawn over.
func look(s *vt.Screen) []byte {
	snapshot := s.Snapshot(MaxSnapshot)
	cols, rows := s.Size()
	unjoined := vt.New(cols, rows)
	// The cursors are seen by what they write.
	_, _ = unjoined.Write(append(snapshot, "\x18<\x1b8>"...))
	var shown []byte
	_, first, end := unjoined.Rows()
	for n := first; n < end; n++ {
		cells, _ := unjoined.AppendRow(nil, n)
		shown = fmt.Appendf(shown, "%v\n", cells)
	}
	// The other screen, and what else there is. Line feeds take lines apart.
	_, _ = unjoined.Write([]byte("\x1b[?1049l\x1b[?47l\x1b[?6l\x1b[r"))
	for y := range rows - 1 {
		_, _ = unjoined.Write(fmt.Appendf(nil, "\x1b[%dH\n", y+1))
	}
	return append(shown, unjoined.Snapshot(MaxSnapshot)...)
}

// scribble makes output that draws all over a screen.
func scribble(r *rand.Rand, pieces int) []byte {
	var b []byte
	n := func() int { return r.IntN(30) }
	alternate := false
	for range pieces {
		switch r.IntN(9) {
		case 0, 1, 2:
			b = fmt.Appendf(b, "%*c", 1+n(), 'a'+rune(r.IntN(26)))
		case 3:
			b = fmt.Appendf(b, "\x1b[%d;%dH", n(), 3*n())
		case 4:
			b = fmt.Appendf(b, "\x1b[%d;3%d;4%dm", n()%10, n()%8, n()%8)
		case 5:
			b = fmt.Appendf(b, "\x1b[%d%c", n()%5, "ABCDJKPXST@"[r.IntN(11)])
		case 6:
			b = append(b, []string{"世界", "e\u0301", "👍", "\r\n", "\n", "\t", "\x1b(0lqk\x1b(B", "\r\x1b7", "\x1b8", "\x1bM", "\x1b[r\x1b[5H\x1b[2L", "\x1b[r\x1b[7H\x1b[3M"}[r.IntN(12)]...)
		case 7:
			b = fmt.Appendf(b, "\x1b[%d;%dr", n()%10, 10+n()%10)
		case 8:
			mode, set := []int{1, 7, 25, 1000, 1006, 1049, 2004}[r.IntN(7)], r.IntN(2) == 0
			if mode == 1049 {
				set = !alternate // terminals differ in what it does twice
				alternate = set
			}
			b = fmt.Appendf(b, "\r\x1b[?%d%c", mode, map[bool]byte{true: 'h', false: 'l'}[set])
		}
	}
	return b
}

func TestLateViewersSeeTheSameScreen(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 3 {
		dir := t.TempDir()
		// In pieces, so that viewers come in between.
		const pieces = 10
		for i := range pieces {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), scribble(random, 200), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, guest := share(t, Config{Dir: dir, Argv: []string{"/bin/sh", "-c", "stty raw -echo; for i in 0 1 2 3 4 5 6 7 8 9; do cat $i; head -c 1 >/dev/null; done"}})
		viewers := []*mirror{mirrored(t, guest, Request{Params: Params{Size: size80}})}
		early := viewers[0]
		early.until("the welcome", func() bool { return early.screen != nil })
		for range pieces {
			late := mirrored(t, guest, Request{Right: View})
			late.until("a snapshot", func() bool { return late.snapshots == 1 })
			viewers = append(viewers, late)
			if err := early.Input([]byte{'x'}); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range viewers {
			v.until("the end", func() bool { return v.exit != nil })
			if got, want := v.look(), early.look(); got != want {
				t.Errorf("round %d: viewer %d sees\n%q\nthe first one\n%q", round, i, got, want)
			}
		}
	}
}

func TestSnapshotAfterAGap(t *testing.T) {
	s, guest := share(t, Config{RingSize: minRing})
	fast := mirrored(t, guest, Request{Params: Params{Size: size80}})
	fast.shows("$ ")
	slow := mirrored(t, guest, Request{Right: View})
	slow.shows("$ ")
	slow.freeze(true)
	if err := fast.Input([]byte("seq 300000; echo do''ne\n")); err != nil {
		t.Fatal(err)
	}
	fast.shows("done")
	if used := s.Terminals()[0].Output; used < 1<<20 {
		t.Fatalf("the program printed only %d bytes", used)
	}
	slow.freeze(false)
	slow.shows("done")
	slow.until("a gap and a snapshot", func() bool { return slow.gaps > 0 && slow.snapshots > 1 })
	if got, want := slow.picture(), fast.picture(); got != want {
		t.Errorf("the slow one sees\n%q\nthe fast one\n%q", got, want)
	}
}

func TestSnapshotAfterResumingPastTheRing(t *testing.T) {
	// In pieces, so that the host can follow with so small a ring.
	s, guest := share(t, Config{RingSize: minRing, Argv: []string{
		"/bin/sh", "-c", "printf '\\033[?1049h\\033[5;5Hbefore'; for i in 1 2 3 4 5; do head -c 30000 /dev/zero; read x; done; printf '\\033[7;7Hafter'; read x",
	}})
	first := mirrored(t, guest, Request{Params: Params{Size: size80}})
	first.until("the welcome", func() bool { return first.screen != nil })
	term := s.terminals[0]
	for i := range uint64(5) {
		eventually(t, "the host has followed", func() bool {
			term.mu.Lock()
			defer term.mu.Unlock()
			return term.followed > (i+1)*30000 && term.followed == term.ring.end
		})
		if err := first.Input([]byte("\n")); err != nil {
			t.Fatal(err)
		}
	}
	first.shows("after")
	late := mirrored(t, guest, Request{Params: Params{Size: size80, Resume: &Resume{first.terminal, 10}}})
	late.shows("after")
	if got, want := late.picture(), first.picture(); got != want || late.gaps != 1 {
		t.Errorf("after %d gaps\n%q\nwant\n%q", late.gaps, got, want)
	}
}

func TestHistory(t *testing.T) {
	_, guest := share(t, Config{Argv: []string{"/bin/sh", "-c", "printf '\\033[31m'; seq 1 4000; printf 'end'; read x"}})
	first := mirrored(t, guest, Request{Params: Params{Size: size80}})
	first.shows("end")
	const missing = 4000 - 23 // the rest is on the screen
	line := func(n uint64) string { return fmt.Sprintf("\x1b[0;31m%d\x1b[0m", n+1) }

	late := mirrored(t, guest, Request{Right: View, Params: Params{History: 2500}})
	late.shows("end")
	var got []Line
	for _, h := range late.history {
		if h.Start != 0 || h.End != missing || h.First != missing-2500+uint64(len(got)) {
			t.Errorf("history from %d of %d to %d", h.First, h.Start, h.End)
		}
		got = append(got, h.Lines...)
	}
	if len(got) != 2500 {
		t.Fatalf("%d lines came with the snapshot, want 2500", len(got))
	}
	for i, l := range got {
		if want := line(missing - 2500 + uint64(i)); string(l.Text) != want || l.Wrapped {
			t.Fatalf("line %d is %q, want %q", i, l.Text, want)
		}
	}

	before := ^uint64(0)
	for want := uint64(missing); want > 0; {
		seen := len(late.history)
		if err := late.Page(before, 1000); err != nil {
			t.Fatal(err)
		}
		late.until("a page", func() bool { return len(late.history) > seen })
		h := late.history[seen]
		if len(h.Lines) == 0 || h.First+uint64(len(h.Lines)) != want {
			t.Fatalf("%d lines from %d, want those before %d", len(h.Lines), h.First, want)
		}
		for i, l := range h.Lines {
			if want := line(h.First + uint64(i)); string(l.Text) != want {
				t.Fatalf("line %d is %q, want %q", i, l.Text, want)
			}
		}
		want, before = h.First, h.First
	}
	seen := len(late.history)
	if err := late.Page(0, 1); err != nil {
		t.Fatal(err)
	}
	late.until("an empty page", func() bool { return len(late.history) > seen && len(late.history[seen].Lines) == 0 })
}

func TestRedrawForAWatcherIsASnapshot(t *testing.T) {
	_, guest := share(t, Config{})
	first := mirrored(t, guest, Request{Params: Params{Size: size80}})
	first.shows("$ ")
	watcher := mirrored(t, guest, Request{Right: View})
	watcher.until("the screen", func() bool { return watcher.snapshots == 1 })
	if err := watcher.Redraw(); err != nil {
		t.Fatal(err)
	}
	watcher.until("it again", func() bool { return watcher.snapshots == 2 })
	if got, want := watcher.picture(), first.picture(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A screen that can't be followed, because output came too fast, is drawn again
// by the program.
func TestScreenTooFastToFollow(t *testing.T) {
	s, guest := share(t, Config{RingSize: 2 * Window, Argv: []string{
		"/bin/bash", "--norc", "-c", "trap 'echo redrawn $(stty size)' WINCH; read -t 1000 x; seq 200000; echo end; while :; do read -t 1000 x; done",
	}})
	first := attach(t, guest, Request{Params: Params{Size: size80}})
	first.until("the welcome", func() bool { return first.welcome.Made })
	follower := &s.terminals[0].follower
	follower.mu.Lock()
	unlock := sync.OnceFunc(follower.mu.Unlock)
	t.Cleanup(unlock)
	first.types("\n")
	first.sees("end")
	unlock()
	first.sees("redrawn 2")
	late := mirrored(t, guest, Request{Right: View})
	late.shows("redrawn 2")
	late.shows("99999")
}

// A viewer that asks for the screen but doesn't take it must not keep the host
// from following.
func TestFollowingWaitsForNobody(t *testing.T) {
	term := newTerminal("x", "x", session.PeerID{}, size80, minRing, New(Config{}).log)
	stuck := &viewer{terminal: term, granted: View, screen: true, peer: sessiontest.Peer("a")}
	if err := term.attach(stuck, false, nil); err != nil || !stuck.wants {
		t.Fatal(err, stuck.wants)
	}
	term.printed([]byte("some output"))
	if got := term.followLimit(); got != 0 {
		t.Errorf("followed up to %d while a viewer wants the screen at 0", got)
	}
	term.printed(make([]byte, minRing/2))
	if got := term.followLimit(); got != term.ring.end {
		t.Errorf("followed up to %d because of a viewer that is stuck, want %d", got, term.ring.end)
	}
	frames, at := term.picture(stuck.next, 0)
	if len(frames) == 0 || at != stuck.next {
		t.Errorf("%d frames at %d", len(frames), at)
	}
}

func TestSnapshotsMustBeWhole(t *testing.T) {
	welcome := Welcome{Terminal: strings.Repeat("00", 16), Right: View, Offset: 10, Live: 10, Size: size80}
	first := Snapshot{Offset: 10, Size: size80, First: true, Left: 2, Data: []byte("abc")}
	second := Snapshot{Offset: 10, Size: size80, Data: []byte("de")}
	for name, c := range map[string]struct {
		frames []message
		kind   session.Kind
	}{
		"whole":                {[]message{first, second, Output{10, []byte("x")}}, ""},
		"later":                {[]message{Snapshot{Offset: 15, Size: size80, First: true}, Output{15, []byte("x")}}, ""},
		"in the past":          {[]message{Snapshot{Offset: 9, Size: size80, First: true}}, session.Integrity},
		"without a first":      {[]message{second}, session.Integrity},
		"interrupted":          {[]message{first, Output{10, []byte("x")}}, session.Integrity},
		"interrupted by a gap": {[]message{first, Gap{10, 12}}, session.Integrity},
		"a piece too much":     {[]message{first, second, second}, session.Integrity},
		"two at once":          {[]message{first, first}, session.Integrity},
		"a piece too long":     {[]message{first, Snapshot{Offset: 10, Size: size80, Data: []byte("def")}}, session.Integrity},
		"another offset":       {[]message{first, Snapshot{Offset: 11, Size: size80, Data: []byte("de")}}, session.Integrity},
		"another size":         {[]message{first, Snapshot{Offset: 10, Size: Size{1, 1}, Data: []byte("de")}}, session.Integrity},
	} {
		raw := appendFrame(nil, welcome)
		for _, m := range c.frames {
			raw = appendFrame(raw, m)
		}
		client := NewClient(replayed{r: bytes.NewReader(raw)})
		var err error
		for err == nil {
			_, err = client.Next()
		}
		if c.kind == "" && !errors.Is(err, io.EOF) || c.kind != "" && session.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a viewer lets through of a snapshot and what follows is what it would
// have let through of the whole.
func TestFilterPassesSnapshots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		output := scribble(random, rapid.IntRange(1, 60).Draw(t, "pieces"))
		at := rapid.IntRange(0, len(output)).Draw(t, "at")
		host := vt.New(80, 24)
		_, _ = host.Write(output[:at])
		snapshot := host.Snapshot(MaxSnapshot)

		early, late := vt.New(80, 24), vt.New(80, 24)
		var earlyFilter, lateFilter Filter
		_, _ = early.Write(earlyFilter.Append(nil, output[:at]))
		_, _ = late.Write(lateFilter.Append(nil, snapshot))
		_, _ = early.Write(earlyFilter.Append(nil, output[at:]))
		_, _ = late.Write(lateFilter.Append(nil, output[at:]))
		if got, want := look(late), look(early); !bytes.Equal(got, want) {
			t.Fatalf("after %q and %q\n%q\nwant\n%q", output[:at], output[at:], got, want)
		}
	})
}

// replayed is a stream from which frames can be read.
type replayed struct {
	session.Stream
	r io.Reader
}

func (s replayed) Read(p []byte) (int, error) { return s.r.Read(p) }
