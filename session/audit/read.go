package audit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"tandem/session"
)

// pollEvery is how often Follow looks for more.
const pollEvery = 250 * time.Millisecond

// Reader reads a log from its first entry on, while it may be appended to.
type Reader struct {
	dir    string
	number int // of the file; 0 before the first
	file   *os.File
	lines  *bufio.Reader
	line   int    // number of the line in the file
	part   []byte // what has come of the next line
}

// NewReader reads the log in a folder.
func NewReader(dir string) *Reader { return &Reader{dir: dir} }

// Next returns the next entry. It fails with io.EOF when there is no more now,
// and may be called again. A line that is no entry is an error of kind
// Integrity; what follows it can be read on.
func (r *Reader) Next() (Entry, error) {
	line, err := r.next()
	if err != nil {
		return Entry{}, err
	}
	e, err := decode(line)
	if err != nil {
		return Entry{}, session.Errorf("audit", session.Integrity, "%s is no entry", r.place())
	}
	return e, nil
}

// Follow is Next, but waits for more until ctx ends.
func (r *Reader) Follow(ctx context.Context) (Entry, error) {
	for {
		e, err := r.Next()
		if !errors.Is(err, io.EOF) {
			return e, err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return Entry{}, context.Cause(ctx)
		}
	}
}

// place says where the last line was.
func (r *Reader) place() string { return fmt.Sprintf("line %d of %s", r.line, fileName(r.number)) }

// next is the next whole line, valid until the following call.
func (r *Reader) next() ([]byte, error) {
	for final := false; ; {
		if r.file == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		part, err := r.lines.ReadSlice('\n')
		if len(r.part) < maxLine { // nothing longer is an entry
			r.part = append(r.part, part...)
		}
		switch {
		case err == nil:
			line := bytes.TrimSuffix(r.part, []byte("\n"))
			r.part = r.part[:0]
			r.line++
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return nil, err
		case !final:
			// Once there is a later file, this one gets no more.
			after, err := r.after()
			if err != nil {
				return nil, err
			}
			if after == 0 {
				return nil, io.EOF
			}
			final = true
		default:
			_ = r.file.Close() // it was only read
			r.file, final = nil, false
			if len(r.part) > 0 {
				r.part = r.part[:0]
				r.line++
				return nil, session.Errorf("audit", session.Integrity, "%s is not complete", r.place())
			}
		}
	}
}

// after is the number of the file after this one, or 0 if there is none yet.
func (r *Reader) after() (int, error) {
	numbers, err := fileNumbers(r.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, n := range numbers {
		if n > r.number {
			return n, nil
		}
	}
	return 0, nil
}

// open opens the file after the last one. It fails with io.EOF if there is none.
func (r *Reader) open() error {
	n, err := r.after()
	if err != nil {
		return err
	}
	if n == 0 {
		return io.EOF
	}
	f, err := openRegular(filepath.Join(r.dir, fileName(n)), os.O_RDONLY)
	if err != nil {
		return err
	}
	r.file, r.number, r.line, r.lines = f, n, 0, bufio.NewReaderSize(f, 64<<10)
	return nil
}

// Close ends reading.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
