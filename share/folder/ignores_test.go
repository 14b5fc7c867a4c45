package folder

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tandem/session"
)

// ignoring writes patterns for a directory.
func ignoring(t testing.TB, dir string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, ignoreFile), []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
}

// Files of ignored names count in each directory, and the one further down before the
// one above.
func TestIgnoresInFolders(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "a.log", "a.txt", "sub/a.log", "sub/keep.log", "sub/deep/keep.log", "sub/deep/a.tmp", "other/a.tmp", "gone/keep.log", "mine")
	ignoring(t, dir, "*.log", "gone/")
	ignoring(t, filepath.Join(dir, "sub"), "!keep.log", "/deep/*.tmp")
	ignoring(t, filepath.Join(dir, "gone"), "!*")
	c := attackShare(t, Share{Dir: dir}, Write)
	want := []string{"a.txt", "mine", "other", "other/a.tmp", "sub", "sub/deep", "sub/deep/keep.log", "sub/keep.log"}
	if got := c.listed(""); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("listed %q", got)
	}
	before := paths(t, dir)
	for _, path := range []string{"sub/.tandemignore", "sub/deep/.tandemignore", "sub/deep/.TANDEMIGNORE", "sub/deep/a.tmp", "sub/a.log", "gone/keep.log", "gone"} {
		for name, req := range operations(path) {
			if rep := c.try(req); rep.Error == nil {
				t.Errorf("%s %s: %+v", name, path, rep)
			}
		}
	}
	// What holds such a file can't go, nor be made to hold one.
	for _, req := range []request{
		{Op: opRemove, Path: "sub"}, {Op: opMove, Path: "sub", To: "new"}, {Op: opMove, Path: "mine", To: "other/.tandemignore"},
	} {
		if rep := c.try(req); kind(rep) != session.Denied {
			t.Errorf("%s %s: %+v", req.Op, req.Path, rep)
		}
	}
	if after := paths(t, dir); !slices.Equal(before, after) {
		t.Errorf("there was %v, and now %v", before, after)
	}
	dest := t.TempDir()
	if sum, err := NewClient(c.peer, "docs").Get(t.Context(), "", dest, Options{}); err != nil || sum.Files != 5 || sum.Skipped != 0 {
		t.Errorf("%+v, %v: %q", sum, err, paths(t, dest))
	}
}

// A broken one hides what is in its directory, and nothing else.
func TestBrokenIgnoresInFolder(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"not a pattern": func(path string) error { return os.WriteFile(path, []byte("x\n["), 0o666) },
		"too long":      func(path string) error { return os.Truncate(path, maxIgnoreFile+1) },
		"many":          func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("x\n", 20_000)), 0o666) },
		"a folder":      func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o777)) },
		"a link":        func(path string) error { return errors.Join(os.Remove(path), os.Symlink("../y", path)) },
	} {
		dir := t.TempDir()
		grow(t, dir, "d/x", "d/e/x", "y", "d/"+ignoreFile)
		if err := spoil(filepath.Join(dir, "d", ignoreFile)); err != nil {
			t.Fatal(err)
		}
		c := attackShare(t, Share{Dir: dir}, Write)
		for _, path := range []string{"d/x", "d/e", "d/e/x"} {
			for op, req := range operations(path) {
				if rep := c.try(req); rep.Error == nil || op == "stat" && kind(rep) != session.Internal {
					t.Errorf("%s, %s %s: %+v", name, op, path, rep)
				}
			}
		}
		if rep := c.try(request{Op: opStat, Path: "y"}); rep.Error != nil {
			t.Errorf("%s: %+v", name, rep.Error)
		}
	}
}

// Random patterns in random directories hide what git ignores.
func TestIgnoresAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	var all []string
	dirs := []string{""}
	for _, a := range []string{"a", "b", "c"} {
		dirs = append(dirs, a)
		for _, b := range []string{"a", "b", "d"} {
			dirs = append(dirs, a+"/"+b)
			for _, c := range []string{"a", "c", "ab"} {
				all = append(all, a+"/"+b+"/"+c)
			}
		}
		all = append(all, a+"/ab")
	}
	grow(t, dir, all...)
	git := func(in string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", dir, "-c", "core.ignoreCase=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 { // nothing is ignored
			t.Fatal(err)
		}
		return string(out)
	}
	git("", "init", "-q")
	bits := []string{"a", "b", "c", "*", "?", "**", "[ab]", "a*"}
	for round := range 40 {
		tr, err := openTree(dir, false)
		if err != nil {
			t.Fatal(err)
		}
		if tr.rules, err = newRules(tr.root, nil); err != nil {
			t.Fatal(err)
		}
		said := map[string]string{}
		for _, d := range dirs {
			ours, theirs := filepath.Join(dir, d, ignoreFile), filepath.Join(dir, d, ".gitignore")
			text := ""
			for range r.IntN(3) * r.IntN(2) {
				for i := range 1 + r.IntN(2) {
					text += []string{"", "!"}[r.IntN(2)*(1-min(i, 1))] + []string{"/", ""}[r.IntN(2)]
					text += bits[r.IntN(len(bits))]
				}
				text += []string{"", "/"}[r.IntN(2)] + "\n"
			}
			said[d] = text
			if err := errors.Join(os.WriteFile(ours, []byte(text), 0o600), os.WriteFile(theirs, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		clear(tr.rules.known) // they have changed
		theirs := strings.Split(git(strings.Join(all, "\n")+"\n", "check-ignore", "--no-index", "--stdin"), "\n")
		for _, path := range all {
			_, err := tr.stat(path)
			if hidden := err != nil; hidden != slices.Contains(theirs, path) {
				t.Errorf("round %d, %q: %s is hidden: %v, %v", round, said, path, hidden, err)
			}
		}
		if err := tr.close(); err != nil {
			t.Error(err)
		}
	}
}

// However many directories have patterns, few are remembered.
func TestIgnoresStaySmall(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	lines := slices.Repeat([]string{"x*"}, 9000)
	for i := range 30 {
		grow(t, dir, fmt.Sprintf("%d/y", i))
		ignoring(t, filepath.Join(dir, fmt.Sprint(i)), lines...)
	}
	r, err := newRules(root, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxIgnores {
		if a, _, err := r.access(fmt.Sprintf("%d/y", i), false); a != Writable || err != nil {
			t.Fatal(a, err)
		}
		if len(r.known) > maxIgnores || r.count > maxIgnored+len(lines) {
			t.Fatalf("%d directories and %d patterns", len(r.known), r.count)
		}
	}
}

// What is hidden in the midst of a watch is told to be gone.
func TestIgnoresWhileWatched(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, "d/e/secret", "d/e/other")
	w := attackShare(t, Share{Dir: dir}, Read)
	told := errors.New("told")
	begun := func() { ignoring(t, filepath.Join(dir, "d"), "secret") }
	err := NewClient(w.peer, "docs").Watch(t.Context(), "", true, begun, func(changes []Change) error {
		for _, ch := range changes {
			if ch.Path == "d/e/secret" && ch.Kind == Removed {
				return told
			}
		}
		return nil
	})
	if !errors.Is(err, told) {
		t.Error(err)
	}
}
