package page_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/folder"
	"tandem/share/offers"
	"tandem/tui/background"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// shelf is a background.Folder in memory.
type shelf map[string][]background.Entry

func (s shelf) List(_ context.Context, dir string) ([]background.Entry, int, error) {
	if entries, ok := s[dir]; ok {
		return entries, 2, nil
	}
	return nil, 0, session.Errorf("list", session.NotFound, "there is no folder of that name")
}

func (s shelf) Head(_ context.Context, file string, limit int) ([]byte, error) {
	text := []byte("# " + path.Base(file) + "\n\n\ttext with \x1b[31mescapes\x1b[m and \u202emarks\n" + strings.Repeat("a long line ", 30) + "\n")
	if strings.HasSuffix(file, ".png") {
		img := image.NewNRGBA(image.Rect(0, 0, 64, 32))
		for x := range 64 {
			for y := range 32 {
				img.Set(x, y, color.NRGBA{uint8(4 * x), uint8(8 * y), 128, 255})
			}
		}
		var b bytes.Buffer
		_ = png.Encode(&b, img)
		text = b.Bytes()
	}
	return text[:min(len(text), limit)], nil
}

func (shelf) Mkdir(context.Context, string) error            { return nil }
func (shelf) Move(context.Context, string, string) error     { return nil }
func (shelf) Remove(context.Context, string) (string, error) { return "trash/1", nil }
func (shelf) Join(dir, name string) string                   { return path.Join(dir, name) }
func (shelf) Parent(dir string) (parent, name string) {
	if dir == "" || dir == "/" {
		return dir, ""
	}
	return strings.TrimSuffix(path.Dir(dir), "."), path.Base(dir)
}

func shelves() (here, there shelf) {
	at := tuitest.Now().Add(-48 * time.Hour)
	here = shelf{"/home/ada": {
		{Name: "notes.txt", Size: 1234, Time: at},
		{Name: "src", Dir: true, Time: at},
		{Name: ".hidden", Size: 1, Time: at},
		{Name: "run.sh", Size: 99, Exec: true, Time: at},
		{Name: "link", Other: "link"},
		{Name: "photo.png", Size: 64_000, Time: at},
	}}
	there = shelf{
		"": {{Name: "project", Dir: true}},
		"project": {
			{Name: "a\x1b[2J\x1b]0;owned\x07b.txt", Size: 5, Time: at},
			{Name: "\u202egpj.exe", Size: 5, Time: at},
			{Name: "docs", Dir: true, Time: at},
			{Name: strings.Repeat("very long name ", 12), Size: 123_456_789, Time: at},
			{Name: "世界.md", Size: 10_000, Time: at},
		},
	}
	return here, there
}

func files(t *testing.T, b *tuitest.Backend, look theme.Theme) *page.FilesPage {
	here, there := shelves()
	return page.NewFilesOf(tuitest.Env(t, b, look), anna(), here, "/home/ada", there)
}

func TestFilesGolden(t *testing.T) {
	b := tuitest.Busy()
	enter := tea.KeyMsg{Type: tea.KeyEnter}
	tuitest.Page(t, "files", func(look theme.Theme) page.Page {
		p := tuitest.Settle(t, files(t, b, look), "project", "notes.txt")
		p, cmd := p.Update(enter) // into the share
		p = tuitest.Pump(t, p, cmd, "docs/")
		return press(p, runes(" "), runes(" "))
	})
	tuitest.Page(t, "files-preview", func(look theme.Theme) page.Page {
		p := tuitest.Settle(t, files(t, b, look), "project", "notes.txt")
		p = press(p, tea.KeyMsg{Type: tea.KeyTab}, tea.KeyMsg{Type: tea.KeyDown}, tea.KeyMsg{Type: tea.KeyDown})
		p, cmd := p.Update(runes("v"))
		return tuitest.Pump(t, p, cmd, "a long line")
	})
	tuitest.Page(t, "files-image", func(look theme.Theme) page.Page {
		p := tuitest.Settle(t, files(t, b, look), "project", "notes.txt")
		p = press(p, tea.KeyMsg{Type: tea.KeyTab}, tea.KeyMsg{Type: tea.KeyDown}, tea.KeyMsg{Type: tea.KeyDown}, tea.KeyMsg{Type: tea.KeyDown})
		p, cmd := p.Update(runes("v"))
		return tuitest.Pump(t, p, cmd, "64 by 32 pixels")
	})
	tuitest.Page(t, "files-delete", func(look theme.Theme) page.Page {
		return press(tuitest.Settle(t, files(t, b, look), "project", "notes.txt"), tea.KeyMsg{Type: tea.KeyTab}, runes("D"))
	})
}

// folders is a backend whose peers share a folder, and that folder.
func folders(t *testing.T) (b *tuitest.Backend, dir string) {
	dir = t.TempDir()
	service := folder.New()
	if err := service.Add(folder.Share{Name: "project", Dir: dir}); err != nil {
		t.Fatal(err)
	}
	told := offers.New(func(session.PeerID) []offers.Offer {
		return []offers.Offer{{Service: folder.Name, Resource: "project", Actions: []string{"read", "write"}}}
	})
	_, guest := sessiontest.Pair(t, sessiontest.Serve(service, told), nil)
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	b = tuitest.Busy()
	b.Has.Open = func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
	return b, dir
}

