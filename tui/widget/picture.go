package widget

import (
	"bytes"
	"encoding/base64"
	"image"
	"image/png"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/ansi/iterm2"
	"github.com/charmbracelet/x/ansi/kitty"
)

// Protocol is how a terminal shows images.
type Protocol int

// The protocols.
const (
	Cells  Protocol = iota // two pixels to a cell, by Image
	Kitty                  // sw.kovidgoyal.net/kitty/graphics-protocol
	ITerm2                 // iterm2.com/documentation-images.html
	Sixel                  // VT340
)

// FindProtocol is how the terminal with this environment shows images. Within
// tmux and screen, which keep images to themselves, it is by cells.
func FindProtocol(env func(string) string) Protocol {
	term, program := env("TERM"), env("TERM_PROGRAM")
	switch {
	case env("TMUX") != "" || strings.HasPrefix(term, "tmux") || strings.HasPrefix(term, "screen"):
		return Cells
	case env("KITTY_WINDOW_ID") != "", strings.Contains(term, "kitty"), strings.Contains(term, "ghostty"), program == "ghostty":
		return Kitty
	case program == "iTerm.app", program == "WezTerm", program == "mintty":
		return ITerm2
	case strings.HasPrefix(term, "foot"), strings.HasPrefix(term, "mlterm"), strings.Contains(term, "sixel"):
		return Sixel
	}
	return Cells
}

// Picture is the sequence that draws an image from the cursor on, as large as fits
// in cols by rows cells. Cells can't be drawn so.
func Picture(img image.Image, p Protocol, cols, rows int) (string, error) {
	b := img.Bounds()
	if cols < 1 || rows < 1 || b.Empty() {
		return "", nil
	}
	wide := b.Dx()*2*rows > b.Dy()*cols // a cell is twice as high as it is wide
	var data bytes.Buffer
	switch p {
	case Kitty:
		o := &kitty.Options{Action: kitty.TransmitAndPut, Transmission: kitty.Direct, Format: kitty.PNG, Quite: 2, Chunk: true}
		if wide {
			o.Columns = cols
		} else {
			o.Rows = rows
		}
		err := kitty.EncodeGraphics(&data, img, o)
		return data.String(), err
	case ITerm2:
		if err := png.Encode(&data, img); err != nil {
			return "", err
		}
		f := iterm2.File{Inline: true, Size: int64(data.Len()), Content: []byte(base64.StdEncoding.EncodeToString(data.Bytes()))}
		if wide {
			f.Width = iterm2.Cells(cols)
		} else {
			f.Height = iterm2.Cells(rows)
		}
		return ansi.ITerm2(f), nil
	case Sixel:
		const cellWidth, cellHeight = 8, 16 // of most terminals, or less
		scale := min(float64(cols*cellWidth)/float64(b.Dx()), float64(rows*cellHeight)/float64(b.Dy()), 1)
		return sixel(img, max(int(float64(b.Dx())*scale), 1), max(int(float64(b.Dy())*scale), 1)), nil
	}
	return "", nil
}

// sixel draws an image of width by height pixels in 216 colours (DEC STD 070).
func sixel(img image.Image, width, height int) string {
	const levels = 6
	var s strings.Builder
	s.WriteString("\x1bPq\"1;1;" + strconv.Itoa(width) + ";" + strconv.Itoa(height))
	for n := range levels * levels * levels {
		s.WriteString("#" + strconv.Itoa(n) + ";2")
		for _, level := range []int{n / levels / levels, n / levels % levels, n % levels} {
			s.WriteString(";" + strconv.Itoa(level*100/(levels-1)))
		}
	}
	b := img.Bounds()
	for top := 0; top < height; top += 6 {
		columns := make(map[int][]byte) // by colour: six pixels of each column
		for y := top; y < min(top+6, height); y++ {
			for x := range width {
				r, g, bl, _ := img.At(b.Min.X+x*b.Dx()/width, b.Min.Y+y*b.Dy()/height).RGBA()
				n := int(r*levels>>16)*levels*levels + int(g*levels>>16)*levels + int(bl*levels>>16)
				if columns[n] == nil {
					columns[n] = make([]byte, width)
				}
				columns[n][x] |= 1 << (y - top)
			}
		}
		for n := range levels * levels * levels {
			if line := columns[n]; line != nil {
				s.WriteString("#" + strconv.Itoa(n))
				writeSixels(&s, line)
				s.WriteByte('$')
			}
		}
		s.WriteByte('-')
	}
	s.WriteString("\x1b\\")
	return s.String()
}

// writeSixels writes columns of six pixels, runs of the same ones once.
func writeSixels(s *strings.Builder, line []byte) {
	for x := 0; x < len(line); {
		n := 1
		for x+n < len(line) && line[x+n] == line[x] {
			n++
		}
		if n > 3 {
			s.WriteString("!" + strconv.Itoa(n))
		} else {
			s.WriteString(strings.Repeat(string(rune('?'+line[x])), n-1))
		}
		s.WriteByte('?' + line[x])
		x += n
	}
}
