package audit

import (
	"errors"
	"fmt"
	"io"
	"time"

	"tandem/session"
)

// maxFindings is how many findings of a sort are listed.
const maxFindings = 100

// Report is what Verify has found.
type Report struct {
	Entries uint64    `json:"entries"`
	Files   int       `json:"files"`
	First   time.Time `json:"first,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	// Head is the newest entry. Kept somewhere else, it proves later that the log
	// still contains everything up to it.
	Head Anchor `json:"head"`
	// Problems are what nobody can have done by accident, or what is missing.
	Problems []string `json:"problems,omitempty"`
	// Notes are what can happen, such as what a power failure has left.
	Notes []string `json:"notes,omitempty"`
}

// Verify reads a whole log and finds out whether it is as it was written. The
// error is about reading; what is wrong with the log is in the report.
func Verify(dir string) (Report, error) { return VerifyFrom(dir, Anchor{}) }

// VerifyFrom is Verify for somebody who knows an earlier head of the log.
func VerifyFrom(dir string, known Anchor) (Report, error) {
	v := verifier{hashes: make(map[uint64]Hash)}
	// What is appended meanwhile comes after the anchor.
	anchor, err := readAnchor(dir)
	switch {
	case session.KindOf(err) == session.Integrity:
		v.problem("the anchor can't be read")
	case err != nil:
		return Report{}, err
	}
	for _, a := range []Anchor{anchor, known} {
		if a.Seq > 0 {
			v.hashes[a.Seq] = Hash{}
		}
	}
	r := NewReader(dir)
	defer func() { _ = r.Close() }() // it was only read
	for {
		line, err := r.next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case session.KindOf(err) == session.Integrity:
			v.problem("%s is not complete", r.place())
			v.sure = false
		case err != nil:
			return Report{}, err
		default:
			v.line(r, line)
		}
	}
	if len(r.part) > 0 {
		v.note("%d bytes after the last entry are no entry yet: it is being written, or a crash has cut it off", len(r.part))
	}
	v.Files = r.number
	v.check(anchor, "the anchor")
	v.check(known, "the head you gave")
	return v.Report, nil
}

// verifier follows the chain.
type verifier struct {
	Report
	begun  bool
	sure   bool            // Head is the entry before this line
	hashes map[uint64]Hash // of the entries to look for
}

func (v *verifier) problem(format string, args ...any) {
	v.Problems = appendFinding(v.Problems, fmt.Sprintf(format, args...))
}

func (v *verifier) note(format string, args ...any) {
	v.Notes = appendFinding(v.Notes, fmt.Sprintf(format, args...))
}

func appendFinding(findings []string, text string) []string {
	switch {
	case len(findings) < maxFindings:
		return append(findings, text)
	case len(findings) == maxFindings:
		return append(findings, "and more")
	}
	return findings
}

func (v *verifier) line(r *Reader, line []byte) {
	e, err := decode(line)
	hash := hashOf(line)
	switch {
	case err != nil:
		v.problem("%s is no entry", r.place())
		v.begun, v.sure = true, false
		return
	case !v.begun && (e.Seq != 1 || e.Prev != Hash{}):
		v.problem("the log begins with entry %d: what was before it is not here", e.Seq)
	case v.sure && e.Seq != v.Head.Seq+1:
		v.problem("%s: entry %d follows entry %d", r.place(), e.Seq, v.Head.Seq)
	case v.sure && e.Prev != v.Head.Hash:
		v.problem("%s: entry %d does not follow from entry %d: that one was changed, or this one", r.place(), e.Seq, v.Head.Seq)
	case v.sure && e.Time.Before(v.Last):
		v.note("entry %d: the clock was set back by %s", e.Seq, v.Last.Sub(e.Time).Round(time.Millisecond))
	}
	switch e.Outcome {
	case Repaired:
		v.note("entry %d: %s", e.Seq, session.Printable(e.Reason))
	case Lost:
		v.problem("entry %d: %s", e.Seq, session.Printable(e.Reason))
	}
	if !v.begun {
		v.First = e.Time
	}
	if _, wanted := v.hashes[e.Seq]; wanted {
		v.hashes[e.Seq] = hash
	}
	v.begun, v.sure = true, true
	v.Entries++
	v.Last, v.Head = e.Time, Anchor{e.Seq, hash}
}

// check looks for an entry that is known to have been there.
func (v *verifier) check(a Anchor, whose string) {
	switch found := v.hashes[a.Seq]; {
	case a.Seq == 0 || found == a.Hash:
	case found == Hash{}:
		v.problem("%s names entry %d, which is not here: the log was cut", whose, a.Seq)
	default:
		v.problem("%s names another entry %d than the one that is here", whose, a.Seq)
	}
}
