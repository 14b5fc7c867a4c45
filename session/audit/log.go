package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tandem/session"
	"tandem/session/durable"
)

const (
	// maxFile is how large a file gets before the next begins.
	maxFile = 16 << 20
	// maxTail is how much of a file's end is looked at for its last entry.
	maxTail = 64 << 10
	// syncAfter is how long an entry may wait for the disk.
	syncAfter = time.Second
)

// Log is a log that is appended to. Its methods may be called at the same time,
// and other processes may append to the same log.
type Log struct {
	dir     string
	maxFile int64

	mu     sync.Mutex
	closed bool
	broken error // nothing can be appended any more
	lock   *os.File
	file   *os.File
	number int    // of the file
	size   int64  // of the file, as far as it has been read or written
	last   Anchor // the newest entry
	synced Anchor // the newest entry known to be on the disk
	timer  *time.Timer
	work   sync.WaitGroup // the timer's function
}

// New makes a Log of a folder, which is made when something is first appended.
func New(dir string) *Log { return &Log{dir: dir, maxFile: maxFile} }

// Append adds an entry and returns its number. It is on the disk within a
// second.
func (l *Log) Append(e Entry) (seq uint64, err error) { return l.add(e, false) }

// Commit adds an entry, and returns when it is on the disk.
func (l *Log) Commit(e Entry) (seq uint64, err error) { return l.add(e, true) }

func (l *Log) add(e Entry, durable bool) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, failure(errors.New("it has been closed"))
	}
	if l.broken != nil {
		return 0, failure(l.broken)
	}
	err := l.locked(func() error {
		if err := l.catchUp(); err != nil {
			return err
		}
		return l.write(e)
	})
	if err != nil {
		return 0, failure(err)
	}
	seq := l.last.Seq
	if durable {
		return seq, l.sync()
	}
	if l.timer == nil {
		l.work.Add(1)
		l.timer = time.AfterFunc(syncAfter, func() {
			defer l.work.Done()
			l.mu.Lock()
			defer l.mu.Unlock()
			l.timer = nil
			_ = l.sync() // the next append tells
		})
	}
	return seq, nil
}

// failure says that the log can't be written.
func failure(err error) error {
	kind := session.FileKind(err)
	if kind != session.NoSpace {
		kind = session.Internal
	}
	hint := session.Hint(err)
	if hint == "" {
		hint = "Nothing is done for peers until tandem's state can be written."
	}
	return &session.Error{Op: "audit", Kind: kind, Text: "the audit log can't be written", Err: err, Hint: hint}
}

// locked runs work while no other process appends. The lock's file stays open:
// a process that has run out of files can still append.
func (l *Log) locked(work func() error) error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	if err := checkDir(l.dir); err != nil {
		return err
	}
	if err := l.openLock(); err != nil {
		return err
	}
	if err := lockFile(l.lock); err != nil {
		return err
	}
	defer unlockFile(l.lock)
	return work()
}

// openLock opens the lock's file, unless the one that is open is still it.
func (l *Log) openLock() error {
	path := filepath.Join(l.dir, lockName)
	if l.lock != nil {
		named, err := os.Lstat(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		ours, err := l.lock.Stat()
		if err != nil {
			return err
		}
		if named != nil && os.SameFile(named, ours) {
			return nil
		}
		_ = l.lock.Close()
		l.lock = nil
	}
	f, err := openRegular(path, os.O_RDWR|os.O_CREATE)
	if errors.Is(err, fs.ErrExist) { // another process was quicker
		f, err = openRegular(path, os.O_RDWR)
	}
	l.lock = f
	return err
}

// catchUp finds the end of the log. The lock is held.
func (l *Log) catchUp() error {
	if l.file == nil {
		if err := l.open(); err != nil {
			if l.file != nil {
				_ = l.file.Close()
			}
			l.file, l.last = nil, Anchor{} // the next try begins afresh
			return err
		}
	}
	for {
		moved, err := l.readOn()
		if err != nil || !moved {
			return err
		}
	}
}

// open opens the newest file. The lock is held.
func (l *Log) open() error {
	numbers, err := fileNumbers(l.dir)
	if err != nil {
		return err
	}
	n := 1
	if len(numbers) > 0 {
		n = numbers[len(numbers)-1]
	}
	if err := l.openFile(n); err != nil {
		return err
	}
	// If nothing of the newest file is left, the chain goes on from the one before.
	for i := len(numbers) - 2; i >= 0 && l.last.Seq == 0; i-- {
		before, err := openRegular(filepath.Join(l.dir, fileName(numbers[i])), os.O_RDONLY)
		if err != nil {
			return err
		}
		l.last, _, err = lastEntry(before)
		_ = before.Close()
		if err != nil {
			return err
		}
	}
	return l.mend()
}

func (l *Log) openFile(n int) error {
	path := filepath.Join(l.dir, fileName(n))
	_, err := os.Lstat(path)
	made := errors.Is(err, fs.ErrNotExist)
	f, err := openRegular(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err == nil && made {
		err = durable.SyncDir(l.dir)
	}
	if err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close() // it was synced before
	}
	l.file, l.number, l.size = f, n, 0
	return nil
}

// readOn takes note of what other processes have appended, and reports whether
// they have begun another file.
func (l *Log) readOn() (moved bool, err error) {
	info, err := l.file.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(filepath.Join(l.dir, fileName(l.number)))
	if err != nil || !os.SameFile(named, info) || info.Size() < l.size {
		return false, l.changed(err)
	}
	if info.Size() > l.size {
		last, size, err := lastEntry(l.file)
		if err != nil {
			return false, err
		}
		if size < l.size {
			return false, l.changed(nil)
		}
		if last.Seq > 0 {
			l.last = last
		}
		if l.size = size; size < info.Size() {
			return false, l.cutOff(info.Size())
		}
	}
	if _, err := os.Lstat(filepath.Join(l.dir, fileName(l.number+1))); err != nil {
		return false, nil
	}
	return true, l.openFile(l.number + 1)
}

func (l *Log) changed(err error) error {
	return &session.Error{
		Op: "audit", Kind: session.Changed, Text: fileName(l.number) + " was removed, replaced or cut while it was in use", Err: err,
		Hint: "`tandem log --verify` says more; a tandem that starts anew goes on with what there is.",
	}
}

// lastEntry finds the last line of a file that is an entry, and where it ends.
// It is the zero Anchor if there is none.
func lastEntry(f *os.File) (_ Anchor, end int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return Anchor{}, 0, err
	}
	begin := max(0, info.Size()-maxTail)
	tail := make([]byte, info.Size()-begin)
	if _, err := f.ReadAt(tail, begin); err != nil && !errors.Is(err, io.EOF) {
		return Anchor{}, 0, err
	}
	for rest := tail; ; {
		feed := bytes.LastIndexByte(rest, '\n')
		if feed < 0 {
			break
		}
		line := rest[bytes.LastIndexByte(rest[:feed], '\n')+1 : feed]
		if e, err := decode(line); err == nil {
			return Anchor{e.Seq, hashOf(line)}, begin + int64(feed) + 1, nil
		}
		rest = rest[:feed]
	}
	if begin > 0 {
		return Anchor{}, 0, &session.Error{
			Op: "audit", Kind: session.Integrity, Text: filepath.Base(f.Name()) + " does not end with entries",
			Hint: "`tandem log --verify` says more; move the folder of the log away to begin another.",
		}
	}
	return Anchor{}, 0, nil
}

