package folder

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"time"

	"tandem/session"
	"tandem/share/chunk"
)

// Name is the service's name and version.
const Name = "folder/1"

// The actions.
const (
	Read  = "read"
	Write = "write"
)

// Limits of the protocol; see the package comment.
const (
	MaxMessage = 64 << 10                // bytes of JSON
	MaxBlock   = maxChunk + itemOverhead // bytes of a block
	MaxPage    = 1000                    // entries of a page
	MaxEntries = 1 << 20                 // entries of a directory, and of a listing

	// blockSize is how much of a file goes into one block.
	blockSize = 64 << 10
	unitSize  = 4
	// maxPageSize is how long a page may become, in bytes.
	maxPageSize = 128 << 10

	// maxOffered is how many chunks of an old version a receiver offers.
	maxOffered  = 1 << 16
	maxListSize = maxOffered*(chunk.SumSize+3) + 16 // encoded
	// An offer's chunks are of these normal sizes, a power of two.
	minNormal = 64 << 10
	maxNormal = maxChunk / 4
)

// Entry is a file or directory.
type Entry struct {
	// Name is the last element of the path; empty for the share itself.
	Name string `json:"name"`
	Dir  bool   `json:"dir,omitempty"`
	// Size is in bytes; 0 for a directory.
	Size int64 `json:"size,omitempty"`
	// MTime is when the content last changed, in nanoseconds since 1970 UTC.
	MTime int64 `json:"mtime"`
	// Exec says that its owner may execute the file.
	Exec bool `json:"exec,omitempty"`
}

// carried reports whether a tree has the content of e.
func (e Entry) carried() bool { return !e.Dir && e.Size <= smallFile }

// ModTime is MTime as a time.
func (e Entry) ModTime() time.Time { return time.Unix(0, e.MTime) }

// op names what a request wants.
type op string

const (
	opStat  op = "stat"
	opList  op = "list"
	opTree  op = "tree"
	opRead  op = "read"
	opFetch op = "fetch"
	opHash  op = "hash"
	opCheck op = "check"
	opPut   op = "put"
	opMkdir op = "mkdir"

	opRemove op = "remove"
	opMove   op = "move"
	opWatch  op = "watch"
	opSet    op = "set"
	opPush   op = "push"
)

type request struct {
	ID        uint64 `json:"id"`
	Op        op     `json:"op"`
	Path      string `json:"path"`
	To        string `json:"to,omitempty"`
	Body      bool   `json:"body,omitempty"`
	Recursive bool   `json:"recursive,omitempty"`
	Offset    int64  `json:"offset,omitempty"`
	Length    int64  `json:"length,omitempty"`
	Size      int64  `json:"size,omitempty"`
	MTime     int64  `json:"mtime,omitempty"`
	Exec      bool   `json:"exec,omitempty"`
	Force     bool   `json:"force,omitempty"`
	Exclusive bool   `json:"exclusive,omitempty"`
	Purge     bool   `json:"purge,omitempty"`
	// Prefix is the hash of the first Offset bytes that the client of a fetch
	// has, and Unless that of all it has.
	Prefix *chunk.Sum `json:"prefix,omitempty"`
	Unless *chunk.Sum `json:"unless,omitempty"`
	// Plain says that a fetch is to refer to nothing that came before.
	Plain bool `json:"plain,omitempty"`
	// List asks a check for the chunks of what is there.
	List bool `json:"list,omitempty"`
	// Normal and Key say how the chunks of an offer are cut.
	Normal int        `json:"normal,omitempty"`
	Key    *chunk.Sum `json:"key,omitempty"`
}

// offer is what a request offers, without its list.
func (r request) offer() offer {
	o := offer{normal: r.Normal}
	if r.Key != nil {
		o.key = *r.Key
	}
	return o
}

// cut makes r say how the chunks of o are cut.
func (r *request) cut(o offer) { r.Normal, r.Key = o.normal, &o.key }

// check refuses what no client of ours sends.
func (r request) check() error {
	switch {
	case r.Offset < 0 || r.Length < 0 || r.Size < -1 || r.Size >= 0 && r.Offset > r.Size && r.Op == opPut:
		return violation("size out of range")
	case r.Size > maxFile || r.Offset > maxFile:
		return session.Errorf("folder", session.TooLarge, "a file of more than 16 TiB")
	case r.Op == opPut && !r.Body:
		return violation("put without a body")
	case r.Op == opPut && r.Offset > 0 && r.Size < 0:
		return violation("offset of an unknown whole")
	case r.Op == opCheck && r.Size < 0:
		return violation("check without a size")
	case r.Op == opFetch && r.Offset > 0 && r.Prefix == nil:
		return violation("offset without a hash of what lies before it")
	case r.Normal != 0 && (r.Normal < minNormal || r.Normal > maxNormal || bits.OnesCount(uint(r.Normal)) != 1),
		r.Normal == 0 && (r.List || r.Body && r.Op == opFetch):
		return violation("chunks of an impossible size")
	}
	if err := checkPath(r.To); err != nil {
		return err
	}
	return checkPath(r.Path)
}

