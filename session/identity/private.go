package identity

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"tandem/session"
	"tandem/session/durable"
)

const (
	privateDir  = 0o700
	privateFile = 0o600
)

// openPrivateDir makes dir if it is not there and checks that it is ours alone.
func openPrivateDir(op, dir string) error {
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return fileError(op, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fileError(op, err)
	}
	if !info.IsDir() {
		return &session.Error{
			Op: op, Kind: session.Invalid, Text: "the state directory is not a directory",
			Hint: "move " + dir + " away, or set TANDEM_HOME to another place",
		}
	}
	return checkPrivate(op, dir, info, privateDir)
}

// readPrivate reads a file of at most limit bytes, after checking that it is a
// regular file of ours that nobody else can touch.
func readPrivate(op, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError(op, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError(op, err)
	}
	if !info.Mode().IsRegular() {
		return nil, &session.Error{
			Op: op, Kind: session.Invalid, Text: filepath.Base(path) + " is not a regular file",
			Hint: "move " + path + " away",
		}
	}
	if err := checkPrivate(op, path, info, privateFile); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(op, err)
	}
	if int64(len(data)) > limit {
		return nil, &session.Error{
			Op: op, Kind: session.TooLarge, Text: filepath.Base(path) + " is larger than it can be",
			Hint: "something else has written to " + path + "; restore it from a backup or move it away",
		}
	}
	return data, nil
}

// writePrivate replaces a file so that a crash leaves the old one or the new
// one. The caller keeps others from doing the same at the same time.
func writePrivate(op, path string, data []byte) error {
	return fileError(op, durable.Replace(path, data, privateFile))
}

// fileError puts a failed file operation into words; nil stays nil.
func fileError(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &session.Error{Op: op, Kind: session.NotFound, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &session.Error{
			Op: op, Kind: session.Denied, Err: err,
			Hint: "tandem's state must belong to the user who runs it",
		}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return &session.Error{Op: op, Kind: session.NoSpace, Err: err, Hint: "make room on the disk and try again"}
	}
	return &session.Error{Op: op, Kind: session.Internal, Err: err}
}
