package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"tandem/session"
	"tandem/session/durable"
)

const (
	filePrefix = "log-"
	fileSuffix = ".jsonl"
	anchorName = "anchor"
	lockName   = "lock"
)

// fileName is the name of the n-th file.
func fileName(n int) string { return fmt.Sprintf("%s%06d%s", filePrefix, n, fileSuffix) }

// fileNumber is the n of a file name, or 0.
func fileNumber(name string) int {
	digits, ok := strings.CutSuffix(strings.TrimPrefix(name, filePrefix), fileSuffix)
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || fileName(n) != name {
		return 0
	}
	return n
}

// fileNumbers are those of the files in dir, in order.
func fileNumbers(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if n := fileNumber(e.Name()); n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// checkDir refuses a folder that others could write to, or that is none.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return session.Errorf("audit", session.Invalid, "%s is not a folder", dir)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return &session.Error{
			Op: "audit", Kind: session.Denied, Text: fmt.Sprintf("%s is open to other users (mode %04o)", dir, info.Mode().Perm()),
			Hint: "chmod 700 " + dir,
		}
	}
	return nil
}

// openRegular opens a file of the log, and nothing that only stands for one.
func openRegular(path string, flags int) (*os.File, error) {
	before, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && flags&os.O_CREATE != 0:
		// O_EXCL follows no link that has come into being since.
		return os.OpenFile(path, flags|os.O_EXCL, 0o600)
	case err != nil:
		return nil, err
	case !before.Mode().IsRegular():
		return nil, session.Errorf("audit", session.Invalid, "%s is not a regular file", path)
	}
	f, err := os.OpenFile(path, flags&^os.O_CREATE, 0)
	if err != nil {
		return nil, err
	}
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		return nil, errors.Join(session.Errorf("audit", session.Changed, "%s was replaced", path), err, f.Close())
	}
	return f, nil
}

// Anchor names an entry by its number and the hash of its line.
type Anchor struct {
	Seq  uint64 `json:"seq"`
	Hash Hash   `json:"hash"`
}

func (a Anchor) String() string { return fmt.Sprintf("%d:%s", a.Seq, a.Hash) }

// ParseAnchor reads what String wrote.
func ParseAnchor(s string) (Anchor, error) {
	number, digits, _ := strings.Cut(s, ":")
	seq, err := strconv.ParseUint(number, 10, 64)
	a := Anchor{Seq: seq}
	if err != nil || seq == 0 || a.Hash.UnmarshalText([]byte(digits)) != nil {
		return Anchor{}, session.Errorf("audit", session.Invalid, "%q is no head of a log, which looks like 12:9f86d0…", session.Printable(s))
	}
	return a, nil
}

// readAnchor is the zero Anchor if there is none.
func readAnchor(dir string) (Anchor, error) {
	f, err := openRegular(filepath.Join(dir, anchorName), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return Anchor{}, nil
	}
	if err != nil {
		return Anchor{}, err
	}
	defer func() { _ = f.Close() }()
	text := make([]byte, 512)
	n, _ := f.Read(text) // what can't be read is no anchor
	var a Anchor
	if json.Unmarshal(text[:n], &a) != nil || a.Seq == 0 {
		return Anchor{}, session.Errorf("audit", session.Integrity, "the anchor can't be read")
	}
	return a, nil
}

// writeAnchor replaces the anchor; a crash leaves the old one or the new one.
func writeAnchor(dir string, a Anchor) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return durable.Replace(filepath.Join(dir, anchorName), append(text, '\n'), 0o600)
}
