package terminal

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"tandem/session"
	"tandem/share/terminal/internal/cast"
)

// Recording says where recordings go, and how much they matter. They are
// asciicast files of version 2, which `tandem replay` and asciinema play.
type Recording struct {
	// Path is never empty. It is a folder that takes a new file for each terminal, or else a file.
	// Nothing is replaced: if there is one of that name, the next gets a number.
	Path string
	// Input records what is typed as well, passwords included.
	Input bool
	// Required shows nobody what isn't in the recording: a terminal whose
	// recording can't be written is not made, or ends.
	Required bool
	// Failed is told that a recording has ended, or has not begun, because it
	// can't be written. It may be nil.
	Failed func(path string, err error)
}

// maxRecordings is how many files of one name are tried.
const maxRecordings = 10_000

// begin makes a recording of a terminal in a file of its own and returns its
// name. failed may be nil.
func (r *Recording) begin(name string, size Size, env map[string]string, failed func(error)) (*cast.Recorder, string, error) {
	first, err := r.first(name, time.Now())
	if err != nil {
		return nil, first, err
	}
	if size.IsZero() {
		size = Size{Cols: 80, Rows: 24}
	}
	header := cast.Header{Cols: int(size.Cols), Rows: int(size.Rows), Title: name, Env: env}
	ext := filepath.Ext(first)
	path := first
	for n := 2; ; n++ {
		recorder, err := cast.Create(path, header, cast.Options{Required: r.Required, Failed: failed})
		if session.KindOf(err) != session.Exists || n > maxRecordings {
			return recorder, path, err
		}
		path = strings.TrimSuffix(first, ext) + "-" + strconv.Itoa(n) + ext
	}
}

// first is the name of a recording if nothing has it. A folder that is not there
// is made if the path ends like one.
func (r *Recording) first(name string, now time.Time) (string, error) {
	info, err := os.Stat(r.Path)
	if !os.IsPathSeparator(r.Path[len(r.Path)-1]) && (err != nil || !info.IsDir()) {
		return r.Path, nil
	}
	if err := os.MkdirAll(r.Path, 0o700); err != nil {
		return r.Path, &session.Error{
			Op: "record", Kind: session.Internal, Err: err, Text: "the folder for recordings can't be made",
			Hint: "Name another place for recordings.",
		}
	}
	// The name may be a peer's idea.
	plain := strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-' || c == '_' {
			return c
		}
		return '-'
	}, name)
	return filepath.Join(r.Path, now.Format("2006-01-02-150405")+"-"+plain+".cast"), nil
}

// beginRecording fails if a recording is required and can't be made.
func (t *terminal) beginRecording(r *Recording, env []string) error {
	if r == nil {
		return nil
	}
	known := map[string]string{}
	for _, v := range env {
		if name, value, _ := strings.Cut(v, "="); name == "TERM" || name == "SHELL" {
			known[name] = value
		}
	}
	var err error
	t.recorder, t.recording, err = r.begin(t.name, t.size, known, func(err error) { t.recordingFailed(r, err) })
	switch {
	case err == nil:
		t.recorded, t.recordInput = true, r.Input
		t.log.Info("recording", "file", t.recording, "input", r.Input)
	case r.Required:
		return &session.Error{
			Op: "record terminal", Kind: session.KindOf(err), Err: err, Hint: session.Hint(err),
			Text: "this terminal has to be recorded, and its recording can't be written",
		}
	default:
		t.log.Warn("not recorded", "file", t.recording, "error", err)
		if r.Failed != nil {
			r.Failed(t.recording, err)
		}
		t.recording = ""
	}
	return nil
}

// recordingFailed ends a terminal that has to be recorded, and tells everybody
// that another isn't any more.
func (t *terminal) recordingFailed(r *Recording, err error) {
	t.log.Warn("the recording has ended", "file", t.recording, "error", err)
	t.mu.Lock()
	t.recorded = false
	t.rosterVersion++
	t.mu.Unlock()
	t.changed.Broadcast()
	if r.Failed != nil {
		r.Failed(t.recording, err)
	}
	if r.Required && t.condemn("it has to be recorded, and its recording can't be written any more") && t.process != nil {
		t.workers.Go(t.process.kill) // while the recorder fails, a worker waits for it
	}
}

// endRecording is called when nothing more will be printed.
func (t *terminal) endRecording() {
	if err := t.recorder.Close(); err != nil {
		t.log.Warn("recording", "file", t.recording, "error", err)
	}
}
