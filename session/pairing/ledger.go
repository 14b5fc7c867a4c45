package pairing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"tandem/session"
	"tandem/session/durable"
)

const (
	ledgerSuffix = ".invite"
	lineAttempt  = "attempt"
	lineUse      = "use"
	lineDead     = "dead"
	// maxRecord is room for the longest record: every attempt and every use.
	maxRecord = 1<<10 + 2*maxAttempts*64
	// keepRecords is how long Sweep keeps a record that can't be used any more.
	keepRecords = 30 * 24 * time.Hour
)

// Ledger counts attempts and uses of invites in a directory, so that a crash
// or a second process can't give any of them back. Its methods may be called
// at the same time.
type Ledger struct{ dir string }

// OpenLedger uses dir, which it makes if it is not there. The directory should
// belong to the user alone.
func OpenLedger(dir string) (*Ledger, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, ledgerError(err)
	}
	return &Ledger{dir: dir}, nil
}

// allowance is the first line of a record.
type allowance struct {
	Attempts int       `json:"attempts"`
	Uses     int       `json:"uses"`
	Made     time.Time `json:"made"`
	Expires  time.Time `json:"expires"`
}

// Create makes an invite valid, once.
func (l *Ledger) Create(i *Invite) error {
	line, err := json.Marshal(allowance{
		Attempts: i.attempts, Uses: i.uses,
		Made: i.made.UTC().Round(0), Expires: i.Expires().UTC().Round(0),
	})
	if err != nil {
		return ledgerError(err)
	}
	f, err := os.OpenFile(l.path(i.id), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return ledgerError(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = durable.SyncDir(l.dir)
	}
	if err != nil {
		_ = os.Remove(l.path(i.id))
	}
	return ledgerError(err)
}

// SpendAttempt takes one attempt away and says how many are left. Only when it
// has returned without an error may an answer leave. The error's kind is
// NotFound if the invite is not here, Denied if no attempt is left, Expired if
// its time is over.
func (l *Ledger) SpendAttempt(id InviteID, now time.Time) (left int, err error) {
	err = l.take(id, now, func(r *record) (string, error) {
		if r.attempts <= 0 || r.uses <= 0 {
			return "", errSpent()
		}
		left = r.attempts - 1
		return lineAttempt, nil
	})
	return left, err
}

// SpendUse takes one success away. Errors are as for SpendAttempt.
func (l *Ledger) SpendUse(id InviteID, now time.Time) error {
	return l.take(id, now, func(r *record) (string, error) {
		if r.uses <= 0 {
			return "", errSpent()
		}
		return lineUse, nil
	})
}

// Kill ends an invite for good.
func (l *Ledger) Kill(id InviteID, now time.Time) error {
	err := l.take(id, now, func(*record) (string, error) { return lineDead, nil })
	switch session.KindOf(err) {
	case session.NotFound, session.Expired, session.Denied:
		return nil // it is dead already
	}
	return err
}

// Sweep removes the records of invites whose time was over a month ago. They
// stay dead: what has no record is refused.
func (l *Ledger) Sweep(now time.Time) error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return ledgerError(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(e.Name(), ledgerSuffix) {
			continue
		}
		path := filepath.Join(l.dir, e.Name())
		data, err := os.ReadFile(path)
		if err != nil {
			return ledgerError(err)
		}
		r := parseRecord(data)
		if last := later(r.Expires, r.latest); now.Sub(last) > keepRecords && now.Sub(info.ModTime()) > keepRecords {
			if err := os.Remove(path); err != nil {
				return ledgerError(err)
			}
		}
	}
	return nil
}

// record is a parsed file: what is left, and the latest time in it.
type record struct {
	allowance
	attempts, uses int
	dead           bool
	latest         time.Time
}

// parseRecord never fails: what it can't read is dead.
func parseRecord(data []byte) *record {
	r := &record{dead: true}
	first, rest, ended := bytes.Cut(data, []byte("\n"))
	if !ended || json.Unmarshal(first, &r.allowance) != nil {
		return r
	}
	r.attempts, r.uses, r.latest, r.dead = r.Attempts, r.Uses, r.Made, false
	for len(rest) > 0 {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		what, stamp, _ := strings.Cut(string(line), " ")
		when, err := time.Parse(time.RFC3339Nano, stamp)
		switch {
		case !ended || err != nil:
			r.dead = true
		case what == lineAttempt:
			r.attempts--
		case what == lineUse:
			r.uses--
		default:
			r.dead = true
		}
		r.latest = later(r.latest, when)
	}
	return r
}

// take appends the line that what decides on, under the file's lock, and
// returns once it is on the disk.
func (l *Ledger) take(id InviteID, now time.Time, what func(*record) (string, error)) (err error) {
	f, err := lockedfile.OpenFile(l.path(id), os.O_RDWR, 0)
	if err != nil {
		return ledgerError(err)
	}
	defer func() { err = errors.Join(err, ledgerError(f.Close())) }()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return ledgerError(err)
	}
	r := parseRecord(data)
	if r.dead || len(data) > maxRecord {
		return errSpent()
	}
	now = later(now.UTC().Round(0), r.latest)
	if !now.Before(r.Expires) {
		// Written down, so that setting the clock back does not revive it.
		return errors.Join(errExpired(), l.write(f, len(data), lineDead, now))
	}
	line, err := what(r)
	if err != nil {
		return err
	}
	return l.write(f, len(data), line, now)
}

func (l *Ledger) write(f *lockedfile.File, size int, what string, now time.Time) error {
	line := what + " " + now.Format(time.RFC3339Nano) + "\n"
	if _, err := f.WriteAt([]byte(line), int64(size)); err != nil {
		// Without this, the beginning of a line would kill the invite, which is
		// the safe side to err on.
		return ledgerError(errors.Join(err, f.Truncate(int64(size))))
	}
	return ledgerError(f.Sync())
}

func (l *Ledger) path(id InviteID) string { return filepath.Join(l.dir, id.String()+ledgerSuffix) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func errSpent() error {
	return &session.Error{Op: opInvite, Kind: session.Denied, Text: "the invite has been used up", Hint: hintNew}
}

func errExpired() error {
	return &session.Error{Op: opInvite, Kind: session.Expired, Text: "the invite has expired", Hint: hintNew}
}

// ledgerError puts a failed file operation into words; nil stays nil.
func ledgerError(err error) error {
	e := &session.Error{
		Op: opInvite, Kind: session.Internal, Err: err,
		Text: "attempts at invites can't be counted", Hint: "invites stay closed until tandem's state can be written",
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		e.Kind, e.Text, e.Hint = session.NotFound, "there is no such invite", hintNew
	case errors.Is(err, fs.ErrExist):
		e.Kind, e.Text, e.Hint = session.Exists, "the invite is there already", ""
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		e.Kind = session.NoSpace
	}
	return e
}