func write(t *testing.T, at, text string) {
	t.Helper()
	if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func content(at string) string {
	b, err := os.ReadFile(at)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestFilesFlow: copy both ways, answer what is in the way, make, rename, move
// and delete, with a real shared folder.
func TestFilesFlow(t *testing.T) {
	b, there := folders(t)
	here := t.TempDir()
	for at, text := range map[string]string{"one.txt": "one", "two.txt": "two", "both.txt": "here"} {
		write(t, filepath.Join(here, at), text)
	}
	write(t, filepath.Join(there, "both.txt"), "there")
	write(t, filepath.Join(there, "theirs.txt"), "theirs")
	env := tuitest.Env(t, b, tuitest.Dark())
	home := t.TempDir()
	env.Seat.Getenv = func(name string) string { return map[string]string{"HOME": home}[name] }
	env.Seat.Dir = here
	w := tuitest.NewWindow(page.NewFiles(env, anna()))
	w.Begin = tea.Batch(page.RunTransfers(env), page.WatchTransfers(env, 0))
	w.Again = func(msg tea.Msg) tea.Cmd {
		if m, ok := msg.(page.Transferred); ok {
			return page.WatchTransfers(env, m.Version)
		}
		return nil
	}
	f := tuitest.Start(t, w, 100, 24)
	f.Wait("one.txt", "project/").Keys("enter").Wait("theirs.txt")

	is := func(at, text string) {
		t.Helper()
		f.Until(at+" is "+text, func() bool { return content(at) == text })
	}
	f.Keys("/", "theirs", "enter").Wait("1 entry").Keys("c")
	is(filepath.Join(here, "theirs.txt"), "theirs")
	f.Keys("esc").Wait("2 entries")
	f.Until("the copy is listed", func() bool { return strings.Count(f.View(), "theirs.txt") == 2 })

	f.Keys("tab", "*").Wait("4 marked").Keys("c").Wait("both.txt is there already", "Replace it")
	f.Keys("y")
	is(filepath.Join(there, "both.txt"), "here")
	is(filepath.Join(there, "one.txt"), "one")
	f.Gone("is there already")
	f.Until("all is listed", func() bool { return strings.Count(f.View(), "4 entries") == 2 })

	f.Keys("tab", "n", "made", "enter").Wait("made/")
	f.Keys("down", "home", "enter").Wait(":project/made", "Nothing here").Keys("backspace").Wait("5 entries")
	f.Keys("end", "e", "ctrl+u", "deux.txt", "enter").Wait("deux.txt")
	is(filepath.Join(there, "deux.txt"), "two")
	f.Until("its new name is listed", func() bool { return strings.Count(f.View(), "two.txt") == 1 })
	f.Keys("m", "/made", "enter").Gone("deux.txt")
	is(filepath.Join(there, "made", "deux.txt"), "two")
	f.Keys("home", "down", "D").Wait("Move both.txt to the trash at anna").Keys("n").Gone("trash").Keys("D", "y")
	f.Until("it is gone", func() bool { return strings.Contains(content(filepath.Join(there, "both.txt")), "no such file") })

	f.Keys("tab", "home", "D").Wait("Move both.txt to the trash here").Keys("y")
	is(filepath.Join(home, ".local", "share", "Trash", "files", "both.txt"), "here")
	f.Keys("v").Wait("one").Keys("esc").Keys("T").Wait("under way", "done").Keys("c").Wait("Nothing is being copied")
}

// TestMillion: a folder with a million entries can be walked, sorted and filtered.
func TestMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million entries")
	}
	_, there := shelves()
	entries := make([]background.Entry, 1_000_000)
	for i := range entries {
		entries[len(entries)-1-i] = background.Entry{Name: fmt.Sprintf("file-%07d", i), Size: int64(i * 7919 % 1_000_003)}
	}
	there["project"] = entries
	here, _ := shelves()
	p := page.NewFilesOf(tuitest.Env(t, tuitest.Busy(), tuitest.Dark()), anna(), here, "/home/ada", there)
	f := tuitest.Start(t, tuitest.NewWindow(p), 80, 21)
	f.Wait("project/").Keys("enter").Wait("1000000 entries", "file-0000000")
	f.Keys("end").Wait("file-0999999").Keys("*").Wait("1000000 marked").Keys("*").Gone("marked")
	f.Keys("/", "99999", "enter").Wait("with 99999", "file-0999990").Keys("s").Wait("by size")
}

// TestFilesHostile: whatever a peer names its files, nothing leaves the window.
func TestFilesHostile(t *testing.T) {
	p := tuitest.Settle(t, files(t, tuitest.Busy(), tuitest.Dark()), "project", "notes.txt")
	p, cmd := p.Update(tea.KeyMsg{Type: tea.KeyEnter})
	p = tuitest.Pump(t, p, cmd, "docs/")
	for _, size := range [][2]int{{1, 1}, {20, 5}, {40, 7}, {72, 12}, {200, 60}} {
		p.SetSize(size[0], size[1])
		view := p.View()
		tuitest.Fits(t, view, size[0], size[1])
		if strings.Contains(view, "\u202e") || strings.Contains(view, "\x1b]") || strings.Contains(view, "\x1b[2J") {
			t.Errorf("%v: %q", size, view)
		}
	}
}
