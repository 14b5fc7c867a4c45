package page

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"strings"
	"unicode/utf8"

	_ "image/gif"  // previews of images
	_ "image/jpeg" // previews of images
	_ "image/png"  // previews of images

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/cancelreader"
	"golang.org/x/term"

	"tandem/session"
	"tandem/share/terminal"
	"tandem/tui/background"
	"tandem/tui/theme"
	"tandem/tui/widget"
)

const (
	// maxText and maxImage are how much of a file is read to be shown, in bytes.
	maxText  = 64 << 10
	maxImage = 8 << 20
	// maxPixels is how large an image is decoded: a small file may say that it is huge.
	maxPixels = 24 << 20
)

// preview shows the beginning of a file.
type preview struct {
	open   bool
	turn   int
	title  string
	entry  background.Entry
	lines  []string
	image  image.Image
	about  string
	err    error
	ready  bool
	scroll int
	// protocol is how the image can be shown at its full size.
	protocol widget.Protocol

	width, height int
}

// previewed is the beginning of a file.
type previewed struct {
	show  *preview
	turn  int
	lines []string
	image image.Image
	about string
	err   error
}

// preview reads the file under the cursor.
func (f *FilesPage) preview() tea.Cmd {
	p := f.active()
	e, ok := p.under()
	if !ok || e.Dir {
		return nil
	}
	f.show = preview{open: true, turn: f.show.turn + 1, title: e.Name, entry: e}
	if f.env.Seat.Getenv != nil {
		f.show.protocol = widget.FindProtocol(f.env.Seat.Getenv)
	}
	f.arrange()
	show, turn, at, files := &f.show, f.show.turn, p.files.Join(p.dir, e.Name), p.files
	verb := ""
	if p.remote {
		verb = fmt.Sprintf("tandem get %s:%s -", f.of.Alias(), shellWord(at))
	}
	return tea.Batch(Send(Verb{verb}), f.env.Run(func(ctx context.Context) tea.Msg {
		if e.Size == 0 && e.Other == "" {
			return previewed{show: show, turn: turn, about: "It is empty."}
		}
		head, err := files.Head(ctx, at, maxText)
		if err != nil {
			return previewed{show: show, turn: turn, err: err}
		}
		if config, format, err := image.DecodeConfig(bytes.NewReader(head)); err == nil {
			return showImage(ctx, files, at, e, config, format, previewed{show: show, turn: turn})
		}
		lines, about := textLines(head, e.Size)
		return previewed{show: show, turn: turn, lines: lines, about: about}
	}))
}

// showImage reads an image, if it isn't too large.
func showImage(ctx context.Context, files background.Folder, at string, e background.Entry, config image.Config, format string, p previewed) tea.Msg {
	p.about = fmt.Sprintf("%s image, %d by %d pixels, %s", format, config.Width, config.Height, widget.Bytes(uint64(max(e.Size, 0))))
	if e.Size > maxImage || config.Width <= 0 || config.Height <= 0 || config.Width > maxPixels/config.Height {
		return p
	}
	all, err := files.Head(ctx, at, maxImage)
	if err != nil {
		p.err = err
		return p
	}
	if p.image, _, err = image.Decode(bytes.NewReader(all)); err != nil {
		p.image, p.about = nil, p.about+"; it is damaged"
	}
	return p
}

// textLines makes a file's beginning fit to be shown, if it is text.
func textLines(head []byte, size int64) (lines []string, about string) {
	kind := widget.Bytes(uint64(max(size, 0)))
	cut := head
	for i := 0; i < utf8.UTFMax && len(cut) > 0 && !utf8.Valid(cut); i++ {
		cut = cut[:len(cut)-1] // the last character may be cut in two
	}
	if bytes.IndexByte(head, 0) >= 0 || len(cut) == 0 || !utf8.Valid(cut) {
		return nil, "It is no text: " + kind
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(cut), "\n"), "\n") {
		line = strings.ReplaceAll(strings.TrimSuffix(line, "\r"), "\t", "    ")
		lines = append(lines, widget.Clean(line))
	}
	about = kind
	if int64(len(head)) < size {
		about += fmt.Sprintf(", of which these are the first %s", widget.Bytes(uint64(len(head))))
	}
	return lines, about
}

