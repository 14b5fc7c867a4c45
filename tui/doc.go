// Package tui is the terminal UI: what `tandem` opens without a verb.
//
// # Shape
//
// The root model owns the window, the stack of open pages, the header, status
// and footer lines, toasts, errors, the palette and the questions that interrupt
// any page. Pages are in package page, which is also the seam: what a page is,
// what it gets, and the messages both sides send. One line of pages.go adds a
// page that people open by a key.
//
// # The window
//
//	header   where we are, this device, what is live
//	body     the top page, or what interrupts it
//	status   a toast, an error, or the verb that does the same as the page
//	footer   the keys of the page, then the root's
//
// The body is clipped to its size whatever a page returns. A page may take the whole
// window for a while, as a QR code does. Below 40 by 10 there is
// a line that says so, and the keys still work. Lines that have changed are drawn at
// once, 200 times a second at most, and less often where the terminal takes its time.
//
// A fault of a page, or of what it has begun, ends the program: the terminal is given
// back first, and told where the fault is.
//
// # The node
//
// Everything about the node comes in by two commands that are armed again after
// each message: one waits for events and hands on those of a thirtieth of a second
// at once, keeping the newest 64; the other asks for the State when events say that
// it has changed, and every 2 s so that round trips are fresh, less often where that
// would take more than a hundredth of the time, every 10 s at least. A node that doesn't answer leaves the last
// State on the screen, says so in the header, and is asked again every second.
//
// # Approval
//
// Somebody who asks for something interrupts any page, even one that takes every
// key. Answers need capital letters, and nothing is taken for one until half a
// second has passed without a key, nor if another key follows within 300 ms: text
// that is being typed answers nothing. Another size of the window, and another request
// in it, begin the half second anew. The words to compare must have been in the window,
// and of a name no more is shown than leaves room for them.
//
// # Plain
//
// With --plain, and on a terminal that can't move its cursor, nothing is drawn:
// lines that have changed are printed as they are, one below the other, after a key
// or when something has happened that the person should know. Text is echoed while it
// is typed, and what it has changed is printed after the key that ends it: Enter, Tab,
// an arrow. The pages and keys are the same.
package tui
