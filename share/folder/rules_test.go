package folder

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/session"
	"tandem/share/chunk"
)

// grow makes files below dir, each containing its own path; a path that ends in
// "/" is a directory.
func grow(t testing.TB, dir string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		at := filepath.Join(dir, filepath.FromSlash(path))
		err := os.MkdirAll(filepath.Dir(at), 0o777)
		if strings.HasSuffix(path, "/") {
			err = errors.Join(err, os.MkdirAll(at, 0o777))
		} else {
			err = errors.Join(err, os.WriteFile(at, []byte(path), 0o666))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listed is every path of a recursive listing of path.
func (c *raw) listed(path string) []string {
	c.t.Helper()
	c.last++
	if err := errors.Join(writeMessage(c.w, request{ID: c.last, Op: opList, Path: path, Recursive: true}), c.w.Flush()); err != nil {
		c.t.Fatal(err)
	}
	var rep reply
	if err := readMessage(c.r, &rep); err != nil || !rep.Body {
		c.t.Fatalf("%+v, %v", rep.Error, err)
	}
	var all []string
	b := &body{r: c.r}
	for {
		raw, err := b.block()
		if errors.Is(err, io.EOF) {
			break
		}
		var p page
		if err := errors.Join(err, json.Unmarshal(raw, &p)); err != nil {
			c.t.Fatal(err)
		}
		if p.Skipped > 0 || p.Error != nil {
			c.t.Errorf("%s: %d skipped, %+v", p.Dir, p.Skipped, p.Error)
		}
		for _, e := range p.Entries {
			all = append(all, join(join(path, p.Dir), e.Name))
		}
	}
	if _, err := b.finish(); err != nil {
		c.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// operations are all there are on one path. A put's body is "abc".
func operations(path string) map[string]request {
	put := putABC(path)
	put.Force = true
	return map[string]request{
		"stat":      {Op: opStat, Path: path},
		"list":      {Op: opList, Path: path},
		"list all":  {Op: opList, Path: path, Recursive: true},
		"tree":      {Op: opTree, Path: path},
		"read":      {Op: opRead, Path: path},
		"fetch":     {Op: opFetch, Path: path},
		"hash":      {Op: opHash, Path: path},
		"check":     {Op: opCheck, Path: path, Size: 3},
		"put":       put,
		"mkdir":     {Op: opMkdir, Path: path},
		"mkdir in":  {Op: opMkdir, Path: path + "/new"},
		"remove":    {Op: opRemove, Path: path},
		"purge":     {Op: opRemove, Path: path, Purge: true},
		"set":       {Op: opSet, Path: path, MTime: 1, Exec: true},
		"move":      {Op: opMove, Path: path, To: "elsewhere"},
		"move here": {Op: opMove, Path: "mine", To: path, Force: true},
		"move in":   {Op: opMove, Path: "mine", To: path + "/mine"},
	}
}

func (c *raw) try(req request) reply {
	c.t.Helper()
	if req.Op == opPut {
		return c.ask(req, &trailer{Hash: new(chunk.SumOf([]byte("abc")))}, data("abc"))
	}
	return c.ask(req, nil)
}

// What the rules hide can't be told from what isn't there, by any operation, nor
// be changed.
func TestHiddenIsNotThere(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "mine", "secret1", "secretdir1/x", "private/x1", "sub/Secret1", "ignored1", "logs/ignored1", ".tandemignore")
	if err := os.WriteFile(filepath.Join(dir, ".tandemignore"), []byte("# theirs\nignored*\n!ignored*.md\nlogs/\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := attackShare(t, Share{Dir: dir, Rules: []Rule{{"secret*", Hidden}, {"/private/", Hidden}, {"private/*", Writable}}}, Write)
	before := paths(t, dir)
	for _, there := range []string{"secret1", "secretdir1", "secretdir1/x", "private/x1", "sub/Secret1", "SECRET1", "ignored1", "IGNORED1", "logs/ignored1"} {
		missing := strings.Replace(there, "1", "2", 1)
		for name, req := range operations(there) {
			got := c.try(req)
			want := c.try(operations(missing)[name])
			if got.Error == nil {
				t.Errorf("%s %s: %+v", name, there, got)
				continue
			}
			g, _ := json.Marshal(got.Error) // plain data
			w, _ := json.Marshal(want.Error)
			if text := strings.ReplaceAll(string(w), missing, there); strings.ReplaceAll(string(g), "1", "") != strings.ReplaceAll(strings.ReplaceAll(text, "1", ""), "2", "") {
				t.Errorf("%s %s: %s, and what isn't there: %s", name, there, g, w)
			}
		}
		w := attackShare(t, Share{Dir: dir, Rules: []Rule{{"secret*", Hidden}, {"/private/", Hidden}}}, Read)
		if rep := w.ask(request{Op: opWatch, Path: there}, nil); kind(rep) != session.NotFound {
			t.Errorf("watch %s: %+v", there, rep)
		}
	}
	for _, req := range operations(".tandemignore") {
		if rep := c.try(req); rep.Error == nil {
			t.Errorf("%s the file of ignored names: %+v", req.Op, rep)
		}
	}
	if got, want := c.listed(""), []string{"mine", "sub"}; !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
	if after := paths(t, dir); !slices.Equal(before, after) {
		t.Errorf("there was %v, and now %v", before, after)
	}
}

func TestReadableIsNotChanged(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "mine", "ro1", "dir/ro2", "dir/mine", "inbox/old", "empty/", "box/x")
	c := attackShare(t, Share{Dir: dir, Rules: []Rule{{"ro*", Readable}, {"/inbox", Readable}, {"/inbox/fresh*", Writable}, {"/kept/x", Readable}}}, Write)
	before := c.listed("")
	for _, path := range []string{"ro1", "dir/ro2", "inbox", "inbox/old", "inbox/other"} {
		for name, req := range operations(path) {
			rep := c.try(req)
			switch name {
			case "stat", "list", "list all", "tree", "read", "fetch", "hash":
				if k := kind(rep); rep.Error != nil && k == session.Denied {
					t.Errorf("%s %s: %+v", name, path, rep.Error)
				}
			case "mkdir":
				if rep.Error == nil && path != "inbox" { // there it is already
					t.Errorf("%s %s: %+v", name, path, rep)
				}
			default:
				if k := kind(rep); k != session.Denied && k != session.NotFound && k != session.Exists && k != session.Invalid {
					t.Errorf("%s %s: %+v", name, path, rep.Error)
				}
			}
		}
	}
	// Nor with what it lies in, nor by another rule elsewhere.
	for _, req := range []request{
		{Op: opRemove, Path: "dir"},
		{Op: opMove, Path: "dir", To: "elsewhere"},
		{Op: opMove, Path: "dir", To: "inbox/fresh"},
		{Op: opMove, Path: "empty", To: "inbox/empty"},
		{Op: opMove, Path: "mine", To: "dir/RO3"},
		{Op: opMove, Path: "box", To: "kept"},
		{Op: opRemove, Path: "ro1"},
	} {
		if rep := c.try(req); kind(rep) != session.Denied {
			t.Errorf("%s %s: %+v", req.Op, req.Path, rep)
		}
	}
	if after := c.listed(""); !slices.Equal(before, after) {
		t.Errorf("there was %v, and now %v", before, after)
	}
	for _, req := range []request{
		putABC("inbox/fresh"),
		{Op: opMkdir, Path: "inbox/fresh2"},
		putABC("inbox/fresh2/x"),
		{Op: opMove, Path: "mine", To: "inbox/fresh2/mine"},
		{Op: opRemove, Path: "inbox/fresh2"},
		{Op: opRemove, Path: "dir/mine"},
	} {
		if rep := c.try(req); rep.Error != nil {
			t.Errorf("%s %s: %+v", req.Op, req.Path, rep.Error)
		}
	}
}

// The rules hold for what comes to be known later, too.
func TestHiddenIsNotWatched(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "d/")
	c := attackShare(t, Share{Dir: dir, Rules: []Rule{{"secret*", Hidden}}}, Read)
	if err := errors.Join(writeMessage(c.w, request{ID: 1, Op: opWatch, Recursive: true}), c.w.Flush()); err != nil {
		t.Fatal(err)
	}
	var rep reply
	if err := readMessage(c.r, &rep); err != nil || !rep.Body {
		t.Fatal(rep, err)
	}
	grow(t, dir, "secret/x", "d/secret", "z")
	b := &body{r: c.r}
	for {
		raw, err := b.block()
		var block changes
		if err := errors.Join(err, json.Unmarshal(raw, &block)); err != nil {
			t.Fatal(err)
		}
		for _, ch := range block.Changes {
			if strings.Contains(ch.Path, "secret") {
				t.Errorf("told of %s", ch.Path)
			}
			if ch.Path == "z" {
				return
			}
		}
	}
}

// While it isn't known what is to be hidden, everything is.
func TestBrokenIgnoreFile(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"not a pattern": func(path string) error { return os.WriteFile(path, []byte("["), 0o666) },
		"too long":      func(path string) error { return os.Truncate(path, maxIgnoreFile+1) },
		"a folder":      func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o777)) },
		"a link":        func(path string) error { return errors.Join(os.Remove(path), os.Symlink("x", path)) },
	} {
		dir := t.TempDir()
		grow(t, dir, "x", ignoreFile)
		path := filepath.Join(dir, ignoreFile)
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		if err := New().Add(Share{Name: "docs", Dir: dir}); err == nil {
			t.Errorf("%s: shared", name)
		}
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("y"), 0o666)); err != nil {
			t.Fatal(err)
		}
		c := attackShare(t, Share{Dir: dir}, Read)
		if rep := c.try(request{Op: opStat, Path: "x"}); rep.Error != nil {
			t.Errorf("%s, before: %+v", name, rep.Error)
		}
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		for c.try(request{Op: opStat, Path: "x"}).Error == nil { // it takes a moment, or the test's time
			continue
		}
		for _, req := range operations("x") {
			if rep := c.try(req); rep.Error == nil {
				t.Errorf("%s, %s: %+v", name, req.Op, rep)
			}
		}
	}
}

func TestBadRules(t *testing.T) {
	for _, r := range []Rule{{"", Hidden}, {"# x", Hidden}, {"!x", Hidden}, {"[", Readable}, {"x", ""}, {"x", "secret"}} {
		if err := New().Add(Share{Name: "docs", Dir: t.TempDir(), Rules: []Rule{r}}); session.KindOf(err) != session.Invalid {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
