package folder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/chunk"
)

// peer is a server that a test writes by hand: it is called for each request.
type peer func(req request, w *bufio.Writer) error

func (p peer) serve(_ context.Context, o session.Offer) {
	st, err := o.Accept()
	if err != nil {
		return
	}
	defer st.Close()
	r, w := bufio.NewReader(st), bufio.NewWriter(st)
	for {
		var req request
		if readMessage(r, &req) != nil || p(req, w) != nil || w.Flush() != nil {
			return
		}
	}
}

func (p peer) client(t testing.TB) *Client {
	s, _ := sessiontest.Pair(t, nil, p.serve)
	return NewClient(s, "docs")
}

// pages replies to a list with ps.
func pages(w *bufio.Writer, req request, ps ...page) error {
	err := writeMessage(w, reply{ID: req.ID, Body: true})
	for _, p := range ps {
		raw, _ := json.Marshal(p) // plain data
		err = errors.Join(err, writeUnit(w, raw))
	}
	return errors.Join(err, writeTrailer(w, trailer{}))
}

// data is an item.
func data(p string) string {
	return string(item{kind: itemData, sum: chunk.SumOf([]byte(p)), pack: []byte("\x00" + p)}.append(nil))
}

// packed is an item whose content is compressed, however large it is.
func packed(p []byte) string {
	enc, _ := zstd.NewWriter(nil) // with no options to be wrong
	defer enc.Close()
	return string(item{kind: itemData, sum: chunk.SumOf(p), pack: enc.EncodeAll(p, []byte{1})}.append(nil))
}

func files(names ...string) []Entry {
	var all []Entry
	for _, name := range names {
		all = append(all, Entry{Name: name, Size: 3})
	}
	return all
}

// lister is a server whose share's listing is what pages says, and whose files
// all contain "abc".
func lister(ps ...page) peer {
	return func(req request, w *bufio.Writer) error {
		switch req.Op {
		case opStat:
			return writeMessage(w, reply{ID: req.ID, Entry: &Entry{Dir: true}})
		case opList:
			return pages(w, req, ps...)
		case opTree:
			err := writeMessage(w, reply{ID: req.ID, Body: true})
			for _, p := range ps {
				raw, _ := json.Marshal(p) // plain data
				err = errors.Join(err, writeUnit(w, raw))
				for _, e := range p.Entries {
					if e.Size == 3 {
						err = errors.Join(err, writeUnit(w, []byte(data("abc"))))
					}
				}
			}
			return errors.Join(err, writeTrailer(w, trailer{}))
		}
		h := chunk.SumOf([]byte("abc"))
		return errors.Join(writeMessage(w, reply{ID: req.ID, Body: true, Entry: &Entry{Size: 3}}),
			writeUnit(w, []byte(data("abc"))), writeTrailer(w, trailer{Hash: &h}))
	}
}

// paths is everything below dir.
func paths(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all[1:]
}

