package tuitest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/session"
	"tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/theme"
)

var update = flag.Bool("update-golden", false, "rewrite the golden renders")

// Dark is the dark theme of goldens.
func Dark() theme.Theme {
	return theme.New(theme.Options{Name: theme.Dark, Profile: termenv.ANSI256})
}

// Light is the light theme of goldens.
func Light() theme.Theme {
	return theme.New(theme.Options{Name: theme.Light, Profile: termenv.ANSI256})
}

// None is the theme without colours.
func None() theme.Theme { return theme.New(theme.Options{Name: theme.None}) }

// Env is an Env over a backend; what pages Run lasts at most as long as the test.
func Env(t testing.TB, b page.Backend, look theme.Theme) page.Env {
	t.Helper()
	return page.Env{
		Backend: b, Theme: look, Keys: theme.DefaultKeys(), Now: Now(), State: State(t, b), Transfers: background.NewTransfers(background.FolderCopier(b)), Forwards: background.NewForwards(b),
		Demo: func(context.Context) (page.Demo, error) {
			return nil, session.Errorf("demo", session.Unavailable, "there is none in tests")
		},
		Run: func(work func(context.Context) tea.Msg) tea.Cmd {
			return func() tea.Msg { return work(t.Context()) }
		},
	}
}

// State is what the backend says at this moment.
func State(t testing.TB, b page.Backend) page.State {
	t.Helper()
	s := page.State{At: Now()}
	var errs [4]error
	s.Self, errs[0] = b.Self(t.Context())
	s.Peers, errs[1] = b.Peers(t.Context())
	s.Shares, errs[2] = b.Shares(t.Context())
	s.Requests, errs[3] = b.Requests(t.Context())
	s.Err = errs[0]
	return s
}

// Page renders a page as in windows of 60x15, 80x24 and 160x48, less the three
// lines around it, and compares with testdata/golden/NAME-WxH.txt; with its styles,
// in each theme, at 80x24 only. In windows too small for anything it must not panic. `go test -run TestX -update-golden` rewrites them.
func Page(t *testing.T, name string, fresh func(look theme.Theme) page.Page) {
	t.Helper()
	render := func(look theme.Theme, width, height int) string {
		p := fresh(look)
		p.SetSize(width, height-3)
		view := p.View()
		Fits(t, view, width, height-3)
		return view
	}
	for _, s := range [][2]int{{60, 15}, {80, 24}, {160, 48}} {
		Golden(t, fmt.Sprintf("%s-%dx%d", name, s[0], s[1]), ansi.Strip(render(Dark(), s[0], s[1])))
	}
	Golden(t, name+"-dark", render(Dark(), 80, 24))
	Golden(t, name+"-light", render(Light(), 80, 24))
	Golden(t, name+"-none", render(None(), 80, 24))
	// A page may be asked before it has been told a size, and in the smallest window.
	small := fresh(Dark())
	_ = small.View()
	for size := range 8 {
		small.SetSize(size, size)
		_ = small.View()
	}
}

// Fits fails if a view is not exactly as large as it must be.
func Fits(t testing.TB, view string, width, height int) {
	t.Helper()
	lines := strings.Split(view, "\n")
	if len(lines) != height {
		t.Errorf("the view has %d lines, want %d:\n%s", len(lines), height, view)
	}
	for i, l := range lines {
		if w := ansi.StringWidth(l); w != width {
			t.Errorf("line %d has %d columns, want %d: %q", i, w, width, l)
		}
	}
}

// Golden compares text with testdata/golden/NAME.txt. Escapes are written as ␛,
// and blanks at the ends of lines are left out.
func Golden(t testing.TB, name, text string) {
	t.Helper()
	lines := strings.Split(strings.ReplaceAll(text, "\x1b", "␛"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	text = strings.Join(lines, "\n") + "\n"
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s differs (-update-golden rewrites it); got\n%s\nwant\n%s", path, text, want)
	}
}
