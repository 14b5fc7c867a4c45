package mount_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tandem/session/sessiontest"
	"tandem/share/folder"
	"tandem/share/folder/mount"
)

// A process that serves a mount must not use it: while it starts a program or
// collects garbage, nobody would answer. So this binary runs once more, as the
// server, and the tests are its user.
const serverVariable = "TANDEM_TEST_MOUNT"

func TestMain(m *testing.M) {
	if at := os.Getenv(serverVariable); at != "" {
		os.Exit(serve(filepath.SplitList(at)))
	}
	goleak.VerifyTestMain(m)
}

// serve mounts what it offers itself until standard input ends; a line there
// cuts the session. It exits with 3 where there is no FUSE.
func serve(args []string) int {
	dir, at, readOnly := args[0], args[1], args[2] == "true"
	service := folder.New()
	if err := service.Add(folder.Share{Name: "docs", Dir: dir, Executables: true}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	testing.Init()
	testing.Main(func(_, _ string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "Serve", F: func(t *testing.T) {
		s, _ := sessiontest.Pair(t, nil, sessiontest.Serve(service))
		tree := mount.New(folder.NewClient(s, "docs"), "", readOnly)
		m, err := mount.Mount(tree, at, "tandem:docs")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		fmt.Println("ready")
		if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
			_ = s.Close()
			fmt.Println("cut")
			_, _ = io.Copy(io.Discard, os.Stdin)
		}
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
		tree.Close()
	}}}, nil, nil)
	return 0
}

// mounted mounts dir from another process, and returns where.
func mounted(t *testing.T, dir string, readOnly bool) string {
	t.Helper()
	at, _ := mountedOver(t, dir, readOnly)
	return at
}

// mountedOver also returns what cuts the session.
func mountedOver(t *testing.T, dir string, readOnly bool) (string, func()) {
	t.Helper()
	at := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverVariable+"="+strings.Join([]string{dir, at, fmt.Sprint(readOnly)}, ":"))
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		err := cmd.Wait()
		if cmd.ProcessState.ExitCode() == 3 {
			t.Skip("no FUSE here: ", complaints.String())
		}
		t.Fatal(err, complaints.String())
	}
	t.Cleanup(func() {
		_ = in.Close()
		hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		_, _ = io.Copy(io.Discard, lines)
		if err := cmd.Wait(); err != nil {
			t.Error(err, complaints.String())
		}
	})
	return at, func() {
		_, _ = io.WriteString(in, "cut\n")
		_, _ = lines.ReadString('\n')
	}
}

func put(t *testing.T, path string, p []byte) {
	t.Helper()
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Error(err)
	}
}

func has(t *testing.T, path string, want []byte) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, not %d: %v", filepath.Base(path), len(got), len(want), err)
	}
}

func noise(n int, seed uint64) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(p) // never fails
	return p
}

func TestReadAndWrite(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "theirs"), noise(5<<20+7, 1))
	at := mounted(t, dir, false)
	has(t, filepath.Join(at, "theirs"), noise(5<<20+7, 1))
	for _, n := range []int{0, 1, 4096, 3<<20 + 1} {
		name := fmt.Sprint("file", n)
		put(t, filepath.Join(at, name), noise(n, 2))
		has(t, filepath.Join(dir, name), noise(n, 2))
		has(t, filepath.Join(at, name), noise(n, 2))
	}
	// In the middle, and at the end.
	f, err := os.OpenFile(filepath.Join(at, "file4096"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("middle"), 100); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte("end"), 5000); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	want := append(noise(4096, 2), make([]byte, 5003-4096)...)
	copy(want[100:], "middle")
	copy(want[5000:], "end")
	has(t, filepath.Join(dir, "file4096"), want)
	if err := os.Truncate(filepath.Join(at, "file4096"), 50); err != nil {
		t.Error(err)
	}
	has(t, filepath.Join(dir, "file4096"), want[:50])
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	at := mounted(t, dir, false)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(os.MkdirAll(filepath.Join(at, "a", "b"), 0o700))
	put(t, filepath.Join(at, "a", "b", "file"), []byte("x"))
	must(os.Rename(filepath.Join(at, "a", "b", "file"), filepath.Join(at, "moved")))
	has(t, filepath.Join(dir, "moved"), []byte("x"))
	put(t, filepath.Join(at, "other"), []byte("y"))
	must(os.Rename(filepath.Join(at, "other"), filepath.Join(at, "moved")))
	has(t, filepath.Join(dir, "moved"), []byte("y"))
	put(t, filepath.Join(at, "other"), []byte("z")) // the old name, and another file
	has(t, filepath.Join(dir, "moved"), []byte("y"))
	has(t, filepath.Join(dir, "other"), []byte("z"))
	if err := os.Remove(filepath.Join(at, "a")); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Error("a folder with something in it: ", err)
	}
	must(os.RemoveAll(filepath.Join(at, "a")))
	if _, err := os.OpenFile(filepath.Join(at, "moved"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); !errors.Is(err, os.ErrExist) {
		t.Error("made twice: ", err)
	}
	if _, err := os.Stat(filepath.Join(at, "nul")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a name that nothing can have: ", err)
	}
	if err := os.WriteFile(filepath.Join(at, "a:b"), nil, 0o600); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrNotExist) {
		t.Error("a name that can't travel: ", err)
	}
	when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(os.Chtimes(filepath.Join(at, "moved"), when, when))
	must(os.Chmod(filepath.Join(at, "moved"), 0o755))
	info, err := os.Stat(filepath.Join(dir, "moved"))
	if err != nil || !info.ModTime().Equal(when) || info.Mode()&0o100 == 0 {
		t.Error(info, err)
	}
}