func TestHonestLister(t *testing.T) {
	dest := t.TempDir()
	c := lister(page{Entries: []Entry{{Name: "d", Dir: true}, {Name: "f", Size: 3}}}, page{Dir: "d", Entries: files("g")}).client(t)
	if _, err := c.Get(t.Context(), "", dest, Options{}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(paths(t, dest)); got != "[/d /d/g /f]" {
		t.Errorf("got %s", got)
	}
}

func TestLyingListings(t *testing.T) {
	dir := func(name string) []Entry { return []Entry{{Name: name, Dir: true}} }
	var deep []page
	for at := ""; len(at) < 5000; at = join(at, strings.Repeat("d", 200)) {
		deep = append(deep, page{Dir: at, Entries: dir(strings.Repeat("d", 200))})
	}
	var many []string
	for i := range MaxPage + 1 {
		many = append(many, fmt.Sprintf("%04d", i))
	}
	cases := map[string][]page{
		"no pages":             {},
		"not the directory":    {{Dir: "x"}},
		"outside":              {{}, {Dir: "../../etc", Entries: files("passwd")}},
		"never announced":      {{Entries: dir("a")}, {Dir: "b"}},
		"a file's":             {{Entries: files("a")}, {Dir: "a"}},
		"missing below":        {{Entries: dir("a")}},
		"twice":                {{Entries: dir("a")}, {Dir: "a"}, {Dir: ""}},
		"out of order":         {{Entries: files("b", "a")}},
		"same name twice":      {{Entries: files("a", "a")}},
		"out of order on next": {{Entries: files("b")}, {Entries: files("a")}},
		"negative size":        {{Entries: []Entry{{Name: "a", Size: -1}}}},
		"negative count":       {{Skipped: -1}},
		"long page":            {{Entries: files(many...)}},
		"bottomless":           deep,
	}
	for _, name := range badNames {
		if !utf8.ValidString(name) {
			continue // can't be said in JSON
		}
		cases[fmt.Sprintf("name %q", name)] = []page{{Entries: files(name)}}
		cases[fmt.Sprintf("folder %q", name)] = []page{{Entries: dir(name)}, {Dir: name, Entries: files("x")}}
	}
	for name, ps := range cases {
		for _, into := range []string{"nothing", "something"} {
			t.Run(name+" into "+into, func(t *testing.T) {
				around := t.TempDir()
				dest := filepath.Join(around, "a", "b")
				if into == "something" {
					grow(t, dest, "mine")
				}
				c := lister(ps...).client(t)
				_, err := c.Get(t.Context(), "", dest, Options{Force: true})
				if k := session.KindOf(err); k != session.Integrity && k != session.Invalid {
					t.Errorf("Get = %v", err)
				}
				for _, path := range paths(t, around) {
					if path != "/a" && path != "/a/b" && !strings.HasPrefix(path, "/a/b/") {
						t.Errorf("made %s", path)
					}
				}
			})
		}
	}
}

func TestEndlessListing(t *testing.T) {
	c := peer(func(req request, w *bufio.Writer) error {
		if err := writeMessage(w, reply{ID: req.ID, Body: true}); err != nil {
			return err
		}
		raw, _ := json.Marshal(page{}) // a page costs as much as an entry
		for {
			if err := writeUnit(w, raw); err != nil {
				return err
			}
		}
	}).client(t)
	if _, _, err := c.List(t.Context(), ""); session.KindOf(err) != session.TooLarge {
		t.Errorf("List = %v", err)
	}
}

// A listing of a million is read in little memory.
func TestLongListing(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a million entries")
	}
	const all = MaxEntries - 2*MaxEntries/MaxPage // each page counts as one
	c := peer(func(req request, w *bufio.Writer) error {
		err := writeMessage(w, reply{ID: req.ID, Body: true})
		for i := 0; i < all; i += MaxPage {
			p := page{}
			for n := i; n < min(i+MaxPage, all); n++ {
				p.Entries = append(p.Entries, Entry{Name: fmt.Sprintf("a file with a name that is %09d", n), Size: 1})
			}
			raw, _ := json.Marshal(p) // plain data
			err = errors.Join(err, writeUnit(w, raw))
		}
		return errors.Join(err, writeTrailer(w, trailer{}))
	}).client(t)
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most, n, last := inUse(), uint64(0), 0, ""
	err := c.Pages(t.Context(), "", false, func(p Page) error {
		n += len(p.Entries)
		if last = p.Entries[len(p.Entries)-1].Name; n%(100*MaxPage) == 0 {
			most = max(most, inUse())
		}
		return p.Err
	})
	if err != nil || n != all || last != fmt.Sprintf("a file with a name that is %09d", all-1) {
		t.Errorf("%d entries up to %q, %v", n, last, err)
	}
	if most > before+16<<20 {
		t.Errorf("%d MiB are in use", (most-before)>>20)
	}
}

