package share

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFoldName(t *testing.T) {
	for _, same := range [][]string{
		{"README", "readme", "ReadMe"},
		{"caf\u00e9", "cafe\u0301", "CAFE\u0301", "CAF\u00c9"},
		{"straße", "STRASSE", "strasse"},
		{"\u212aelvin", "kelvin"}, // the sign for the unit
		{"\u1e9b\u0323", "\u1e69"},
		{".tandem\u200c", ".tandem", ".\ufefftandem"},
	} {
		for _, name := range same {
			if got, want := FoldName(name), FoldName(same[0]); got != want {
				t.Errorf("%+q becomes %+q, and %+q becomes %+q", name, got, same[0], want)
			}
		}
	}
	for _, different := range [][2]string{{"a", "b"}, {"cafe", "caf\u00e9"}, {"a b", "ab"}} {
		if FoldName(different[0]) == FoldName(different[1]) {
			t.Errorf("%q and %q are told apart everywhere", different[0], different[1])
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		dir, want     bool
	}{
		{"*.o", "a.o", false, true},
		{"*.o", "src/a.o", false, true},
		{"*.o", "a.o/b", false, false}, // what is above it is matched by itself
		{"/*.o", "src/a.o", false, false},
		{"/*.o", "a.o", false, true},
		{"build/", "build", false, false},
		{"build/", "src/build", true, true},
		{"src/build", "src/build", true, true},
		{"src/build", "x/src/build", true, false},
		{"**/a/b", "a/x/a/b", false, true},
		{"**/a/b", "a/b", false, true},
		{"a/**/b", "a/b", false, true},
		{"a/**/b", "a/x/y/b", false, true},
		{"a/**", "a", true, false},
		{"a/**", "a/x/y", false, true},
		{"**", "a/x/y", false, true},
		{"/**", "a", false, true},
		{".*", ".env", false, true},
		{".*", "src/.git", true, true},
		{"[!a]x", "bx", false, true},
		{"[!a]x", "ax", false, false},
		{`\[!a]x`, "[!a]x", false, true},
		{`\#x`, "#x", false, true},
		{`\!x`, "!x", false, true},
		{`x\ `, "x ", false, true},
		{"x  ", "x", false, true},
		{"x\r\n", "x", false, true},
	} {
		p, ok, err := ParsePattern(c.pattern)
		if err != nil || !ok {
			t.Errorf("%q: %v, %v", c.pattern, ok, err)
		}
		if p.Match(c.path, c.dir) != c.want {
			t.Errorf("%q on %q: want %v", c.pattern, c.path, c.want)
		}
	}
	for _, line := range []string{"", "  ", "# x", "#"} {
		if _, ok, err := ParsePattern(line); ok || err != nil {
			t.Errorf("%q names something: %v", line, err)
		}
	}
	for _, line := range []string{"[", "a/[", `a\`, `a\/b`, "[[:alpha:]]", "/", "!", "a//b", strings.Repeat("a/", maxParts) + "b", strings.Repeat("x", maxPattern+1)} {
		if _, ok, err := ParsePattern(line); ok || err == nil {
			t.Errorf("%q is a pattern", line)
		}
	}
	if _, err := ParsePatterns("a\n\n[\n"); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Error(err)
	}
	if _, err := ParsePatterns(strings.Repeat("a\n", MaxPatterns+1)); err == nil {
		t.Error("without an end")
	}
}

// ignored walks down to a path as git does.
func ignored(ps Patterns, path string, dir bool) bool {
	for i := range path {
		if path[i] != '/' {
			continue
		}
		if above, _ := ps.Says(path[:i], true); above {
			return true
		}
	}
	itself, _ := ps.Says(path, dir)
	return itself
}

// Random patterns on a random tree ignore what git ignores.
func TestPatternsAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	dirs, paths := grow(t, dir, r)
	git := func(input string, args ...string) string {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "core.ignoreCase=false"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
		cmd.Stdin = strings.NewReader(input)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 { // nothing is ignored
			t.Fatal(err, complaints.String())
		}
		return string(out)
	}
	git("", "init", "-q")
	bits := []string{"a", "b", "c", "*", "?", "**", "[ab]", "[!a]", "a*", "*c", ".a", ".*", `\a`}
	for round := range 60 {
		var lines []string
		for range 1 + r.IntN(4) {
			line := ""
			if r.IntN(4) == 0 {
				line = "!"
			}
			if r.IntN(3) == 0 {
				line += "/"
			}
			for i := range 1 + r.IntN(3) {
				if i > 0 {
					line += "/"
				}
				line += bits[r.IntN(len(bits))]
			}
			if r.IntN(4) == 0 {
				line += "/"
			}
			lines = append(lines, line)
		}
		text := strings.Join(lines, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ps, err := ParsePatterns(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		theirs := strings.Split(git(strings.Join(paths, "\n")+"\n", "check-ignore", "--no-index", "--stdin"), "\n")
		for _, path := range paths {
			if ours := ignored(ps, path, dirs[path]); ours != slices.Contains(theirs, path) {
				t.Errorf("round %d, %q: %s (dir %v) is ignored: %v", round, text, path, dirs[path], ours)
			}
		}
	}
}

// grow makes a tree of files and directories with few different names.
func grow(t *testing.T, dir string, r *rand.Rand) (dirs map[string]bool, paths []string) {
	t.Helper()
	names := []string{"a", "b", "c", "ab", "bc", ".a"}
	dirs = make(map[string]bool)
	level := []string{""}
	for depth := range 4 {
		var next []string
		for _, at := range level {
			for _, name := range names {
				path := strings.TrimPrefix(at+"/"+name, "/")
				switch r.IntN(2 + depth) {
				case 0:
					dirs[path] = true
					next = append(next, path)
					if err := os.Mkdir(filepath.Join(dir, path), 0o700); err != nil {
						t.Fatal(err)
					}
				case 1:
					if err := os.WriteFile(filepath.Join(dir, path), nil, 0o600); err != nil {
						t.Fatal(err)
					}
				default:
					continue
				}
				paths = append(paths, path)
			}
		}
		level = next
	}
	if len(paths) < 50 {
		t.Fatal(fmt.Sprint("only ", paths))
	}
	return dirs, paths
}

// A peer words the paths, and an owner may have many a pattern.
func TestLongPathsAreQuick(t *testing.T) {
	p, _, err := ParsePattern(strings.Repeat("**/a/", 20) + "b")
	if err != nil {
		t.Fatal(err)
	}
	if long := strings.Repeat("a/", 2000); p.Match(long+"c", false) || !p.Match(long+"b", false) { // or until the test's time is over
		t.Error("matches something else")
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("**/a/*.[ch]", "x/a/y.c")
	f.Add("!/build/", "build")
	f.Add(`\[!a]`, "[!a]")
	f.Fuzz(func(t *testing.T, line, path string) {
		p, ok, err := ParsePattern(line)
		if err != nil || !ok {
			return
		}
		p.Match(path, true)
		if p.Match(path, false) && !p.Match(path, true) {
			t.Errorf("%q matches the file %q and not the directory", line, path)
		}
		if fold := FoldName(path); FoldName(fold) != fold {
			t.Errorf("%+q folds to %+q and then to %+q", path, fold, FoldName(fold))
		}
	})
}
