package folder

import (
	"context"
	"time"

	"tandem/session"
)

// Options are how files are copied.
type Options struct {
	// Force replaces files that are there with other content.
	Force bool
	// Decide, if set and Force is not, is asked what to do about each such
	// file. Without it they count as failures of the kind Exists. Its error
	// ends the copy. It is never called concurrently.
	Decide func(context.Context, Conflict) (Decision, error)
	// Compare compares the content of files that have the same size and time,
	// which otherwise count as the same unless the time is less than 2 s ago.
	Compare bool
	// Plan, if set, is told what would be done about each file, and nothing
	// is. It is never called concurrently.
	Plan func(Step)
	// Executables lets files from the peer be executable here.
	Executables bool
	// Exclusive makes Write fail with Exists if anything is there.
	Exclusive bool
	// Exec makes what Write writes executable, as far as the share allows.
	Exec bool
	// Asking, if set, is told that the peer's owner is asked whether to accept
	// what is put, which may take a while.
	Asking func()
	// Progress, if set, is told now and then how far things are, and at the
	// end. It is never called concurrently.
	Progress func(Progress)
}

// Conflict is a file that a copy would replace by one with other content.
type Conflict struct {
	Path       string // in the copied tree; a single file's is its name
	There, New Entry
}

// Decision is what becomes of a Conflict.
type Decision int

// The decisions.
const (
	Refuse  Decision = iota // the file counts as a failure
	Keep                    // it stays
	Replace                 // it is replaced
)

// Step is what a copy would do about one file.
type Step struct {
	Path   string `json:"path"`
	Action Action `json:"action"`
	Size   int64  `json:"size"`
}

// Action is what would be done.
type Action string

// The actions.
const (
	Copy      Action = "copy"
	Overwrite Action = "overwrite"
	Leave     Action = "leave" // it is there already, or stays as decided
)

// decide is what becomes of a conflict.
func (o Options) decide(ctx context.Context, c Conflict) (Decision, error) {
	switch {
	case o.Force:
		return Replace, nil
	case o.Decide != nil:
		return o.Decide(ctx, c)
	}
	return Refuse, nil
}

// settled is the age from which a file's time tells its versions apart: within
// one tick of the clock it may be written twice.
const settled = 2 * time.Second

// equal reports whether a file need not even be looked at.
func (o Options) equal(a, b Entry) bool {
	return !o.Compare && !a.Dir && !b.Dir && a.Size == b.Size && a.MTime == b.MTime && time.Since(a.ModTime()) > settled
}

// plan tells what would be done about a file, if that is all that is wanted.
func (o Options) plan(t *tally, path string, a Action, size int64) bool {
	if o.Plan == nil {
		return false
	}
	t.update(func() { o.Plan(Step{Path: path, Action: a, Size: size}) })
	return true
}

func otherContent(op, path string) error {
	return session.Errorf(op, session.Exists, "%s is there already with other content", session.Printable(path))
}
