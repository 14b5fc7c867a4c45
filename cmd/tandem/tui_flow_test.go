//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tandem/internal/natlab"
)

// windows are the windows of two people in one tmux, driven by keys and looked at
// by what they show.
type windows struct {
	t      *testing.T
	tmux   string
	socket string
	// pictures is where windows are drawn for the README, or "".
	pictures string
	people   []*person
}

// person is somebody's window.
type person struct {
	*windows
	name, home, binary string
}

// theTUI is how long a window may take to show what it should, on any machine.
const theTUI = 90 * time.Second

func newWindows(t *testing.T) *windows {
	t.Helper()
	tmux, err := exec.LookPath("tmux")
	if err != nil {
		t.Skip("needs tmux")
	}
	dir, err := os.MkdirTemp("/tmp", "tui") // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	w := &windows{t: t, tmux: tmux, socket: filepath.Join(dir, "tmux"), pictures: os.Getenv("TANDEM_PICTURES")}
	t.Cleanup(func() {
		_ = w.command("kill-server").Run() // there may be none any more
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *windows) command(arguments ...string) *exec.Cmd {
	cmd := exec.Command(w.tmux, append([]string{"-f", "/dev/null", "-S", w.socket}, arguments...)...)
	cmd.Env = append(os.Environ(), "TMUX=", "LANG=C.UTF-8", "TERM=xterm-256color")
	return cmd
}

func (w *windows) do(arguments ...string) string {
	w.t.Helper()
	out, err := w.command(arguments...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("tmux %q: %v\n%s", arguments, err, out)
	}
	return string(out)
}

// open opens a shell for somebody, in a folder of theirs, and tandem in it. Where
// says how the shell is run: on this machine, or in a host of the lab.
func (w *windows) open(name, home, binary string, where []string, env ...string) *person {
	w.t.Helper()
	p := &person{windows: w, name: name, home: home, binary: binary}
	w.people = append(w.people, p)
	for _, dir := range []string{"home", "files"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	env = append(env, "HOME="+home, "TANDEM_HOME="+filepath.Join(home, "home"), "TANDEM_NAME="+name, "SHELL=/bin/sh", "PS1=$ ", "ENV=",
		"LANG=C.UTF-8", "CI=", "TMUX=")
	shell := append(append(append([]string{}, where...), "env"), append(env, "sh")...)
	session := append([]string{"new-session", "-d", "-s", name, "-x", "100", "-y", "30", "-c", filepath.Join(home, "files")}, shell...)
	w.do(session...)
	p.wait("$")
	p.typed(binary + "; echo tandem ended with $?\n")
	return p
}

// shows is what the window shows.
func (p *person) shows() string {
	p.t.Helper()
	return p.do("capture-pane", "-p", "-t", p.name)
}

// wait waits until the window shows all of texts at once.
func (p *person) wait(texts ...string) {
	p.t.Helper()
	p.until(strings.Join(texts, ", "), func() bool {
		shown := p.shows()
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				return false
			}
		}
		return true
	})
}

func (p *person) until(what string, ok func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(theTUI); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, other := range p.people {
				p.t.Logf("%s sees\n%s", other.name, other.shows())
			}
			p.t.Fatalf("%s waited for %q", p.name, what)
		}
	}
}

// press presses keys by tmux's names; typed types text.
func (p *person) press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do("send-keys", "-t", p.name, key)
	}
}

// escape leaves something that the window shows. What follows at once would be taken
// for a key with alt.
func (p *person) escape(from string) {
	p.t.Helper()
	p.press("Escape")
	p.until("no "+from, func() bool { return !strings.Contains(p.shows(), from) })
}

func (p *person) typed(text string) {
	p.t.Helper()
	p.do("send-keys", "-t", p.name, "-l", text)
}

// file waits until a file has that content.
func (p *person) file(path, content string) {
	p.t.Helper()
	p.until(path, func() bool {
		got, err := os.ReadFile(path)
		return err == nil && string(got) == content
	})
}

