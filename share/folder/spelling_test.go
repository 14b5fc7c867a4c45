package folder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"tandem/session"
)

// Names that some file system takes for one are refused, not overwritten.
func TestSpellings(t *testing.T) {
	for _, pair := range [][2]string{
		{"README", "readme"},
		{"caf\u00e9", "cafe\u0301"},
		{"CAF\u00c9", "cafe\u0301"},
		{"straße", "STRASSE"},
		{"a\u200cb", "ab"},
	} {
		t.Run(fmt.Sprintf("%+q", pair), func(t *testing.T) {
			dir := t.TempDir()
			there, other := pair[0], pair[1]
			grow(t, dir, there, "d/"+there+"/x", "mine", "mydir/")
			c := attack(t, dir, Write, false)
			forced := putABC(other)
			forced.Force = true
			before := c.listed("")
			for _, req := range []request{
				putABC(other), forced,
				{Op: opMkdir, Path: other},
				{Op: opMkdir, Path: other + "/below"},
				{Op: opMkdir, Path: "d/" + other + "/new"},
				{Op: opMove, Path: "mine", To: other, Force: true},
				{Op: opMove, Path: "mydir", To: "d/" + other},
			} {
				if rep := c.try(req); kind(rep) != session.Exists || session.Hint(rep.Error.err("put")) != spelledHint(there) {
					t.Errorf("%s %s %s: %+v", req.Op, req.Path, req.To, rep)
				}
			}
			if after := c.listed(""); !slices.Equal(before, after) {
				t.Errorf("there was %q, and now %q", before, after)
			}
			again := putABC(there)
			again.Force = true
			for _, req := range []request{
				again,                                    // itself
				{Op: opMove, Path: there, To: other},     // another spelling of itself
				{Op: opMove, Path: other, To: "new"},     // nothing is in the way any more
				putABC(there),                            // of the first
				{Op: opMkdir, Path: "d/" + there + "/y"}, // what is there already
				{Op: opRemove, Path: "d/" + there},
				{Op: opMkdir, Path: "d/" + other},
			} {
				if rep := c.try(req); rep.Error != nil {
					t.Errorf("%s %s %s: %+v", req.Op, req.Path, req.To, rep.Error)
				}
			}
			// Whoever has the folder may have both; then both can be used.
			grow(t, dir, other)
			for _, name := range pair {
				req := putABC(name)
				req.Force = true
				if rep := c.try(req); rep.Error != nil {
					t.Errorf("put %+q beside the other: %+v", name, rep.Error)
				}
			}
		})
	}
}

// Of several that come at once, one has the name.
func TestSpellingsAtOnce(t *testing.T) {
	dir := t.TempDir()
	tr, err := openTree(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.close()
	if tr.rules, err = newRules(tr.root, nil); err != nil {
		t.Fatal(err)
	}
	const rounds = 200
	for round := range rounds {
		var made sync.WaitGroup
		begin := make(chan struct{})
		for i := range 16 {
			name := []byte("some name")
			for bit := range 4 {
				if i&(1<<bit) != 0 {
					name[bit] -= 'a' - 'A'
				}
			}
			made.Go(func() {
				<-begin
				if err := tr.mkdir(fmt.Sprintf("%s %d", name, round)); err != nil && session.KindOf(err) != session.Exists {
					t.Error(err)
				}
			})
		}
		close(begin)
		made.Wait()
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != rounds {
		t.Errorf("%d names, %v", len(names), err)
	}
}

// Of a directory with more names than are remembered, all count.
func TestManySpellings(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 65,537 files")
	}
	dir := t.TempDir()
	for i := range maxSpellings + 1 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("File-%d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := attack(t, dir, Write, false)
	for _, name := range []string{"file-0", "FILE-40000", "file-65536"} {
		if rep := c.try(putABC(name)); kind(rep) != session.Exists {
			t.Errorf("%s: %+v", name, rep)
		}
	}
	if rep := c.try(putABC("file-65537")); rep.Error != nil {
		t.Errorf("%+v", rep.Error)
	}
}