func TestLyingFiles(t *testing.T) {
	abc := chunk.SumOf([]byte("abc"))
	send := func(w *bufio.Writer, rep reply, tr trailer, blocks ...string) error {
		err := writeMessage(w, rep)
		for _, p := range blocks {
			err = errors.Join(err, writeUnit(w, []byte(p)))
		}
		return errors.Join(err, writeTrailer(w, tr))
	}
	file := &Entry{Name: "x", Size: 3}
	for name, answer := range map[string]func(id uint64, w *bufio.Writer) error{
		"wrong content": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file}, trailer{Hash: &abc}, data("abd"))
		},
		"too much": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file}, trailer{Hash: &abc}, data("abc"), "d")
		},
		"too little": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file}, trailer{Hash: &abc}, data("ab"))
		},
		"size and hash disagree": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: &Entry{Size: 4}}, trailer{Hash: &abc}, data("abc"))
		},
		"no hash": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file}, trailer{}, data("abc"))
		},
		"no entry": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true}, trailer{Hash: &abc}, data("abc"))
		},
		"a folder": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: &Entry{Dir: true}}, trailer{Hash: &abc}, data("abc"))
		},
		"negative size": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: &Entry{Size: -3}}, trailer{Hash: &abc})
		},
		"other part": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file, Offset: 1}, trailer{Hash: &abc}, data("bc"))
		},
		"no body":      func(id uint64, w *bufio.Writer) error { return writeMessage(w, reply{ID: id, Entry: file}) },
		"same unasked": func(id uint64, w *bufio.Writer) error { return writeMessage(w, reply{ID: id, Entry: file, Same: true}) },
		"other id": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id + 1, Body: true, Entry: file}, trailer{Hash: &abc}, data("abc"))
		},
		"huge block": func(id uint64, w *bufio.Writer) error {
			return send(w, reply{ID: id, Body: true, Entry: file}, trailer{Hash: &abc}, strings.Repeat("x", MaxBlock+1))
		},
		"huge message": func(_ uint64, w *bufio.Writer) error { return writeUnit(w, make([]byte, MaxMessage+1)) },
		"not JSON":     func(_ uint64, w *bufio.Writer) error { return writeUnit(w, []byte("{")) },
		"negative hash": func(id uint64, w *bufio.Writer) error {
			return writeUnit(w, fmt.Appendf(nil, `{"id":%d,"hash":"zz"}`, id))
		},
		"ends": func(uint64, *bufio.Writer) error { return io.EOF },
		"ends in midway": func(id uint64, w *bufio.Writer) error {
			return errors.Join(writeMessage(w, reply{ID: id, Body: true, Entry: file}), writeUnit(w, []byte("a")), w.Flush(), io.EOF)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dest := t.TempDir()
			c := peer(func(req request, w *bufio.Writer) error {
				if req.Op == opStat {
					return writeMessage(w, reply{ID: req.ID, Entry: file})
				}
				return answer(req.ID, w)
			}).client(t)
			want := []session.Kind{session.Integrity, session.Invalid, session.Unavailable}
			var out bytes.Buffer
			_, err := c.Get(t.Context(), "x", filepath.Join(dest, "x"), Options{})
			_, err2 := c.Read(t.Context(), "x", &out, Options{})
			for _, err := range []error{err, err2} {
				if k := session.KindOf(err); err == nil || k != want[0] && k != want[1] && k != want[2] {
					t.Errorf("got %v", err)
				}
			}
			if got := paths(t, dest); len(got) != 0 {
				t.Errorf("left %v", got)
			}
			if out.Len() > 4 {
				t.Errorf("Read wrote %d bytes of a file of 3", out.Len())
			}
		})
	}
}

// raw is a client that a test writes by hand.
type raw struct {
	t    testing.TB
	st   session.Stream
	r    *bufio.Reader
	w    *bufio.Writer
	last uint64
	peer session.Session
}

// attack opens a stream to a server of dir.
func attack(t testing.TB, dir, action string, exec bool) *raw {
	t.Helper()
	return attackShare(t, Share{Dir: dir, Executables: exec}, action)
}

func attackShare(t testing.TB, sh Share, action string) *raw {
	t.Helper()
	service := New()
	sh.Name = "docs"
	if err := service.Add(sh); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	return (&raw{t: t, peer: s}).beside(action)
}

// beside opens another stream to the same server.
func (c *raw) beside(action string) *raw {
	c.t.Helper()
	st, err := c.peer.Open(c.t.Context(), session.Header{Service: Name, Resource: "docs", Action: action})
	if err != nil {
		c.t.Fatal(err)
	}
	return &raw{t: c.t, st: st, r: bufio.NewReader(st), w: bufio.NewWriter(st), peer: c.peer}
}

// ask sends a request, with a body if tr is not nil, and reads the reply
// without its body.
func (c *raw) ask(req request, tr *trailer, blocks ...string) reply {
	c.t.Helper()
	c.last++
	req.ID, req.Body = c.last, tr != nil
	err := writeMessage(c.w, req)
	if tr != nil {
		for _, p := range blocks {
			err = errors.Join(err, writeUnit(c.w, []byte(p)))
		}
		err = errors.Join(err, writeTrailer(c.w, *tr))
	}
	if err := errors.Join(err, c.w.Flush()); err != nil {
		c.t.Fatal(err)
	}
	var rep reply
	if err := readMessage(c.r, &rep); err != nil {
		c.t.Fatal(err)
	}
	if rep.ID != req.ID {
		c.t.Fatalf("reply %d to request %d", rep.ID, req.ID)
	}
	if rep.Body {
		if _, err := (&body{r: c.r}).finish(); err != nil {
			c.t.Fatal(err)
		}
	}
	return rep
}

func kind(rep reply) session.Kind { return session.KindOf(rep.Error.err("")) }

