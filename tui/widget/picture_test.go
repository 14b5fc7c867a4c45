package widget_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"tandem/tui/widget"
)

// halves is an image whose upper half is red, and the lower one blue.
func halves(width, height int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for x := range width {
		for y := range height {
			c := color.NRGBA{255, 0, 0, 255}
			if y >= height/2 {
				c = color.NRGBA{0, 0, 255, 255}
			}
			img.Set(x, y, c)
		}
	}
	return img
}

func TestImageFits(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {300, 100}, {100, 300}, {5, 4000}, {4000, 5}} {
		for _, profile := range []termenv.Profile{termenv.TrueColor, termenv.ANSI256, termenv.ANSI} {
			lines := strings.Split(widget.Image(halves(size[0], size[1]), profile, 40, 12), "\n")
			if len(lines) > 12 {
				t.Errorf("%v: %d lines", size, len(lines))
			}
			for _, l := range lines {
				if w := ansi.StringWidth(l); w < 1 || w > 40 {
					t.Errorf("%v: %d columns", size, w)
				}
			}
		}
	}
	if got := widget.Image(halves(2, 2), termenv.TrueColor, 10, 10); got != "\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[0m" {
		t.Errorf("%q", got)
	}
}

// TestSixel draws what was encoded.
func TestSixel(t *testing.T) {
	sequence, err := widget.Picture(halves(9, 14), widget.Sixel, 80, 24)
	if err != nil {
		t.Fatal(err)
	}
	body, ok := strings.CutPrefix(sequence, "\x1bPq\"1;1;9;14")
	body, ended := strings.CutSuffix(body, "\x1b\\")
	if !ok || !ended || strings.Contains(body, "\x1b") {
		t.Fatalf("%q", sequence)
	}
	body = body[strings.LastIndex(body, ";")+1:] // behind the last colour's definition
	body = strings.TrimLeft(body, "0123456789")
	pixels := make(map[string]string)
	x, top, pen := 0, 0, ""
	for _, part := range regexp.MustCompile(`#\d+|!\d+[?-~]|[?-~]|\$|-`).FindAllString(body, -1) {
		switch {
		case part == "-":
			x, top = 0, top+6
		case part == "$":
			x = 0
		case part[0] == '#':
			pen = part[1:]
		default:
			n := 1
			if part[0] == '!' {
				n, _ = strconv.Atoi(part[1 : len(part)-1])
			}
			for range n {
				for bit := range 6 {
					if (part[len(part)-1]-'?')>>bit&1 != 0 {
						pixels[fmt.Sprint(x, top+bit)] = pen
					}
				}
				x++
			}
		}
	}
	const red, blue = "180", "5"
	if len(pixels) != 9*14 || pixels["0 0"] != red || pixels["8 6"] != red || pixels["0 7"] != blue || pixels["8 13"] != blue {
		t.Errorf("%d pixels: %v", len(pixels), pixels)
	}
}

func TestPictureSequences(t *testing.T) {
	for _, c := range []struct {
		p             widget.Protocol
		width, height int
		want          string
	}{
		{widget.Kitty, 300, 10, "c=80"},
		{widget.Kitty, 10, 300, "r=24"},
		{widget.ITerm2, 300, 10, "width=80"},
		{widget.ITerm2, 10, 300, "height=24"},
	} {
		s, err := widget.Picture(halves(c.width, c.height), c.p, 80, 24)
		if err != nil || !strings.Contains(s, c.want) {
			t.Errorf("%v: %.100q, %v", c, s, err)
		}
		if ansi.StringWidth(s) != 0 {
			t.Errorf("%v writes text: %.100q", c, s)
		}
		if _, content, ok := strings.Cut(s, ":"); c.p == widget.ITerm2 && ok {
			raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(content, "\a"))
			if err != nil {
				t.Fatal(err)
			}
			if img, err := png.Decode(bytes.NewReader(raw)); err != nil || img.Bounds().Dx() != c.width {
				t.Error(err)
			}
		}
	}
	if s, err := widget.Picture(halves(3, 3), widget.Kitty, 0, 5); s != "" || err != nil {
		t.Errorf("drawn on nothing: %q", s)
	}
}

func TestFindProtocol(t *testing.T) {
	for env, want := range map[string]widget.Protocol{
		"TERM=xterm-256color": widget.Cells, "TERM=xterm-kitty": widget.Kitty, "TERM_PROGRAM=iTerm.app": widget.ITerm2,
		"TERM=foot": widget.Sixel, "TERM=tmux-256color TERM_PROGRAM=iTerm.app": widget.Cells, "": widget.Cells,
	} {
		got := widget.FindProtocol(func(name string) string {
			for pair := range strings.FieldsSeq(env) {
				if value, ok := strings.CutPrefix(pair, name+"="); ok {
					return value
				}
			}
			return ""
		})
		if got != want {
			t.Errorf("%s: %v, want %v", env, got, want)
		}
	}
}
