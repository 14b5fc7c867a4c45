package folder

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"tandem/session"
)

// fileError is err, from the file system, about path: with a kind, and without
// anything that says where on the disk the share is.
func fileError(op, path string, err error) error {
	kind, text := session.Internal, "failed"
	var se *session.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &se), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrNotExist):
		kind, text = session.NotFound, "is not there"
	case errors.Is(err, syscall.ENOTEMPTY): // which package fs takes for ErrExist
		kind, text = session.Exists, "is not empty"
	case errors.Is(err, fs.ErrExist):
		kind, text = session.Exists, "is there already"
	case errors.Is(err, syscall.ENOSPC), isQuota(err):
		kind, text = session.NoSpace, "does not fit: the disk is full"
	case errors.Is(err, syscall.EROFS):
		kind, text = session.Denied, "can't be written: the disk is read-only"
	case errors.Is(err, fs.ErrPermission):
		kind, text = session.Denied, "is not accessible"
	case errors.Is(err, syscall.ENOTDIR):
		kind, text = session.Invalid, "lies below something that is not a folder"
	case errors.Is(err, syscall.ENAMETOOLONG):
		kind, text = session.Invalid, "has too long a name"
	case errors.Is(err, syscall.EFBIG):
		kind, text = session.TooLarge, "is too large for the disk"
	}
	return &session.Error{Op: op, Kind: kind, Text: shown(path) + " " + text, Err: &detail{err}}
}

// shown is how a path is called in an error.
func shown(path string) string {
	if path == "" {
		return "the folder"
	}
	return session.Printable(path)
}

// detail keeps a cause for errors.Is without its words, which may name paths of
// this machine.
type detail struct{ err error }

func (d *detail) Error() string { return "" }
func (d *detail) Unwrap() error { return d.err }

func unsupported(path string) error {
	return session.Errorf("folder", session.Unsupported, "%s is not a regular file or folder", shown(path))
}
