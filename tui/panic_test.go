//go:build unix

package tui

import (
	"context"
	"fmt"
	"io"
	"os"
	program "os/exec"
	"testing"
	"time"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/creack/pty"
	"golang.org/x/term"

	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// faulty is a page with a fault in its Update, its View or its Cmd.
type faulty struct {
	env   page.Env
	fault string
	view  bool
}

func (f *faulty) Init() tea.Cmd { return nil }

func (f *faulty) Update(msg tea.Msg) (page.Page, tea.Cmd) {
	if _, ok := msg.(tea.KeyMsg); !ok {
		return f, nil
	}
	switch f.fault {
	case "Update":
		panic("a fault in Update")
	case "View":
		f.view = true
	case "Cmd":
		return f, f.env.Run(func(context.Context) tea.Msg { panic("a fault in Cmd") })
	}
	return f, nil
}

func (f *faulty) View() string {
	if f.view {
		panic("a fault in View")
	}
	return "a page with a fault"
}

func (f *faulty) SetSize(int, int)    {}
func (f *faulty) Title() string       { return "Faulty" }
func (f *faulty) Keys() []key.Binding { return nil }

const faultVariable = "TANDEM_TUI_FAULT"

// TestFaultyPage runs in a process of its own, for TestPanic.
func TestFaultyPage(t *testing.T) {
	fault := os.Getenv(faultVariable)
	if fault == "" {
		t.Skip("for TestPanic")
	}
	err := Run(t.Context(), Config{
		Backend: tuitest.Busy(), Theme: theme.Options{}, Keys: theme.DefaultKeys(), In: os.Stdin, Out: os.Stdout,
		First: func(env page.Env) page.Page { return &faulty{env: env, fault: fault} },
	})
	fmt.Printf("it said: %v\n", err)
	os.Exit(3)
}

// A fault of ours gives the terminal back, and says where it is.
func TestPanic(t *testing.T) {
	for _, fault := range []string{"Update", "View", "Cmd"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			cmd := program.Command(os.Args[0], "-test.run=^TestFaultyPage$")
			cmd.Env = append(os.Environ(), faultVariable+"="+fault)
			master, seat, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			if err := pty.Setsize(master, &pty.Winsize{Cols: 120, Rows: 200}); err != nil {
				t.Fatal(err)
			}
			before, err := term.GetState(int(seat.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdin, cmd.Stdout, cmd.Stderr = seat, seat, seat
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			display := tuitest.NewDisplay(120, 200)
			read := make(chan struct{})
			go func() {
				defer close(read)
				_, _ = io.Copy(display, master) // ends when the other end is closed
			}()
			for deadline := time.Now().Add(time.Minute); !display.Shows("a page with a fault"); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("it shows %q", display.Lines())
				}
			}
			if _, err := io.WriteString(master, "x"); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			after, err := term.GetState(int(seat.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if err := seat.Close(); err != nil {
				t.Fatal(err)
			}
			<-read
			if code := cmd.ProcessState.ExitCode(); code != 3 || !display.Shows("a fault in "+fault, "panic_test.go", "it said: ", "the terminal UI has failed") {
				t.Errorf("exit code %d; it shows %q", code, display.Lines())
			}
			if taken := display.Taken(); len(taken) > 0 || *before != *after {
				t.Errorf("it keeps %q; the terminal was %+v and is %+v", taken, before, after)
			}
		})
	}
}
