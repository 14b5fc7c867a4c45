// Package predict shows what a person types before the host has echoed it.
//
// The rules are those of mosh (Winstein and Balakrishnan, "Mosh: An
// Interactive Remote Shell for Mobile Clients", USENIX ATC 2012). What differs
// is where they work: mosh owns the screen, a viewer of tandem's only passes
// the host's bytes on to the person's terminal, so that scrollback, selection
// and search stay the terminal's own. A prediction is therefore something
// drawn over the terminal's screen, and taken away again before the host's next
// byte: between two calls of Predictor.Output what the terminal has been sent
// is the host's bytes and pairs of drawing and undoing.
//
// # What is predicted
//
// Printable characters that all terminals give the same width, backspace, and
// the arrows left and right, on the cursor's line and left of its last column.
// Every other key is a barrier: nobody can tell what it does. What is typed
// behind a barrier is placed when the host has dealt with the barrier.
//
// A prediction is right when the cursor and the character before it have
// become what it said. It is wrong if they have not when the host says that
// everything up to that key was taken a while ago (Predictor.Taken); it is then
// taken away, and so are those that built on it.
//
// # Epochs
//
// Predictions are made in epochs. A barrier begins a new one, and so does a
// wrong prediction, and a cursor that moves for no key of ours: a prompt that
// appears. Nothing of an epoch is shown until one of it has been right, and has
// changed a character to be so. A password is therefore never shown: the Enter
// before it begins an epoch, and nothing of that epoch is ever right.
//
// # When predictions are shown
//
// In mode Auto if the round trip is above 30 ms, until it falls to 20; they are
// underlined if it is above 80 ms, until it falls to 50. On a faster link they
// are shown for a while after a key has waited for its echo for 250 ms. The
// round trip is measured from typing to the host's word that it has taken
// what was typed.
//
// # What must be known
//
// To undo a drawing, the predictor follows the person's terminal (grid): cells
// on the screen, cursor, attributes. It takes no guess at anything: a cell
// that it has not seen written or erased is unknown, and so is the cursor
// behind a sequence that terminals do differently. Nothing is drawn on or with
// what is unknown. It expects that the screen is empty from the cursor on, and
// the cursor in the first column, when it begins: the viewer sees to that.
// Drawing uses relative movements within the line only, so that it doesn't
// matter where on the terminal's screen the first line was.
//
// One thing can't be undone: which character was the last. A program that
// prints one and has it repeated (REP) only later, in another read, may get
// ours repeated.
package predict
