package identity

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/lockedfile"

	"tandem/session"
	"tandem/session/durable"
)

const (
	opBook      = "known peers"
	maxLine     = 8 << 10
	maxPeers    = 250_000
	maxBook     = 256 << 20
	minRewrite  = 64 << 10 // smaller books are never worth rewriting
	minIDPrefix = 6        // characters of an ID that may stand for it
)

// Entry is one known peer.
type Entry struct {
	ID session.PeerID `json:"id"`
	// Name is what the peer calls itself. It proves nothing.
	Name string `json:"name,omitempty"`
	// Alias is what we call the peer, unique in the book whatever its case.
	Alias string `json:"alias"`
	// Contact is how to reach it.
	Contact Contact `json:"contact,omitzero"`
	// Added is when we first met: now, if a new entry leaves it empty.
	Added time.Time `json:"added"`
}

// Book is the peers we know, kept in a file. Its methods may be called at the
// same time, and several processes may have the same book open.
type Book struct {
	path string
	lock *lockedfile.Mutex

	mu      sync.Mutex // guards what follows
	peers   map[session.PeerID]Entry
	read    fs.FileInfo // the file when it was last read; nil before
	written int64       // bytes of whole lines in it
}

// OpenBook reads the book at path, which need not exist yet. The error's kind
// is Denied if somebody else could read or change the file, and Integrity if
// it is damaged.
func OpenBook(path string) (*Book, error) {
	if err := openPrivateDir(opBook, filepath.Dir(path)); err != nil {
		return nil, err
	}
	b := &Book{path: path, lock: lockedfile.MutexAt(path + ".lock")}
	return b, b.refresh()
}

// Add writes down a peer we have met, or what is new about one, and returns
// the entry as it now is. Fields left empty keep what is known. Without an
// alias, a new peer gets one made of its claimed name, numbered if it is taken.
// An alias that is another peer's is an error of kind Integrity, and nothing
// is written.
func (b *Book) Add(e Entry) (Entry, error) {
	e.Name = session.PrintableName(e.Name)
	if e.ID.IsZero() {
		return Entry{}, session.Errorf(opBook, session.Invalid, "a peer needs an ID")
	}
	if err := e.Contact.Check(); err != nil {
		return Entry{}, err
	}
	if e.Alias != "" && !validAlias(e.Alias) {
		return Entry{}, &session.Error{
			Op: opBook, Kind: session.Invalid, Text: "that is not a usable name for a peer",
			Hint: fmt.Sprintf("use up to %d letters, digits and . _ @ - that do not begin with -", session.MaxName),
		}
	}

	b.mu.Lock()
	defer b.mu.Unlock()
	unlock, err := b.lock.Lock()
	if err != nil {
		return Entry{}, fileError(opBook, err)
	}
	defer unlock()
	if err := b.refresh(); err != nil {
		return Entry{}, err
	}

	old, known := b.peers[e.ID]
	if !known && len(b.peers) >= maxPeers {
		return Entry{}, session.Errorf(opBook, session.TooLarge, "the book is full: %d peers", maxPeers)
	}
	if known {
		e.Added = old.Added
		e.Name = cmp.Or(e.Name, old.Name)
		e.Alias = cmp.Or(e.Alias, old.Alias)
		if e.Contact.IsZero() {
			e.Contact = old.Contact
		}
	}
	if e.Alias == "" {
		e.Alias = b.freeAlias(e.Name)
	}
	if owner, taken := b.owner(e.Alias); taken && owner.ID != e.ID {
		return Entry{}, &session.Error{
			Op: opBook, Kind: session.Integrity,
			Text: fmt.Sprintf("%q is already another peer, %s", e.Alias, owner.ID.Short()),
			Hint: "compare the fingerprints with the person; if this is a new device of theirs, give it a name of its own",
		}
	}
	if e.Added.IsZero() {
		e.Added = time.Now()
	}
	if known && e.Name == old.Name && e.Alias == old.Alias && e.Contact.Equal(old.Contact) {
		return old, nil
	}
	e.Added = e.Added.UTC().Round(0)
	if err := b.append(e); err != nil {
		return Entry{}, err
	}
	return e, nil
}