// What is still open when it is removed or renamed, as editors and git do.
func TestOpenWhileItGoes(t *testing.T) {
	dir := t.TempDir()
	at := mounted(t, dir, false)
	f, err := os.Create(filepath.Join(at, "temporary"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half "); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(at, "temporary"), filepath.Join(at, "final")); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteString("and half"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	has(t, filepath.Join(dir, "final"), []byte("half and half"))
	if f, err = os.Create(filepath.Join(at, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(at, "gone")); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteString("to nowhere"); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	// Replaced while it is open, and below a folder that moves.
	if f, err = os.Create(filepath.Join(at, "replaced")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("old"); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(at, "final"), filepath.Join(at, "replaced")); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	has(t, filepath.Join(dir, "replaced"), []byte("half and half"))
	if err := os.Mkdir(filepath.Join(at, "d"), 0o700); err != nil {
		t.Error(err)
	}
	if f, err = os.Create(filepath.Join(at, "d", "inside")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("moved along"); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(at, "d"), filepath.Join(at, "e")); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	has(t, filepath.Join(dir, "e", "inside"), []byte("moved along"))
	if err := errors.Join(os.RemoveAll(filepath.Join(at, "e")), os.Rename(filepath.Join(at, "replaced"), filepath.Join(at, "final"))); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return e.Name() == ".tandem-trash" })
	if err != nil || len(entries) != 1 || entries[0].Name() != "final" {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestTheirsGoToTheTrash(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "theirs"), []byte("precious"))
	at := mounted(t, dir, false)
	if err := os.Remove(filepath.Join(at, "theirs")); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, ".tandem-trash", "*", "theirs"))
	if err != nil || len(found) != 1 {
		t.Fatalf("in the trash: %v, %v", found, err)
	}
	has(t, found[0], []byte("precious"))
	if entries, err := os.ReadDir(at); err != nil || len(entries) != 0 {
		t.Errorf("guests see %v, %v", entries, err)
	}
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), []byte("x"))
	at := mounted(t, dir, true)
	has(t, filepath.Join(at, "file"), []byte("x"))
	for what, err := range map[string]error{
		"write": os.WriteFile(filepath.Join(at, "file"), nil, 0o600), "remove": os.Remove(filepath.Join(at, "file")),
		"make": os.Mkdir(filepath.Join(at, "d"), 0o700), "rename": os.Rename(filepath.Join(at, "file"), filepath.Join(at, "x")),
	} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	has(t, filepath.Join(dir, "file"), []byte("x"))
}

// A file that is replaced while it is read is never read as a mixture.
func TestReplacedWhileRead(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), bytes.Repeat([]byte("a"), 8<<20))
	at := mounted(t, dir, false)
	f, err := os.Open(filepath.Join(at, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	p := make([]byte, 1000)
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "new"), bytes.Repeat([]byte("b"), 8<<20))
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "file")); err != nil {
		t.Fatal(err)
	}
	_, err = f.ReadAt(p, 7<<20)
	if err == nil && p[0] == 'a' || !errors.Is(err, syscall.ESTALE) {
		t.Errorf("%q, %v", p[:1], err)
	}
	has(t, filepath.Join(at, "file"), bytes.Repeat([]byte("b"), 8<<20))
}

