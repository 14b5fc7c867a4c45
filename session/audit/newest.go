package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A page of entries is not longer than this in memory, and a file is read
// backwards in blocks of that size.
const (
	maxPage   = 4 << 20
	blockSize = 64 << 10
)

// Newest returns the last entries of the log in dir that pick picks and whose
// number is below before (0: all), the newest first: limit of them, or fewer if
// they are long. Lines that are no entries are left out.
func Newest(ctx context.Context, dir string, before uint64, limit int, pick func(Entry) bool) ([]Entry, error) {
	numbers, err := fileNumbers(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var page []Entry
	size := 0
	for _, n := range slices.Backward(numbers) {
		f, err := openRegular(filepath.Join(dir, fileName(n)), os.O_RDONLY)
		if err != nil {
			return page, err
		}
		err = backwards(ctx, f, func(line []byte) bool {
			e, err := decode(line)
			if err == nil && (before == 0 || e.Seq < before) && pick(e) {
				page = append(page, e)
				size += len(line)
			}
			return len(page) < limit && size < maxPage
		})
		_ = f.Close() // it was only read
		if err != nil || len(page) >= limit || size >= maxPage {
			return page, err
		}
	}
	return page, nil
}

// backwards calls each with the whole lines of a file, the last first, until it
// has had enough.
func backwards(ctx context.Context, f *os.File, each func(line []byte) bool) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var rest []byte // of a line whose beginning is still to be read
	whole := false  // rest ends where a line does
	for end := info.Size(); end > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		begin := max(0, end-blockSize)
		block := make([]byte, end-begin, end-begin+int64(len(rest)))
		if _, err := f.ReadAt(block, begin); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		end = begin
		block = append(block, rest...)
		for {
			feed := bytes.LastIndexByte(block, '\n')
			if feed < 0 {
				break
			}
			if line := block[feed+1:]; whole && !each(line) {
				return nil
			}
			block, whole = block[:feed], true
		}
		rest = block
		if len(rest) > maxLine { // no entry: only where it begins matters
			rest = rest[:maxLine]
		}
	}
	if whole && len(rest) > 0 {
		each(rest)
	}
	return nil
}