// Remove forgets a peer: its next key is taken for what it is, a stranger's. It
// does nothing if the peer isn't known.
func (b *Book) Remove(id session.PeerID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	unlock, err := b.lock.Lock()
	if err != nil {
		return fileError(opBook, err)
	}
	defer unlock()
	if err := b.refresh(); err != nil {
		return err
	}
	if _, known := b.peers[id]; !known {
		return nil
	}
	return b.rewrite(id)
}

// Get is the entry of an ID, and whether there is one.
func (b *Book) Get(id session.PeerID) (Entry, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return Entry{}, false, err
	}
	e, ok := b.peers[id]
	return e, ok, nil
}

// List is every entry, ordered by alias.
func (b *Book) List() ([]Entry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return nil, err
	}
	return b.sorted(), nil
}

// Find is the peer that a person means by ref: an ID, an alias, or the first
// six or more characters of an ID. The error's kind is NotFound if there is no
// such peer and Invalid if there are several.
func (b *Book) Find(ref string) (Entry, error) {
	ref = strings.TrimSpace(ref)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.refresh(); err != nil {
		return Entry{}, err
	}
	if id, err := session.ParsePeerID(ref); err == nil {
		if e, ok := b.peers[id]; ok {
			return e, nil
		}
	}
	// Somebody may call themselves by the beginning of another's ID, so an
	// alias does not win over an ID: both together are ambiguous.
	lower := strings.ToLower(ref)
	var found []Entry
	for _, e := range b.sorted() {
		if strings.EqualFold(e.Alias, ref) || len(ref) >= minIDPrefix && strings.HasPrefix(e.ID.String(), lower) {
			found = append(found, e)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return Entry{}, &session.Error{
			Op: opBook, Kind: session.NotFound,
			Text: fmt.Sprintf("no peer is called %q", session.PrintableName(ref)),
			Hint: "`tandem peers` lists the peers you know; a new one needs an invite",
		}
	}
	var names []string
	for _, e := range found {
		names = append(names, fmt.Sprintf("%s (%s)", e.Alias, e.ID.Short()))
	}
	return Entry{}, &session.Error{
		Op: opBook, Kind: session.Invalid,
		Text: fmt.Sprintf("%q could be any of %s", session.PrintableName(ref), strings.Join(names, ", ")),
		Hint: "use more characters of the ID",
	}
}

// refresh reads the file again if it is not the one read last. The caller
// holds mu, but need not hold the file's lock: lines are whole or dropped.
func (b *Book) refresh() error {
	info, err := os.Stat(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && b.read == nil:
		b.peers = map[session.PeerID]Entry{}
		return nil
	case err != nil:
		return fileError(opBook, err)
	case b.read != nil && os.SameFile(info, b.read) && info.Size() == b.read.Size() && info.ModTime().Equal(b.read.ModTime()):
		return nil
	}
	data, err := readPrivate(opBook, b.path, maxBook)
	if err != nil {
		return err
	}
	peers, written, err := parseBook(data)
	if err != nil {
		return err
	}
	b.peers, b.read, b.written = peers, info, written
	return nil
}

// parseBook reads the lines of a book and says how many bytes of it are whole
// lines.
func parseBook(data []byte) (peers map[session.PeerID]Entry, whole int64, err error) {
	peers = map[session.PeerID]Entry{}
	owners := map[string]session.PeerID{}
	for n := 1; len(data) > 0; n++ {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			break // what a crash left of a line that never counted
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, 0, damaged(n, err)
		}
		alias := strings.ToLower(e.Alias)
		if owner, taken := owners[alias]; taken && owner != e.ID {
			return nil, 0, damaged(n, errors.New("an alias has changed hands"))
		}
		if old, known := peers[e.ID]; known {
			delete(owners, strings.ToLower(old.Alias))
		} else if len(peers) >= maxPeers {
			return nil, 0, damaged(n, errors.New("too many peers"))
		}
		owners[alias], peers[e.ID] = e.ID, e
		whole += int64(len(line)) + 1
		data = rest
	}
	return peers, whole, nil
}

func parseEntry(line []byte) (Entry, error) {
	if len(line) > maxLine {
		return Entry{}, errors.New("too long")
	}
	var e Entry
	if err := json.Unmarshal(line, &e); err != nil {
		return Entry{}, err
	}
	if e.ID.IsZero() || !validAlias(e.Alias) || e.Name != session.PrintableName(e.Name) {
		return Entry{}, errors.New("malformed entry")
	}
	return e, e.Contact.Check()
}