func TestPeerGone(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "file"), []byte("x"))
	at, cut := mountedOver(t, dir, false)
	f, err := os.Create(filepath.Join(at, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	cut()
	if err := f.Close(); !errors.Is(err, syscall.EIO) {
		t.Error("close: ", err)
	}
	if _, err := os.ReadFile(filepath.Join(at, "file")); !errors.Is(err, syscall.EIO) {
		t.Error("read: ", err)
	}
	if _, err := os.ReadDir(at); !errors.Is(err, syscall.EIO) {
		t.Error("list: ", err)
	}
}

// The programs people use: git, tar and make.
func TestPrograms(t *testing.T) {
	for _, program := range []string{"git", "tar", "make", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	dir, source := t.TempDir(), t.TempDir()
	at := mounted(t, dir, false)
	run := func(script string) {
		t.Helper()
		// Not by cmd.Dir: the child would ask for the directory while this
		// process, which serves it, waits for the child to begin.
		cmd := exec.Command("sh", "-ec", `cd "$AT"; `+script)
		cmd.Env = append(os.Environ(), "HOME="+source, "AT="+at, "SOURCE="+source, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	run(`mkdir "$SOURCE/p" && cd "$SOURCE/p" && git init -q && for i in 1 2 3 4 5 6 7 8; do echo $i >f$i; done &&
		printf 'out: f1 f2\n\tcat f1 f2 >out\n' >Makefile && git add . && git commit -qm one`)
	run(`git clone -q "$SOURCE/p" clone && cd clone && git fsck && test -z "$(git status --porcelain)"`)
	run(`cd clone && make -s && test "$(cat out)" = "$(cat f1 f2)" && make -q`)
	run(`cd clone && echo changed >f3 && git commit -qam two && git checkout -q HEAD^ && test "$(cat f3)" = 3 && git gc -q && git fsck`)
	run(`tar -C clone -cf all.tar . && mkdir unpacked && tar -C unpacked -xf all.tar && diff -r --exclude=.git clone unpacked`)
	if out, err := exec.Command("git", "-C", filepath.Join(dir, "clone"), "-c", "safe.directory=*", "fsck").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if trash, _ := filepath.Glob(filepath.Join(dir, ".tandem-trash", "*")); len(trash) > 40 {
		t.Errorf("%d things are in the trash, though programs made them a moment ago: %s", len(trash), strings.Join(trash[:40], " "))
	}
}

// Random operations through the mount have the effect they have on a local
// folder.
func TestModel(t *testing.T) {
	dir, local := t.TempDir(), t.TempDir()
	at := mounted(t, dir, false)
	r := rand.New(rand.NewPCG(3, 4))
	names := []string{"a", "b", "c", "d/a", "d/b", "e/a"}
	for _, base := range []string{at, local} {
		for _, d := range []string{"d", "e"} {
			if err := os.Mkdir(filepath.Join(base, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for step := range 300 {
		op, name, to := r.IntN(6), names[r.IntN(len(names))], names[r.IntN(len(names))]
		data, offset := noise(r.IntN(5000), r.Uint64()), r.Int64N(6000)
		both := func(f func(base string) (string, error)) {
			t.Helper()
			got, gotErr := f(at)
			want, wantErr := f(local)
			var g, w syscall.Errno
			_, _ = errors.As(gotErr, &g), errors.As(wantErr, &w) // 0 is no error
			if got != want || g != w {
				t.Fatalf("step %d, %d on %s and %s: %d bytes and %v, not %d bytes and %v", step, op, name, to, len(got), gotErr, len(want), wantErr)
			}
		}
		both(func(base string) (string, error) {
			path := filepath.Join(base, name)
			switch op {
			case 0:
				return "", os.WriteFile(path, data, 0o600)
			case 1:
				return "", os.Remove(path)
			case 2:
				return "", os.Rename(path, filepath.Join(base, to))
			case 3:
				f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
				if err != nil {
					return "", err
				}
				_, err = f.WriteAt(data, offset)
				return "", errors.Join(err, f.Close())
			case 4:
				return "", os.Truncate(path, offset)
			default:
				b, err := os.ReadFile(path)
				return string(b), err
			}
		})
	}
	out, err := exec.Command("diff", "-r", "--exclude=.tandem-*", dir, local).CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