type reply struct {
	ID     uint64     `json:"id"`
	Error  *wireError `json:"error,omitempty"`
	Body   bool       `json:"body,omitempty"`
	Entry  *Entry     `json:"entry,omitempty"`
	Offset int64      `json:"offset,omitempty"`
	Hash   *chunk.Sum `json:"hash,omitempty"`
	Same   bool       `json:"same,omitempty"`
	Trash  string     `json:"trash,omitempty"`
	// Have is how much a check found of an interrupted put, and Prefix its hash.
	Have   int64      `json:"have,omitempty"`
	Prefix *chunk.Sum `json:"prefix,omitempty"`
	// Missed says that a put failed as a chunk that went before was not found.
	Missed bool `json:"missed,omitempty"`
	// Asks says that the owner wants to be asked about changes.
	Asks bool `json:"asks,omitempty"`
}

type trailer struct {
	Error   *wireError `json:"error,omitempty"`
	Hash    *chunk.Sum `json:"hash,omitempty"`
	Skipped int        `json:"skipped,omitempty"`
}

type page struct {
	Dir     string     `json:"dir"`
	Entries []Entry    `json:"entries,omitempty"`
	Skipped int        `json:"skipped,omitempty"`
	Error   *wireError `json:"error,omitempty"`
}

// changes is a block of a watch.
type changes struct {
	Changes []Change `json:"changes"`
}

type wireError struct {
	Kind string `json:"kind"`
	Text string `json:"text,omitempty"`
	// As is the other spelling of a name that is in the way.
	As string `json:"as,omitempty"`
}

func toWire(err error) *wireError {
	kind, text := session.Public(err)
	if len(text) > session.MaxErrorText {
		text = text[:session.MaxErrorText]
	}
	w := &wireError{Kind: string(kind), Text: text}
	var other *spelledError
	if errors.As(err, &other) {
		w.As = other.name
	}
	return w
}

// err is what the peer reported, or nil.
func (e *wireError) err(op string) error {
	if e == nil {
		return nil
	}
	err := session.FromWire(op, e.Kind, e.Text)
	if e.As != "" && err.Kind == session.Exists {
		err.Hint = spelledHint(e.As)
	}
	return err
}

// violation is something a peer sent that this protocol forbids.
func violation(format string, args ...any) error {
	return &session.Error{Op: "folder", Kind: session.Invalid, Text: "folder protocol: " + fmt.Sprintf(format, args...)}
}

// forged is something a peer sent that contradicts what it sent before.
func forged(format string, args ...any) error {
	return &session.Error{Op: "folder", Kind: session.Integrity, Text: fmt.Sprintf(format, args...)}
}

// readUnit reads a length of at most limit.
func readUnit(r io.Reader, limit uint32) (int, error) {
	var prefix [unitSize]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n > limit {
		return 0, violation("unit of %d bytes, at most %d", n, limit)
	}
	return int(n), nil
}

// readMessage reads one message into v. It returns io.EOF only between units.
func readMessage(r io.Reader, v any) error {
	n, err := readUnit(r, MaxMessage)
	if err != nil {
		return err
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return cutShort(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return violation("message is not valid JSON")
	}
	return nil
}

// cutShort is err where the stream must not end.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func writeUnit(w *bufio.Writer, p []byte) error {
	if err := binary.Write(w, binary.BigEndian, uint32(len(p))); err != nil {
		return err
	}
	_, err := w.Write(p)
	return err
}

func writeMessage(w *bufio.Writer, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(raw) > MaxMessage {
		return session.Errorf("folder", session.TooLarge, "message of %d bytes", len(raw))
	}
	return writeUnit(w, raw)
}

// body reads the blocks and the trailer that follow a message.
type body struct {
	r       io.Reader
	left    int // of the block
	ended   bool
	trailed bool
	trailer trailer
	err     error // of the stream; final
	buf     []byte
}

// Read reads the bytes of all blocks, and io.EOF at their end.
func (b *body) Read(p []byte) (int, error) {
	for b.left == 0 {
		if b.err != nil {
			return 0, b.err
		}
		if b.ended {
			return 0, io.EOF
		}
		b.left, b.err = readUnit(b.r, MaxBlock)
		b.err = cutShort(b.err)
		b.ended = b.err == nil && b.left == 0
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	if err != nil {
		b.err, b.left = cutShort(err), 0
	}
	return n, b.err
}

// block reads one whole block, and io.EOF at their end.
func (b *body) block() ([]byte, error) {
	b.buf = nil
	return b.scratch()
}

// scratch is block into memory that the next scratch uses again.
func (b *body) scratch() ([]byte, error) {
	if b.err == nil && !b.ended {
		b.left, b.err = readUnit(b.r, MaxBlock)
		b.err = cutShort(b.err)
		b.ended = b.err == nil && b.left == 0
	}
	switch {
	case b.err != nil:
		return nil, b.err
	case b.ended:
		return nil, io.EOF
	}
	if b.left > cap(b.buf) {
		b.buf = make([]byte, b.left)
	}
	p := b.buf[:b.left]
	_, b.err = io.ReadFull(b.r, p)
	b.err, b.left = cutShort(b.err), 0
	return p, b.err
}

// finish reads past what is left of the body and returns its trailer. Its
// error is the stream's.
func (b *body) finish() (trailer, error) {
	if b.trailed {
		return b.trailer, b.err
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{b}); err != nil {
		return trailer{}, err
	}
	b.err = cutShort(readMessage(b.r, &b.trailer))
	b.trailed = true
	return b.trailer, b.err
}

// writeTrailer ends a body.
func writeTrailer(w *bufio.Writer, t trailer) error {
	if err := writeUnit(w, nil); err != nil {
		return err
	}
	return writeMessage(w, t)
}