func damaged(line int, err error) error {
	return &session.Error{
		Op: opBook, Kind: session.Integrity, Text: fmt.Sprintf("line %d of the book is damaged", line),
		Hint: "restore the file from a backup; or move it away and meet your peers again", Err: err,
	}
}

// append writes one more line. The caller holds both locks.
func (b *Book) append(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return &session.Error{Op: opBook, Kind: session.Internal, Err: err}
	}
	line = append(line, '\n')
	if len(line) > maxLine {
		return session.Errorf(opBook, session.TooLarge, "the peer's details are too long")
	}
	if size := b.written + int64(len(line)); size > minRewrite && size > 4*int64(len(b.peers)+1)*int64(len(line)) || size > maxBook {
		return b.rewrite(e.ID, e)
	}

	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE, privateFile)
	if err != nil {
		return fileError(opBook, err)
	}
	created := b.read == nil
	err = func() error {
		// An unfinished last line goes before the next one is written.
		if err := f.Truncate(b.written); err != nil {
			return err
		}
		if _, err := f.WriteAt(line, b.written); err != nil {
			return errors.Join(err, f.Truncate(b.written))
		}
		return f.Sync()
	}()
	if err = errors.Join(err, f.Close()); err == nil && created {
		err = durable.SyncDir(filepath.Dir(b.path))
	}
	if err != nil {
		return fileError(opBook, err)
	}
	return b.refresh()
}

// rewrite replaces the file by one with a line for each peer but old, and for
// what is news.
func (b *Book) rewrite(old session.PeerID, news ...Entry) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	kept := slices.DeleteFunc(b.sorted(), func(e Entry) bool { return e.ID == old })
	for _, e := range append(kept, news...) {
		if err := encoder.Encode(e); err != nil {
			return &session.Error{Op: opBook, Kind: session.Internal, Err: err}
		}
	}
	if out.Len() > maxBook {
		return session.Errorf(opBook, session.TooLarge, "the book is full")
	}
	if err := writePrivate(opBook, b.path, out.Bytes()); err != nil {
		return err
	}
	return b.refresh()
}

func (b *Book) sorted() []Entry {
	out := make([]Entry, 0, len(b.peers))
	for _, e := range b.peers {
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y Entry) int {
		return cmp.Or(strings.Compare(x.Alias, y.Alias), x.ID.Compare(y.ID))
	})
	return out
}

func (b *Book) owner(alias string) (Entry, bool) {
	for _, e := range b.peers {
		if strings.EqualFold(e.Alias, alias) {
			return e, true
		}
	}
	return Entry{}, false
}

// freeAlias makes an alias that nobody has out of a claimed name.
func (b *Book) freeAlias(name string) string {
	base := strings.TrimLeft(strings.Map(func(r rune) rune {
		if aliasRune(r) {
			return r
		}
		return '-'
	}, name), "-")
	base = session.PrintableName(base)
	for len(base) > session.MaxName-8 { // room for a number
		base = strings.TrimRightFunc(base[:len(base)-1], func(r rune) bool { return r == unicode.ReplacementChar })
	}
	if !validAlias(base) {
		base = "peer"
	}
	if _, taken := b.owner(base); !taken {
		return base
	}
	taken := make(map[string]bool) // thousands may call themselves the same
	for _, e := range b.peers {
		taken[strings.ToLower(e.Alias)] = true
	}
	for n := 2; ; n++ {
		alias := fmt.Sprintf("%s-%d", base, n)
		if taken[strings.ToLower(alias)] {
			continue
		}
		if _, taken := b.owner(alias); !taken { // letters can be the same in other ways
			return alias
		}
	}
}

// validAlias reports whether an alias can be typed as part of PEER:PATH and
// can't be taken for an option or a whole ID.
func validAlias(alias string) bool {
	if alias == "" || len(alias) > session.MaxName || alias[0] == '-' || session.PrintableName(alias) != alias {
		return false
	}
	if _, err := session.ParsePeerID(alias); err == nil {
		return false
	}
	return !strings.ContainsFunc(alias, func(r rune) bool { return !aliasRune(r) })
}

func aliasRune(r rune) bool {
	return r != unicode.ReplacementChar && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || strings.ContainsRune("._@-", r))
}