// cutOff removes what follows the last entry, and notes it.
func (l *Log) cutOff(size int64) error {
	torn := make([]byte, size-l.size)
	if _, err := l.file.ReadAt(torn, l.size); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := l.file.Truncate(l.size); err != nil {
		return err
	}
	return l.write(Entry{Outcome: Repaired, Reason: fmt.Sprintf(
		"%d bytes after entry %d in %s were no entry and have been removed; their SHA-256 is %x",
		len(torn), l.last.Seq, fileName(l.number), sha256.Sum256(torn))})
}

// mend reads the end of a log that was just opened, and notes what is missing.
func (l *Log) mend() error {
	if _, err := l.readOn(); err != nil {
		return err
	}
	anchor, err := readAnchor(l.dir)
	switch {
	case session.KindOf(err) == session.Integrity:
		return l.write(Entry{Outcome: Lost, Reason: "the anchor can't be read: entries may be missing before this one"})
	case err != nil:
		return err
	case anchor.Seq > l.last.Seq:
		return l.write(Entry{Outcome: Lost, Reason: fmt.Sprintf(
			"entries %d to %d are missing: the anchor names %s", l.last.Seq+1, anchor.Seq, anchor)})
	case anchor.Seq == l.last.Seq && anchor.Hash != l.last.Hash:
		return l.write(Entry{Outcome: Lost, Reason: fmt.Sprintf("entry %d is not the one that was there: the anchor names %s", anchor.Seq, anchor)})
	}
	l.synced = anchor
	return nil
}

// write appends an entry, in the next file if this one is full. The lock is held.
func (l *Log) write(e Entry) error {
	e.Seq, e.Prev = l.last.Seq+1, l.last.Hash
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	line, err := encode(e)
	if err != nil {
		return err
	}
	if l.size > 0 && l.size+int64(len(line))+1 > l.maxFile {
		if err := l.file.Sync(); err != nil {
			l.broken = err
			return err
		}
		if err := l.openFile(l.number + 1); err != nil {
			return err
		}
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		// If this fails too, whoever appends next repairs it.
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(line)) + 1
	l.last = Anchor{e.Seq, hashOf(line)}
	return nil
}

// sync forces what was appended to the disk, and then the anchor.
func (l *Log) sync() error {
	if l.broken != nil {
		return failure(l.broken)
	}
	if l.file == nil || l.synced == l.last {
		return nil
	}
	// Which pages a failed fsync has lost nobody knows: nothing can be built on them.
	if err := l.file.Sync(); err != nil {
		l.broken = err
		return failure(err)
	}
	newest := l.last
	err := l.locked(func() error {
		// Another process may be ahead.
		if there, err := readAnchor(l.dir); err == nil && there.Seq >= newest.Seq {
			return nil
		}
		return writeAnchor(l.dir, newest)
	})
	if err != nil {
		return failure(err)
	}
	l.synced = newest
	return nil
}

// Close forces everything to the disk. Nothing can be appended after it.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil && l.timer.Stop() {
		l.work.Done()
	}
	l.mu.Unlock()
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.sync()
	if l.file != nil {
		err = errors.Join(err, l.file.Close())
		l.file = nil
	}
	if l.lock != nil {
		_ = l.lock.Close() // nothing was written to it
		l.lock = nil
	}
	return err
}