// picture keeps what the window shows, for the README.
func (p *person) picture(name string) {
	p.t.Helper()
	if p.pictures == "" {
		return
	}
	var shown bytes.Buffer
	for line := range strings.SplitSeq(p.shows(), "\n") {
		fmt.Fprintln(&shown, strings.TrimRight(line, " "))
	}
	if err := os.WriteFile(filepath.Join(p.pictures, name+".txt"), shown.Bytes(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) write(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.home, "files", name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// TestTUISession is the first story: a session started, joined, approved, used and
// ended in two terminal UIs.
func TestTUISession(t *testing.T) {
	w := newWindows(t)
	binary, err := exec.LookPath("tandem")
	if err != nil {
		t.Fatal(err)
	}
	server := "TANDEM_SERVERS=" + serve(t)["SERVER"]
	homes := filepath.Dir(w.socket) // control sockets need short paths too
	alice := w.open("alice", filepath.Join(homes, "alice"), binary, nil, server)
	bob := w.open("bob", filepath.Join(homes, "bob"), binary, nil, server)
	sessionBetween(t, alice, bob)
}

// TestLabTUISession is the same between two homes behind NATs.
func TestLabTUISession(t *testing.T) {
	l := newLab(t)
	w := newWindows(t)
	wan := l.WAN(natlab.Link{Delay: 25 * time.Millisecond})
	server := l.server(t, wan.Host("server"), nil)
	var people []*person
	for _, name := range []string{"alice", "bob"} {
		d := l.device(t, wan.NAT(natlab.Home).Host(name), name)
		enter := d.host.Command(context.Background(), "true").Args
		people = append(people, w.open(name, d.home, l.binary, enter[:len(enter)-1], "TANDEM_SERVERS="+server.url, "TANDEM_INSECURE=1"))
	}
	sessionBetween(t, people[0], people[1])
}

var aCode = regexp.MustCompile(`tandem join (\d+-\w+-\w+-\w+)`)

func sessionBetween(t *testing.T, alice, bob *person) {
	alice.write("plan.txt", "a plan of alice's\n")
	bob.write("notes.txt", "notes of bob's\n")

	// Alice starts a session: a terminal, and a folder that guests may change.
	alice.wait("Nobody is here yet.", "alice", "1 server")
	alice.picture("home")
	alice.press("n")
	alice.wait("What do you share?")
	alice.press("Tab", "Tab", "Tab", "Tab")
	alice.typed(".")
	alice.press("Tab", "Space")
	alice.wait("--write --terminal")
	alice.picture("new-session")
	alice.press("Enter")
	alice.wait("tandem join ", "Nobody has come yet.")
	alice.picture("invite")
	code := aCode.FindStringSubmatch(alice.shows())
	if code == nil {
		t.Fatalf("no code in\n%s", alice.shows())
	}

	// Bob joins with the code; both see the same words.
	bob.wait("Nobody is here yet.", "bob")
	bob.press("j")
	bob.wait("Join a session")
	bob.typed(code[1])
	bob.press("Enter")
	bob.wait("Met the host", "your words")
	bob.picture("join")
	alice.wait(`calling themselves "bob" asks to join`, "A allow for this session")
	alice.picture("approval")
	_, words, _ := strings.Cut(bob.shows(), "your words")
	first, _, _ := strings.Cut(strings.TrimSpace(words), "\n")
	alice.wait(strings.TrimSpace(first))
	alice.press("A")
	alice.wait("1 guest here", "bob is here")
	bob.wait("offers", "folder files (read and change)")
	bob.picture("peer")

	// They type into one terminal.
	bob.press("t")
	bob.wait("you type")
	bob.typed("echo $((6*7))-from-bob\n")
	bob.wait("42-from-bob")
	alice.press("w")
	alice.wait("42-from-bob", "1 other here")
	alice.picture("terminal")

	// Alice takes the keys from Bob, who can then only watch.
	alice.press("C-]")
	alice.wait("a command?")
	alice.press("w")
	alice.wait("Who is here", "bob")
	alice.press("o") // Bob was there first
	bob.wait("only watch")
	bob.typed("never\n")
	alice.escape("Who is here")
	alice.typed("echo $((3*5))-from-alice\n")
	bob.wait("15-from-alice")
	if strings.Contains(alice.shows(), "never") {
		t.Errorf("what a watcher typed is there:\n%s", alice.shows())
	}

	// Bob copies a file each way.
	bob.wait("not sent: you watch only")
	bob.press("C-]")
	bob.wait("a command?")
	bob.press("q")
	bob.wait("offers")
	bob.press("f")
	bob.wait("files/", "notes.txt")
	bob.press("Enter")
	bob.wait("plan.txt")
	bob.press("c")
	bob.file(filepath.Join(bob.home, "files", "plan.txt"), "a plan of alice's\n")
	bob.wait("2 entries")
	bob.picture("files")
	bob.press("Tab", "Home") // to the other side: notes.txt
	bob.press("c")
	bob.file(filepath.Join(alice.home, "files", "notes.txt"), "notes of bob's\n")

	// Alice sends Bob away, reads what happened, and ends the session.
	alice.press("C-]")
	alice.wait("a command?")
	alice.press("q")
	alice.wait("send away")
	alice.press("K")
	alice.wait("K once more")
	alice.press("K")
	alice.wait("0 guests here")
	alice.escape("0 guests here")
	alice.wait("Sessions (1)")
	alice.press("v")
	alice.wait("approved", "folder files write", "everything it was granted")
	alice.picture("activity")
	alice.escape("everything it was granted")
	alice.press("q")
	alice.wait("Quit?")
	alice.press("Y")
	alice.wait("tandem ended with 0")
	bob.press("C-c")
	bob.wait("tandem ended with 0")

	// A signal gives the terminal back as it was: with what was there, and echoing.
	bob.typed("clear; sh -c 'echo $$ >pid; exec " + bob.binary + "'; echo tandem ended with $?\n")
	bob.wait("Home", "Known peers (1)")
	raw, err := os.ReadFile(filepath.Join(bob.home, "files", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	bob.wait("tandem ended with 130")
	bob.typed("echo $((4*11)) again\n")
	bob.wait("$ echo $((4*11)) again", "44 again")
	if strings.Contains(bob.shows(), "Known peers") {
		t.Errorf("the window was left behind:\n%s", bob.shows())
	}
}
