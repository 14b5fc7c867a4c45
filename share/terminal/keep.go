package terminal

import (
	"cmp"

	"tandem/share/terminal/internal/cast"
)

// keptRecording is a viewer's own recording of what it is shown. A nil one
// records nothing.
type keptRecording struct {
	Recording
	recorder *cast.Recorder
	size     Size
	failed   chan error // has the reason when the recording has ended early
}

// unrecordedError ends an attachment that has to be recorded.
type unrecordedError struct{ error }

func (e unrecordedError) Unwrap() error { return e.error }

// keepRecording begins a recording before anything is asked of the host.
func keepRecording(r *Recording, request Request, tty TTY) (*keptRecording, error) {
	if r == nil {
		return nil, nil
	}
	k := &keptRecording{Recording: *r, size: tty.Size(), failed: make(chan error, 1)}
	env := map[string]string{}
	if request.Term != "" {
		env["TERM"] = request.Term
	}
	var err error
	k.recorder, k.Path, err = r.begin(cmp.Or(request.Name, DefaultName), k.size, env, func(err error) { k.failed <- err })
	if err != nil {
		return nil, err
	}
	return k, nil
}

// output fails if the recording is required and can't be written.
func (k *keptRecording) output(p []byte) error {
	if k == nil {
		return nil
	}
	if err := k.recorder.Output(p); err != nil {
		return unrecordedError{err}
	}
	return nil
}

func (k *keptRecording) input(p []byte) error {
	if k == nil || !k.Input {
		return nil
	}
	return k.recorder.Input(p)
}

func (k *keptRecording) resize(s Size) {
	if k != nil && s != k.size {
		k.size = s
		k.recorder.Resize(int(s.Cols), int(s.Rows))
	}
}

func (k *keptRecording) mark(text string) {
	if k != nil {
		k.recorder.Mark(text)
	}
}

// failure is why the recording has ended early, once.
func (k *keptRecording) failure() error {
	if k == nil || k.Required {
		return nil
	}
	select {
	case err := <-k.failed:
		return err
	default:
		return nil
	}
}

// close ends the recording. What went wrong has been told.
func (k *keptRecording) close() {
	if k != nil {
		_ = k.recorder.Close()
	}
}

// recorded tells the person that the host records, or no longer does.
func (c *console) recorded(now bool) {
	switch {
	case now && !c.told:
		c.notice("the host records this terminal")
	case !now && c.told:
		c.notice("the host's recording has ended")
	}
	c.told = now
}