func putABC(path string) request {
	return request{Op: opPut, Path: path, Size: 3}
}

func TestHostilePaths(t *testing.T) {
	around := t.TempDir()
	dir := filepath.Join(around, "share")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(around, "a"), []byte("secret"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := attack(t, dir, Write, false)
	for _, name := range badNames {
		if name == "" || !utf8.ValidString(name) {
			continue // the share itself; can't be said in JSON
		}
		for what, req := range operations(name) {
			if rep := c.try(req); kind(rep) != session.Invalid {
				t.Errorf("%s %q: %+v", what, name, rep)
			}
		}
		if rep := attack(t, dir, Read, false).try(request{Op: opWatch, Path: name, Recursive: true}); kind(rep) != session.Invalid {
			t.Errorf("watch %q: %+v", name, rep)
		}
	}
	for _, path := range paths(t, around) {
		if path != "/a" && path != "/share" {
			t.Errorf("made %s", path)
		}
	}
}

func TestHostilePuts(t *testing.T) {
	dir := t.TempDir()
	c := attack(t, dir, Write, false)
	abc := putABC("x")
	whole := trailer{Hash: new(chunk.SumOf([]byte("abc")))}
	with := func(f func(*request)) request { r := abc; f(&r); return r }
	for name, a := range map[string]struct {
		req    request
		tr     trailer
		blocks []string
		kind   session.Kind
	}{
		"other content":          {abc, whole, []string{data("abd")}, session.Integrity},
		"too much":               {abc, whole, []string{data("ab"), data("cd")}, session.Integrity},
		"far too much":           {abc, whole, []string{data(strings.Repeat("x", maxChunk)), data(strings.Repeat("x", maxChunk))}, session.Integrity},
		"too little":             {abc, whole, []string{data("ab")}, session.Integrity},
		"size and hash disagree": {with(func(r *request) { r.Size = 4 }), whole, []string{data("abc")}, session.Integrity},
		"abandoned":              {abc, trailer{Error: &wireError{Kind: "changed", Text: "gone"}}, []string{data("abc")}, session.Changed},
		"no hash":                {abc, trailer{}, []string{data("abc")}, session.Integrity},
		"other name":             {abc, whole, []string{data("abd")[:1+chunk.SumSize] + data("abc")[1+chunk.SumSize:]}, session.Integrity},
		"not zstd":               {abc, whole, []string{data("abc")[:1+chunk.SumSize] + "\x01abc"}, session.Integrity},
		"bomb":                   {abc, whole, []string{packed(make([]byte, 8<<20))}, session.Integrity},
		"larger bomb":            {request{Op: opPut, Path: "x", Size: -1}, whole, []string{packed(make([]byte, chunk.MaxSize+1))}, session.Integrity},
		"endless hole":           {abc, whole, []string{string(item{kind: itemZeros, length: maxFile}.append(nil))}, session.Integrity},
		"copies of nothing":      {abc, whole, []string{string(item{kind: itemCopy, length: 3}.append(nil))}, session.NotFound},
		"huge":                   {with(func(r *request) { r.Size = maxFile + 1 }), whole, nil, session.TooLarge},
		"negative size":          {with(func(r *request) { r.Size = -2 }), whole, []string{data("abc")}, session.Invalid},
		"negative offset":        {with(func(r *request) { r.Offset = -1 }), whole, []string{data("abc")}, session.Invalid},
		"offset too far":         {with(func(r *request) { r.Offset = 4 }), whole, nil, session.Invalid},
		"offset not kept":        {with(func(r *request) { r.Offset = 2 }), whole, []string{data("c")}, session.Changed},
		"unknown, no hash":       {request{Op: opPut, Path: "x", Size: -1}, trailer{}, []string{data("abc")}, session.Integrity},
		"unknown, bad hash":      {request{Op: opPut, Path: "x", Size: -1}, trailer{Hash: &chunk.Sum{}}, []string{data("abc")}, session.Integrity},
		"the share itself":       {putABC(""), whole, []string{data("abc")}, session.Invalid},
		"unknown operation":      {request{Op: "format", Path: "x"}, trailer{}, []string{"abc"}, session.Unsupported},
		"body not expected":      {request{Op: opStat, Path: "y"}, trailer{}, []string{"abc"}, session.NotFound},
	} {
		if rep := c.ask(a.req, &a.tr, a.blocks...); kind(rep) != a.kind || rep.Error == nil {
			t.Errorf("%s: %+v, %+v", name, rep, rep.Error)
		}
		if got := paths(t, dir); len(got) > 1 || len(got) == 1 && got[0] != "/"+partialDir {
			t.Errorf("%s left %v", name, got)
		}
	}
	if rep := c.ask(request{Op: opPut, Path: "x"}, nil); kind(rep) != session.Invalid {
		t.Errorf("put without a body: %+v", rep)
	}
	// After all that the conversation still works.
	if rep := c.ask(abc, &whole, data("abc")); rep.Error != nil || rep.Entry == nil || rep.Entry.Size != 3 {
		t.Errorf("honest put: %+v", rep)
	}
}

func TestReadingStreamsRefuseChanges(t *testing.T) {
	dir := t.TempDir()
	c := attack(t, dir, Read, false)
	abc := putABC("x")
	for _, rep := range []reply{
		c.ask(abc, &trailer{}, "abc"), c.ask(request{Op: opMkdir, Path: "d"}, nil), c.ask(request{Op: opCheck, Path: "x", Size: 3}, nil),
	} {
		if kind(rep) != session.Denied {
			t.Errorf("reply %+v", rep)
		}
	}
	if got := paths(t, dir); len(got) != 0 {
		t.Errorf("made %v", got)
	}
}

func TestActions(t *testing.T) {
	for _, action := range []string{"", "READ", "admin"} {
		c := attack(t, t.TempDir(), action, false)
		if _, err := c.r.ReadByte(); session.KindOf(err) != session.Invalid {
			t.Errorf("action %q: %v", action, err)
		}
	}
}

func TestBrokenRequestsEndTheStream(t *testing.T) {
	for name, in := range map[string]string{
		"huge": "\xff\xff\xff\xff", "not JSON": unit("["), "huge block": unit(`{"id":1,"op":"put","path":"x","size":-1,"body":true}`) + "\x7f\xff\xff\xff",
	} {
		c := attack(t, t.TempDir(), Write, false)
		if _, err := io.WriteString(c.st, in); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, c.r); session.KindOf(err) != session.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPushesAreHeld puts what was not in an accepted list.
func TestPushesAreHeld(t *testing.T) {
	dir := t.TempDir()
	service := New()
	asked := 0
	if err := service.Add(Share{Name: "docs", Dir: dir, Executables: true, Ask: func(context.Context, Push) error { asked++; return nil }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Close() })
	s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
	st, err := s.Open(t.Context(), session.Header{Service: Name, Resource: "docs", Action: Write})
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{t: t, st: st, r: bufio.NewReader(st), w: bufio.NewWriter(st)}
	whole := trailer{Hash: new(chunk.SumOf([]byte("abc")))}
	if rep := c.ask(putABC("x"), &whole, data("abc")); kind(rep) != session.Denied {
		t.Errorf("before any push: %+v", rep)
	}
	if rep := c.ask(request{Op: opStat}, nil); !rep.Asks {
		t.Errorf("stat: %+v", rep)
	}
	list, err := json.Marshal(page{Entries: []Entry{{Name: "d", Dir: true}, {Name: "x", Size: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, blocks := range map[string][]string{
		"no pages": nil, "cut short": {string(list)}, "not a page": {"[]"}, "outside": {`{"dir":"","entries":[{"name":"../x","size":3}]}`},
	} {
		if rep := c.ask(request{Op: opPush}, &trailer{}, blocks...); rep.Error == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if rep := c.ask(request{Op: opPush}, &trailer{}, string(list), `{"dir":"d"}`); rep.Error != nil || asked != 1 {
		t.Errorf("push: %+v, asked %d times", rep.Error, asked)
	}
	larger := putABC("x")
	larger.Size = 4
	unknown := putABC("x")
	unknown.Size = -1
	exec := putABC("x")
	exec.Exec = true
	for name, req := range map[string]request{"other path": putABC("y"), "a folder": putABC("d"), "other size": larger, "no size": unknown, "executable": exec} {
		if rep := c.ask(req, &whole, data("abc")); kind(rep) != session.Denied {
			t.Errorf("%s: %+v", name, rep)
		}
	}
	if rep := c.ask(request{Op: opMkdir, Path: "e"}, nil); kind(rep) != session.Denied {
		t.Errorf("mkdir: %+v", rep)
	}
	if rep := c.ask(putABC("x"), &whole, data("abc")); rep.Error != nil {
		t.Errorf("what was accepted: %+v", rep.Error)
	}
	if rep := c.ask(request{Op: opMkdir, Path: "d"}, nil); rep.Error != nil {
		t.Errorf("what was accepted: %+v", rep.Error)
	}
}
