package widget

import (
	"fmt"
	"image"
	"image/color"
	"strings"

	"github.com/muesli/termenv"
)

// Image draws an image in at most width columns and height lines, two pixels to
// a cell, in the colours that there are.
func Image(img image.Image, profile termenv.Profile, width, height int) string {
	b := img.Bounds()
	if width <= 0 || height <= 0 || b.Empty() {
		return ""
	}
	// A cell is about twice as high as it is wide: a half cell is square.
	scale := min(float64(width)/float64(b.Dx()), float64(2*height)/float64(b.Dy()), 1)
	cols := max(int(float64(b.Dx())*scale), 1)
	rows := max(int(float64(b.Dy())*scale+1)/2, 1)
	lines := make([]string, rows)
	for y := range rows {
		var line strings.Builder
		last := ""
		for x := range cols {
			upper, lower := average(img, x, 2*y, cols, 2*rows), average(img, x, 2*y+1, cols, 2*rows)
			style := "\x1b[" + profile.Convert(upper).Sequence(false) + ";" + profile.Convert(lower).Sequence(true) + "m"
			if style != last {
				line.WriteString(style)
				last = style
			}
			line.WriteString("▀")
		}
		lines[y] = line.String() + "\x1b[0m"
	}
	return strings.Join(lines, "\n")
}

// average is the colour of the part of an image that becomes one of cols by rows
// pixels, from a few of its points.
func average(img image.Image, x, y, cols, rows int) termenv.RGBColor {
	const points = 3
	b := img.Bounds()
	var r, g, bl uint32
	for i := range points {
		for j := range points {
			px := b.Min.X + (x*points+i)*b.Dx()/(cols*points)
			py := b.Min.Y + (y*points+j)*b.Dy()/(rows*points)
			c, _ := color.NRGBAModel.Convert(img.At(min(px, b.Max.X-1), min(py, b.Max.Y-1))).(color.NRGBA)
			r += uint32(c.R) * uint32(c.A) / 255
			g += uint32(c.G) * uint32(c.A) / 255
			bl += uint32(c.B) * uint32(c.A) / 255
		}
	}
	n := uint32(points * points)
	return termenv.RGBColor(fmt.Sprintf("#%02x%02x%02x", r/n, g/n, bl/n))
}
