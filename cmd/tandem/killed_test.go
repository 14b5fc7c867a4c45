//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tandem/share/node"
	"tandem/signaling/server"
)

// TestKilledAtAnyMoment copies a tree over an older version of itself, there and back in turns, and
// kills one of the processes at a random moment of it: the one that copies, the guest's node, or
// the host's. At all times each file is there, as it was or as it will be, and nothing else is;
// the same command run again completes the copy and leaves nothing of its own behind.
// TANDEM_ROUNDS is how often.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills many processes")
	}
	k := newKilled(t)
	for round := range scaled(t, "TANDEM_ROUNDS", 6) {
		way, victim := []string{"get", "put"}[round%2], []string{"copying", "joined", "sharing"}[round/2%3]
		if t.Run(fmt.Sprintf("%d %s, %s", round, way, victim), func(t *testing.T) { k.round(t, way, victim) }); t.Failed() {
			return
		}
	}
}

// killed are two devices that have a copy of the same tree each.
type killed struct {
	t               *testing.T          // whose end is the nodes'
	env             map[string][]string // of a device's programs
	here, there     string              // the guest's tree, and the host's
	sharing, joined *program
	peer            string
	version         uint64
	usual           time.Duration // that a copy takes
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	many := server.Rate{PerSecond: 1000, Burst: 1000}
	s := server.New(server.Config{Limits: server.Limits{
		Connects: many, Plates: many, Guesses: many, Relays: many, MessagesPerIP: server.Rate{PerSecond: 1e5, Burst: 1e5},
	}})
	t.Cleanup(func() { _ = s.Close() })
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	dir, err := os.MkdirTemp("/tmp", "tk") // control sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	k := &killed{t: t, env: map[string][]string{}, here: filepath.Join(dir, "here", "tree"), there: filepath.Join(dir, "there", "tree")}
	for _, name := range []string{"host", "guest"} {
		home := filepath.Join(dir, name)
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		k.env[name] = append(os.Environ(), "HOME="+home, "TANDEM_HOME="+home, "TANDEM_NAME="+name, "TANDEM_SERVERS="+web.URL, "TERM=dumb")
	}
	k.write(t, k.here)
	k.write(t, k.there)
	k.share(t)
	k.join(t)
	return k
}

func (k *killed) start(t *testing.T, device string, args ...string) *program {
	t.Helper()
	cmd := exec.Command("tandem", args...)
	cmd.Env = k.env[device]
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return background(t, "tandem "+args[0]+" of the "+device, cmd)
}

func (k *killed) share(t *testing.T) {
	t.Helper()
	k.sharing = k.start(k.t, "host", "share", k.there, "--write", "--approve", "always", "--uses", "100", "--json")
}

func (k *killed) join(t *testing.T) {
	t.Helper()
	k.joined = k.start(k.t, "guest", "join", k.sharing.event(t, node.EventInvite).Code, "--json")
	k.peer = k.joined.event(t, node.EventJoined).Peer.ID.String()
}

// killedFiles are the sizes of the files of the tree: many that are sent without a question, one that
// goes on where it stopped, and one of which most is the same in each version.
func killedFiles() map[string]int {
	files := map[string]int{"large": 4 << 20, "sub/same": 2 << 20}
	for i := range 60 {
		files[fmt.Sprintf("sub/small-%02d", i)] = 100 + 60*i
	}
	return files
}

// killedContent is what a file of the tree is in a version: it begins with the version, and each of its
// bytes but those of "same" depends on it.
func killedContent(name string, size int, version uint64) []byte {
	var seed [32]byte
	copy(seed[8:], filepath.Base(name))
	if filepath.Base(name) != "same" {
		binary.BigEndian.PutUint64(seed[:], version)
	}
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	binary.BigEndian.PutUint64(b, version)
	return b
}

// write makes dir the tree in its present version.
func (k *killed) write(t *testing.T, dir string) {
	t.Helper()
	when := time.Unix(1e9+int64(k.version), 0)
	for name, size := range killedFiles() {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, killedContent(name, size, k.version), 0o644), os.Chtimes(path, when, when)); err != nil {
			t.Fatal(err)
		}
	}
}

// round copies the next version one way.
func (k *killed) round(t *testing.T, way, victim string) {
	k.version++
	from, to := k.there, k.here
	if way == "put" {
		from, to = to, from
	}
	k.write(t, from)
	copying := func() *program {
		if way == "put" {
			return k.start(t, "guest", "put", "--overwrite", "always", k.here+"/", k.peer+":tree")
		}
		return k.start(t, "guest", "get", "--overwrite", "always", k.peer+":tree", filepath.Dir(k.here))
	}
	watching, stop := make(chan struct{}), make(chan struct{})
	go func() { // as somebody who has the files open does
		defer close(watching)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				k.check(t, to, false)
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-watching })
	defer end()

	began, first := time.Now(), copying()
	moment := time.NewTimer(rand.N(k.usual*5/4 + time.Millisecond))
	defer moment.Stop()
	select {
	case <-first.ended:
	case <-moment.C:
	}
	t.Logf("%s is killed after %v", victim, time.Since(began).Round(time.Millisecond))
	switch victim {
	case "copying":
		first.kill()
	case "joined":
		k.joined.kill()
		first.stop(t)
		k.join(t)
	case "sharing":
		k.sharing.kill()
		first.stop(t)
		k.joined.kill()
		k.share(t)
		k.join(t)
	}
	began = time.Now()
	again := copying()
	if err := again.wait(t, hangs); err != nil {
		t.Errorf("the second copy: %v\n%s", err, again.log)
	}
	if took := time.Since(began); k.usual == 0 || took < k.usual {
		k.usual = took
	}
	end()
	k.check(t, to, true)
}

// check wants every file of the tree in dir as it is in the present version or, unless it is complete,
// was in the one before, and nothing else.
func (k *killed) check(t *testing.T, dir string, complete bool) {
	t.Helper()
	files := killedFiles()
	for name, size := range files {
		got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		switch {
		case err != nil:
			t.Error(err)
		case len(got) < 8:
			t.Errorf("%s has %d bytes", name, len(got))
		default:
			version := binary.BigEndian.Uint64(got)
			if version != k.version && (complete || version != k.version-1) {
				t.Errorf("%s is of version %s in version %d", name, hex.EncodeToString(got[:8]), k.version)
			} else if !bytes.Equal(got, killedContent(name, size, version)) {
				t.Errorf("%s is torn", name)
			}
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path) // it is below
		switch {
		case errors.Is(err, fs.ErrNotExist) && !complete:
			return nil // one of ours that has just gone
		case err != nil:
			return err
		case name == ".tandem-partial" && !complete:
			return fs.SkipDir
		case !d.IsDir() && files[filepath.ToSlash(name)] == 0, strings.HasPrefix(filepath.Base(name), ".tandem"):
			t.Errorf("there is %s", name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
