// Package screen follows what a program prints, as a terminal would, so that
// somebody who joins late can be shown what is on the screen.
//
// A Screen takes the program's output and, at any byte of it, even within an
// escape sequence or a character, writes a snapshot: a sequence of bytes that
// brings a freshly reset terminal of the same size to the same state, so that
// the bytes that follow mean the same to both. It never answers queries.
//
// Followed are: the main and the alternate screen, colours (16, 256, direct)
// and attributes, underline styles, hyperlinks, wide and combining characters,
// DEC's special graphics, the cursor (position, pending wrap, style,
// visibility), saved cursors of both screens, the scrolling region, tab stops,
// character sets, titles, changed colours, keyboard modes (application cursor
// keys and keypad, modifyOtherKeys, kitty's flags) and these modes: insert,
// new line, origin, auto-wrap, reverse video, mouse tracking and encoding,
// focus reports, bracketed paste, alternate scroll, and reports of the colour
// scheme. Lines that leave the main screen at its top are kept as history up
// to a limit.
//
// When the width changes, the main screen's text is wrapped anew, so that
// nothing is lost while somebody looks at it through a small window.
//
// Not followed are left and right margins, rectangles, protected cells,
// double-width lines and images. Where terminals differ, Screen does as tmux
// does (3.3), and as xterm where tmux doesn't know a sequence. But lines are
// inserted and deleted within the scrolling region only, a skin colour joins the
// emoji before it, a stray byte is U+FFFD, and a cursor that is about to wrap
// moves from the last column, as in most others.
//
// # Why not a library
//
// A snapshot needs everything that later output depends on: the pen, the saved
// cursors, the region, tab stops, a pending wrap, the screen that isn't shown,
// how much of a sequence has come. The emulators there are for Go are made to
// be looked at and keep most of it to themselves; charmbracelet/x/vt of
// September 2026 also loses wide characters at the right margin, combining
// marks in a write of their own, the screen at ED 3, and has no insert mode.
//
// # Limits
//
// Output is hostile. Nothing here grows with it: history is at most 5000 lines
// and 256 Ki cells, 8 code points make a cell, 16 Ki different combinations
// and 1024 hyperlinks are told apart, and of an unfinished sequence 4 KiB are
// kept. A panic within Write is returned as an error and leaves a reset screen.
package screen
