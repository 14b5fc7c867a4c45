//go:build linux

package terminal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tty is the terminal that the pane shows, for a viewer to sit at.
func (p *pane) tty() TTY {
	p.t.Helper()
	f, err := os.OpenFile(strings.TrimSpace(p.tmux("display-message", "-p", "#{pane_tty}")), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = f.Close() })
	return TTY{In: f, Out: f}
}

// screen is what the pane shows now, and where its cursor is.
func (p *pane) screen() string {
	p.t.Helper()
	cursor, capture, _ := strings.Cut(p.tmux("display-message", "-p", "#{cursor_x},#{cursor_y} alternate #{alternate_on}", ";", "capture-pane", "-e", "-p"), "\n")
	return cursor + "\n" + looks(capture)
}

// TestResizeStorm: a program in a terminal of ours, in a pane of tmux whose size
// changes wildly, looks in the end as it does in a pane of its own that has gone
// through the same; to whoever was there, and to who comes later.
func TestResizeStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for programs to pause")
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("some words that make a long line ", 400)+"\nand a short one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What else is printed on the main screen may end up higher or lower: terminals
	// differ in what they bring back from history.
	for _, argv := range [][]string{
		{"vim", "-n", "-u", "NONE", "-N", "+syntax on", "+set number ruler", text},
		{"less", "-R", text},
		{"less", "-S", "-N", text},
		{"sh", "-c", "cat " + text + "; printf 'end of it'; exec sleep 1000"},
	} {
		t.Run(argv[0]+argv[1], func(t *testing.T) {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Skipf("%s is not installed", argv[0])
			}
			t.Parallel()
			// Of its own, in tmux.
			alone := newPane(t, size80)
			alone.tmux("respawn-pane", "-k", "env TERM=screen-256color LC_ALL=C.UTF-8 "+quoted(argv))
			// In a terminal of ours, which somebody looks at in tmux.
			shared := newPane(t, size80)
			shared.tmux("respawn-pane", "-k", "exec sleep 1000")
			service, guest := share(t, Config{Argv: argv, Env: []string{"LC_ALL=C.UTF-8"}})
			sit(t, shared, guest.Open, Request{Params: Params{Term: "screen-256color"}})
			both := []*pane{alone, shared}
			same(t, both)

			random := rand.New(rand.NewPCG(1, 2))
			for range 60 {
				size := Size{Cols: 10 + uint16(random.IntN(150)), Rows: 3 + uint16(random.IntN(60))}
				for _, p := range both {
					p.resize(size)
				}
				_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH) // which the viewer would get, were it a process
				time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
			}
			last := Size{Cols: 100, Rows: 30}
			for _, p := range both {
				p.resize(last)
			}
			eventually(t, "the program has the size", func() bool {
				_ = syscall.Kill(os.Getpid(), syscall.SIGWINCH) // tmux passes sizes on with a delay
				return service.Terminals()[0].Size == last
			})
			same(t, both)

			late := newPane(t, last)
			late.tmux("respawn-pane", "-k", "exec sleep 1000")
			sit(t, late, guest.Open, Request{Right: View})
			same(t, []*pane{alone, late})
		})
	}
}

func quoted(argv []string) string {
	var b strings.Builder
	for _, a := range argv {
		fmt.Fprintf(&b, "'%s' ", strings.ReplaceAll(a, "'", `'\''`))
	}
	return b.String()
}

// sit has somebody watch a terminal in a pane.
func sit(t *testing.T, p *pane, open Opener, r Request) {
	t.Helper()
	tty := p.tty()
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = Run(ctx, open, r, tty, Options{})
	}()
	t.Cleanup(func() {
		leave()
		<-left
	})
}

// same waits until panes show the same, and go on doing so.
func same(t *testing.T, panes []*pane) {
	t.Helper()
	var want, got, before string
	quiet := 0
	defer func() {
		if t.Failed() {
			t.Logf("by itself:\n%s\nshared:\n%s", want, got)
		}
	}()
	eventually(t, "the same", func() bool {
		want, got = panes[0].screen(), panes[1].screen()
		if quiet++; want != got || want != before || len(strings.Fields(want)) < 10 {
			quiet, before = 0, want
		}
		return quiet >= 10
	})
}
