package theme

import (
	"io"
	"strconv"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// The names of themes.
const (
	Auto  = "auto" // dark or light as COLORFGBG says; dark if it says nothing
	Dark  = "dark"
	Light = "light"
	None  = "none" // no colours; bold, underline and reverse remain
)

// Options choose a theme.
type Options struct {
	// Name is one of the constants above; empty is Auto.
	Name string
	// Profile is how many colours there are; see Profile.
	Profile termenv.Profile
	// ASCII draws with ASCII only.
	ASCII bool
	// Plain is for screen readers: no decoration, and ASCII.
	Plain bool
}

// Theme is how things look.
type Theme struct {
	// Styles of text, by what the text is.
	Text, Dim, Title, Accent, Good, Warn, Bad lipgloss.Style
	// Header and Footer are the lines around every page, Key a key's name in
	// the footer, Selected the line under the cursor, Badge a short alert.
	Header, Footer, Key, Selected, Badge lipgloss.Style
	// Code is an invite's code.
	Code lipgloss.Style
	// QR is dark on light, as cameras like it.
	QR lipgloss.Style

	Glyphs Glyphs
	// Profile is how many colours there are, for what isn't drawn with Styles.
	Profile termenv.Profile
	// ASCII and Plain are as in Options.
	ASCII, Plain bool
	// Name is the theme that was chosen: dark, light or none.
	Name string
}

// Glyphs are the signs that have an ASCII form. All but Spark are one column wide.
type Glyphs struct {
	Live, Idle, Arrow, Cursor, Ellipsis, Dot, Check, Cross, Rule, Side string
	// Up and Down are directions of bytes.
	Up, Down string
	// Corners are top left, top right, bottom left, bottom right.
	Corners [4]string
	// Spark are levels from low to high, for graphs.
	Spark []string
	// Full and Empty are the two halves of a progress bar.
	Full, Empty string
}

func unicodeGlyphs() Glyphs {
	return Glyphs{
		Live: "●", Idle: "○", Arrow: "›", Cursor: "▌", Ellipsis: "…", Dot: "·", Check: "✓", Cross: "✗", Rule: "─", Side: "│",
		Up: "↑", Down: "↓", Corners: [4]string{"╭", "╮", "╰", "╯"},
		Spark: []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, Full: "█", Empty: "░",
	}
}

func asciiGlyphs() Glyphs {
	return Glyphs{
		Live: "*", Idle: "o", Arrow: ">", Cursor: ">", Ellipsis: "~", Dot: "-", Check: "+", Cross: "x", Rule: "-", Side: "|",
		Up: "^", Down: "v", Corners: [4]string{"+", "+", "+", "+"},
		Spark: []string{"_", ".", "-", "=", "+", "*", "%", "#"}, Full: "#", Empty: ".",
	}
}

// New makes a theme. Its styles know their number of colours themselves: no
// renderer of the process is asked.
func New(o Options) Theme {
	name := o.Name
	switch {
	case o.Plain || o.Profile == termenv.Ascii:
		name = None
	case name != Dark && name != Light && name != None:
		name = Dark
	}
	r := lipgloss.NewRenderer(io.Discard)
	r.SetColorProfile(o.Profile)
	r.SetHasDarkBackground(name != Light)
	t := Theme{Glyphs: unicodeGlyphs(), Profile: o.Profile, ASCII: o.ASCII || o.Plain, Plain: o.Plain, Name: name}
	if t.ASCII {
		t.Glyphs = asciiGlyphs()
	}
	s := r.NewStyle
	t.Text = s()
	if o.Plain {
		t.Dim, t.Title, t.Accent, t.Good, t.Warn, t.Bad = s(), s(), s(), s(), s(), s()
		t.Header, t.Footer, t.Key, t.Selected, t.Badge, t.Code, t.QR = s(), s(), s(), s(), s(), s(), s()
		return t
	}
	if name == None {
		r.SetColorProfile(termenv.ANSI) // Ascii would lose bold and reverse as well
		t.Dim, t.Title, t.Accent = s().Faint(true), s().Bold(true), s().Bold(true)
		t.Good, t.Warn, t.Bad = s(), s().Underline(true), s().Bold(true)
		t.Header, t.Footer, t.Key = s().Bold(true), s(), s().Bold(true)
		t.Selected, t.Badge, t.Code, t.QR = s().Reverse(true), s().Reverse(true), s().Bold(true), s().Reverse(true)
		return t
	}
	c := palette(name == Light)
	t.Dim, t.Title, t.Accent = s().Foreground(c.dim), s().Bold(true), s().Foreground(c.accent)
	t.Good, t.Warn, t.Bad = s().Foreground(c.good), s().Foreground(c.warn), s().Foreground(c.bad).Bold(true)
	t.Header, t.Footer, t.Key = s().Bold(true).Foreground(c.accent), s().Foreground(c.dim), s().Foreground(c.accent)
	t.Selected = s().Background(c.selected).Foreground(c.onSelected)
	t.Badge = s().Background(c.warn).Foreground(c.onBadge).Bold(true)
	t.Code = s().Bold(true).Foreground(c.accent)
	t.QR = s().Foreground(lipgloss.CompleteColor{TrueColor: "#000000", ANSI256: "16", ANSI: "0"}).
		Background(lipgloss.CompleteColor{TrueColor: "#ffffff", ANSI256: "231", ANSI: "15"})
	return t
}

type colours struct{ dim, accent, good, warn, bad, selected, onSelected, onBadge lipgloss.CompleteColor }

func palette(light bool) colours {
	c := func(true24, ansi256, ansi string) lipgloss.CompleteColor {
		return lipgloss.CompleteColor{TrueColor: true24, ANSI256: ansi256, ANSI: ansi}
	}
	if light {
		return colours{
			dim: c("#6a6a6a", "242", "8"), accent: c("#005f87", "24", "4"), good: c("#23701f", "28", "2"), warn: c("#8a5a00", "94", "3"),
			bad: c("#a8201a", "124", "1"), selected: c("#d0e4f2", "153", "6"), onSelected: c("#101010", "16", "0"), onBadge: c("#ffffff", "231", "15"),
		}
	}
	return colours{
		dim: c("#8a8f98", "245", "7"), accent: c("#7cc5ff", "117", "14"), good: c("#8fd18a", "114", "10"), warn: c("#e6c068", "179", "11"),
		bad: c("#ff8a80", "210", "9"), selected: c("#264a66", "24", "4"), onSelected: c("#ffffff", "231", "15"), onBadge: c("#101010", "16", "0"),
	}
}

// Detect reads from the environment what a terminal can show, unless name
// chooses a theme. NO_COLOR (no-color.org) and TERM=dumb mean no colours;
// LC_ALL, LC_CTYPE and LANG say whether it understands UTF-8.
func Detect(name string, env func(string) string) Options {
	o := Options{Name: name, Profile: termenv.ANSI}
	term, depth := env("TERM"), env("COLORTERM")
	switch {
	case env("NO_COLOR") != "" || name == None || term == "" || term == "dumb" || strings.HasPrefix(term, "vt"):
		o.Profile, o.Name = termenv.Ascii, None
	case depth == "truecolor" || depth == "24bit":
		o.Profile = termenv.TrueColor
	case strings.Contains(term, "256color") || strings.Contains(term, "kitty") || strings.Contains(term, "alacritty"):
		o.Profile = termenv.ANSI256
	}
	if o.Name == "" || o.Name == Auto {
		o.Name = Dark
		if _, back, ok := strings.Cut(env("COLORFGBG"), ";"); ok { // "15;0", or "15;default;0"
			back = back[strings.LastIndexByte(back, ';')+1:]
			if n, err := strconv.Atoi(back); err == nil && (n == 7 || n >= 9 && n <= 15) {
				o.Name = Light
			}
		}
	}
	o.ASCII = !utf8Locale(env) || term == "linux" && env("LANG") == ""
	o.Plain = term == "dumb" || term == ""
	return o
}

// utf8Locale reports whether the locale's characters are UTF-8 (POSIX, Base
// Definitions 8.2). A locale that nobody has set may be any: most are.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}