// picture shows the image in the whole window, by what the person's terminal has
// for that, until a key is pressed.
func (f *FilesPage) picture() tea.Cmd {
	img, protocol := f.show.image, f.show.protocol
	if img == nil || protocol == widget.Cells {
		return nil
	}
	return f.env.Run(func(ctx context.Context) tea.Msg {
		return Exec{Command: &onTerminal{run: func(tty terminal.TTY) error {
			size := tty.Size()
			sequence, err := widget.Picture(img, protocol, int(size.Cols), int(size.Rows)-1)
			if err != nil {
				return err
			}
			return untilKey(ctx, tty, "\x1b[H\x1b[J"+sequence)
		}}, Done: func(err error) tea.Msg {
			if err != nil {
				return Fail{&session.Error{Op: "show the image", Kind: session.Internal, Err: err}}
			}
			return nil
		}}
	})
}

// untilKey writes a sequence to the terminal and waits for a key.
func untilKey(ctx context.Context, tty terminal.TTY, sequence string) error {
	in, err := cancelreader.NewReader(tty.In)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // the file stays open
	raw, err := term.MakeRaw(int(tty.In.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(tty.In.Fd()), raw) }() // what comes next sets its own modes
	stop := context.AfterFunc(ctx, func() { in.Cancel() })
	defer stop()
	if _, err := tty.Out.WriteString(sequence); err != nil {
		return err
	}
	_, err = in.Read(make([]byte, 64))
	_, gone := tty.Out.WriteString(ansi.KittyGraphics(nil, "a=d", "q=2") + "\x1b[H\x1b[J")
	if errors.Is(err, cancelreader.ErrCanceled) || errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, gone)
}

func (p *preview) take(msg previewed) {
	if msg.show != p || msg.turn != p.turn {
		return
	}
	p.lines, p.image, p.about, p.err, p.ready = msg.lines, msg.image, msg.about, msg.err, true
}

func (p *preview) setSize(width, height int) { p.width, p.height = width, height }

func (p *preview) key(msg tea.KeyMsg, keys theme.Keys) {
	page := max(p.height-3, 1)
	switch {
	case msg.String() == "v", msg.String() == "q", key.Matches(msg, keys.Back):
		p.open = false
	default:
		p.scroll = scrolled(p.scroll, msg, keys, page, len(p.lines))
	}
	p.scroll = min(max(p.scroll, 0), max(len(p.lines)-page, 0))
}

// view draws the preview.
func (p *preview) view(look theme.Theme) string {
	height := max(p.height-2, 0)
	head := look.Title.Render(widget.Cut(" "+widget.Clean(p.title), p.width, look.Glyphs.Ellipsis))
	foot := look.Dim.Render(widget.Cut(" "+p.about, p.width, look.Glyphs.Ellipsis))
	body := ""
	switch {
	case !p.ready:
		body = widget.Center(look.Dim.Render("Reading"+look.Glyphs.Ellipsis), p.width, height)
	case p.err != nil:
		_, why := session.Public(p.err)
		body = widget.Center(look.Bad.Render(strings.Join(widget.Wrap(widget.Clean(why), max(p.width-2, 8)), "\n")), p.width, height)
	case p.image != nil && !look.ASCII && look.Name != theme.None:
		body = widget.Center(widget.Image(p.image, look.Profile, p.width, height), p.width, height)
	case p.lines == nil:
		body = widget.Center(look.Dim.Render(strings.Join(widget.Wrap(p.about, max(p.width-2, 8)), "\n")), p.width, height)
	default:
		lines := p.lines[min(p.scroll, len(p.lines)):]
		shown := make([]string, 0, height)
		for _, l := range lines[:min(len(lines), height)] {
			shown = append(shown, " "+widget.Cut(l, p.width-1, look.Glyphs.Ellipsis))
		}
		body = strings.Join(shown, "\n")
	}
	return widget.Fit(head+"\n"+widget.Fit(body, p.width, height)+"\n"+foot, p.width, p.height)
}
