// Package screen shows a terminal of a peer's in a part of the window, and turns
// the person's keys and mouse into what that terminal's program expects to read.
//
// # Keys
//
// A program reads bytes, and which bytes a key is depends on the modes it has
// set: cursor keys are SS3 sequences in application mode and CSI sequences
// otherwise, Enter is CR or CR LF, what is pasted comes between CSI 200 ~ and
// CSI 201 ~ if the program has asked for that, and never has that end in it.
// Modified keys are xterm's: CSI 1 ; MODIFIERS A. The mouse is reported if the
// program has asked for it, in the encoding it asked for, with places from the
// terminal's corner, not the window's; without, the wheel scrolls back, or is
// arrow keys for a program on the alternate screen that asked for those.
//
// # What is drawn
//
// Output is hostile, and is drawn so that it can't leave its place: each row is
// measured as the terminal around us will measure it, and what doesn't come out
// at its width is drawn with a question mark for each character that may be the
// reason. Characters that turn the order of others around are not drawn.
// Colours become what the person's terminal has.
package screen
