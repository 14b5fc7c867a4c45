package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"tandem/session"
	"tandem/share/folder"
)

// transfer shows the progress of copies to a person, or their results to a
// script. Several may run at once.
type transfer struct {
	io   stdio
	json bool

	mu     sync.Mutex
	copies []folder.Progress
	shown  bool // a progress line is on the screen
	asking bool // a question is on the screen instead
	last   time.Time
	meter  meter
	// current is the path of what is copied.
	current string

	over    chan struct{} // closed when nothing is shown any more
	ticking sync.WaitGroup
}

// newTransfer shows nothing yet. Close it.
func newTransfer(io stdio, f *flags) *transfer {
	t := &transfer{io: io, json: f.json, over: make(chan struct{})}
	if file, ok := io.err.(*os.File); ok && !f.json && isTerminal(file) {
		t.ticking.Go(t.tick)
	}
	return t
}

// tick redraws the line of progress while nothing moves, too.
func (t *transfer) tick() {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-t.over:
			return
		case <-ticker.C:
			t.mu.Lock()
			if t.shown {
				t.redraw()
			}
			t.mu.Unlock()
		}
	}
}

// close removes the line of progress for good.
func (t *transfer) close() {
	close(t.over)
	t.ticking.Wait()
	t.clear()
}

// copy is what one more copy reports its progress to.
func (t *transfer) copy() func(folder.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := len(t.copies)
	t.copies = append(t.copies, folder.Progress{})
	return func(p folder.Progress) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.copies[i], t.current = p, p.Current
		t.redraw()
	}
}

// redraw redraws one line, on terminals only.
func (t *transfer) redraw() {
	file, ok := t.io.err.(*os.File)
	if t.json || t.asking || !ok || !isTerminal(file) {
		return
	}
	var p folder.Progress
	for _, c := range t.copies {
		p.Files += c.Files
		p.FilesDone += c.FilesDone
		p.Bytes += c.Bytes
		p.BytesDone += c.BytesDone
		p.Wire += c.Wire
	}
	now := time.Now()
	t.meter.note(now, p.BytesDone)
	if now.Sub(t.last) < 100*time.Millisecond {
		return
	}
	t.last, t.shown = now, true
	line := fmt.Sprintf("%s of %s", byteCount(uint64(p.BytesDone)), byteCount(uint64(p.Bytes)))
	if p.Files > 1 {
		line = fmt.Sprintf("%d/%d files  ", p.FilesDone, p.Files) + line
	}
	if rate := t.meter.say(now, p.Bytes-p.BytesDone); rate != "" {
		line += "  " + rate
	}
	if saved := p.BytesDone - p.Wire; saved > p.BytesDone/10 && saved > 1e6 {
		line += fmt.Sprintf("  %s saved", byteCount(uint64(saved)))
	}
	line += "  " + session.Printable(path.Base(t.current))
	if cols, _, err := term.GetSize(int(file.Fd())); err == nil {
		line = ansi.Truncate(line, cols-1, "…") // a line that wraps can't be redrawn
	}
	fmt.Fprintf(t.io.err, "\r\x1b[K%s", line)
}

// clear removes the line of progress.
func (t *transfer) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
}

func (t *transfer) erase() {
	if t.shown {
		fmt.Fprint(t.io.err, "\r\x1b[K")
		t.shown = false
	}
}

// pause keeps the line of progress away while a question is asked.
func (t *transfer) pause(asking bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asking = asking
	t.erase()
}

// tell says something about the copy to or from peer.
func (t *transfer) tell(peer, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		return
	}
	if peer != "" {
		peer += ": "
	}
	t.erase()
	fmt.Fprintf(t.io.err, "%s%s\n", peer, text)
}

// plan says what would be done about a file.
func (t *transfer) plan(peer string, s folder.Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.json {
		_ = json.NewEncoder(t.io.out).Encode(struct { // the end of the plan tells of a closed pipe
			Event string `json:"event"`
			Peer  string `json:"peer,omitempty"`
			folder.Step
		}{"plan", peer, s})
		return
	}
	if peer != "" {
		peer += ": "
	}
	fmt.Fprintf(t.io.out, "%s%-9s  %s  (%s)\n", peer, s.Action, session.Printable(s.Path), byteCount(uint64(s.Size)))
}

// finish reports what was copied since begun, to or from peer where there are
// several, and passes err on.
func (t *transfer) finish(peer string, dry bool, begun time.Time, s folder.Summary, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.erase()
	if t.json {
		line := struct {
			Event string `json:"event"`
			Peer  string `json:"peer,omitempty"`
			folder.Summary
			Error string `json:"error,omitempty"`
		}{"done", peer, s, ""}
		if err != nil {
			line.Error = err.Error()
		}
		if jsonErr := json.NewEncoder(t.io.out).Encode(line); jsonErr != nil {
			return jsonErr
		}
		return err
	}
	if peer != "" {
		peer += ": "
	}
	for i, failure := range s.Failures {
		if i == 10 {
			fmt.Fprintf(t.io.err, "%s… and %d more\n", peer, s.Failed-i)
			break
		}
		if len(s.Failures) > 1 {
			fmt.Fprintf(t.io.err, "%s%s: %s\n", peer, session.Printable(failure.Path), session.Printable(failure.Err.Error()))
		}
	}
	if s.Files+s.Same+s.Kept+s.Dirs > 0 {
		t.summarise(peer, dry, time.Since(begun), s)
	}
	err = advise(err, session.Canceled, "Run it again, and it goes on where it stopped.")
	return advise(err, session.Exists, "--overwrite always replaces it, --overwrite newer if it is older.")
}

func (t *transfer) summarise(peer string, dry bool, elapsed time.Duration, s folder.Summary) {
	if dry {
		fmt.Fprintf(t.io.err, "%s%s would be copied, %s", peer, counted(s.Files, "file"), byteCount(uint64(s.Bytes)))
	} else {
		fmt.Fprintf(t.io.err, "%s%s copied, %s in %s", peer, counted(s.Files, "file"), byteCount(uint64(s.Bytes)), elapsed.Round(10*time.Millisecond))
	}
	if s.Same > 0 {
		fmt.Fprintf(t.io.err, "; %d were there already", s.Same)
	}
	if s.Kept > 0 {
		fmt.Fprintf(t.io.err, "; %d stay as they are", s.Kept)
	}
	if s.Resumed > 0 {
		fmt.Fprintf(t.io.err, "; %s had arrived before", byteCount(uint64(s.Resumed)))
	}
	if saved := s.Bytes - s.Resumed - s.Wire; !dry && saved > s.Bytes/10 && saved > 100e3 {
		fmt.Fprintf(t.io.err, "; %s travelled", byteCount(uint64(s.Wire)))
	}
	if s.Skipped > 0 {
		fmt.Fprintf(t.io.err, "; %s skipped", counted(s.Skipped, "link or special file"))
	}
	fmt.Fprintln(t.io.err)
}
