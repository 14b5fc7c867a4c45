package folder

import (
	"os"

	"golang.org/x/sys/unix"
)

// segment is where the data or the hole at offset ends, at size at the latest.
// A file system without holes has only data.
func segment(f *os.File, offset, size int64) (end int64, hole bool) {
	data, err := f.Seek(offset, unix.SEEK_DATA)
	switch {
	case err != nil: // no data follows, or it can't be told
		return size, isHole(f, offset)
	case data > offset:
		return min(data, size), true
	}
	end, err = f.Seek(offset, unix.SEEK_HOLE)
	if err != nil || end <= offset {
		return size, false
	}
	return min(end, size), false
}

// isHole reports whether a hole begins at offset.
func isHole(f *os.File, offset int64) bool {
	at, err := f.Seek(offset, unix.SEEK_HOLE)
	return err == nil && at == offset
}
