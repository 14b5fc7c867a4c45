// Package page is the pages of the terminal UI and the seam between them and
// the root: a page is a Page, gets what it needs in an Env, and talks to the
// root by the messages below. Nothing but a Cmd does I/O or waits, nothing but a
// message tells the time, and whatever a peer has worded goes through
// widget.Clean before it is laid out.
//
// A page is one file with a NewX(env Env, …) Page, an Entry in tui/pages.go if
// people open it by a key, and golden renders made by package tuitest.
//
// Messages that the root sends to every open page, the top one and those below:
// State, Happened, Tick, and whatever a page's own Cmds return; a page ignores
// what is not its own. Keys, the mouse and pasted text go to the top page only;
// a mouse event's coordinates are those inside the page.
//
// Messages that a page's Cmds return for the root: Open, Replace, Back, Home,
// Toast, Fail, Verb, Exec, Refresh, Quit.
package page
