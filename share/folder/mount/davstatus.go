package mount

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"time"

	"golang.org/x/net/webdav"

	"tandem/session"
)

// davError is err in the words of package fs, which package webdav knows only
// where nothing is wrapped around them. The request's verdict keeps what they
// don't say.
func davError(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	kind := session.KindOf(err)
	if v, ok := ctx.Value(verdictKey{}).(*verdict); ok {
		v.status = davStatus(kind)
		switch {
		case kind == session.NotFound && v.moving != "":
			v.status = http.StatusNotFound
		case kind == session.Invalid && (v.method == http.MethodGet || v.method == http.MethodHead || v.method == "PROPFIND"):
			v.status = 0 // nothing has such a name
		}
	}
	switch kind {
	case session.NotFound, session.Invalid:
		return fs.ErrNotExist
	case session.Exists:
		return fs.ErrExist
	case session.Denied, session.Revoked:
		return fs.ErrPermission
	}
	return err
}

// davStatus is the status for what package webdav, which answers "not found" or
// "method not allowed" to whatever fails, does not tell apart; 0 leaves it at
// that. RFC 4918, section 11.5, for a full disk.
func davStatus(kind session.Kind) int {
	switch kind {
	case session.Denied, session.Revoked, session.Invalid, session.Unsupported:
		return http.StatusForbidden
	case session.NoSpace, session.TooLarge:
		return http.StatusInsufficientStorage
	case session.Unavailable, session.Canceled:
		return http.StatusBadGateway
	case session.Timeout:
		return http.StatusGatewayTimeout
	}
	return 0
}

type verdictKey struct{}

// verdict is a ResponseWriter that answers with what went wrong last, where
// package webdav says that something did.
type verdict struct {
	http.ResponseWriter

	method string
	moving string // what a MOVE moves, in the tree

	status   int  // of what went wrong, or 0
	replaced bool // and was answered
}

// WriteHeader begins the answer.
func (v *verdict) WriteHeader(status int) {
	if status >= http.StatusBadRequest && v.status != 0 && status != http.StatusLocked && status != http.StatusPreconditionFailed {
		v.replaced = true
		http.Error(v.ResponseWriter, http.StatusText(v.status), v.status)
		return
	}
	v.ResponseWriter.WriteHeader(status)
}

func (v *verdict) Write(p []byte) (int, error) {
	if v.replaced {
		return len(p), nil
	}
	return v.ResponseWriter.Write(p)
}

// ReadFrom lets a file go out without a copy of each piece.
func (v *verdict) ReadFrom(r io.Reader) (int64, error) {
	if v.replaced {
		return io.Copy(io.Discard, r)
	}
	return io.Copy(v.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (v *verdict) Unwrap() http.ResponseWriter { return v.ResponseWriter }

// locks is a LockSystem for clients that lock what they move, and not where it
// goes, as RFC 4918, section 7.5, has it: the other one only must not be locked by
// somebody else. package webdav's wants both tokens.
type locks struct{ webdav.LockSystem }

// Confirm finds that the conditions hold, and locks both names until release.
func (l locks) Confirm(now time.Time, name0, name1 string, conditions ...webdav.Condition) (release func(), err error) {
	release, err = l.LockSystem.Confirm(now, name0, name1, conditions...)
	if err == nil || name0 == "" || name1 == "" {
		return release, err
	}
	for _, names := range [][2]string{{name0, name1}, {name1, name0}} {
		locked, free := names[0], names[1]
		held, confirmErr := l.LockSystem.Confirm(now, locked, "", conditions...)
		if confirmErr != nil {
			continue
		}
		token, lockErr := l.Create(now, webdav.LockDetails{Root: free, Duration: -1, ZeroDepth: true})
		if lockErr != nil {
			held()
			continue
		}
		return func() {
			held()
			_ = l.Unlock(now, token) // it is ours
		}, nil
	}
	return nil, err
}
