// Package terminal shares terminals: programs on pseudo-terminals that live on
// the host under a name, seen and driven by several viewers at once. A viewer
// may come and go; the terminal stays until its program ends or the host
// closes it.
//
// Service is the host's half. Attach and Run are the viewer's: they put a
// person's terminal in raw mode, keep it honest, and restore it whatever
// happens. Client is the protocol alone, for other kinds of viewer. A host's
// own window is a viewer like any other, over a stream inside the process.
//
// # The stream
//
// A viewer opens one stream per attachment: service "terminal/1", resource the
// terminal's name ("" means "main"), action "view" or "control", and these
// params, all optional:
//
//	cols, rows   the viewer's size in cells, 1 to 1000; both 0: it has none
//	term         value for TERM of a new terminal: letters, digits and "+._-", at most 64
//	env          object: values for LANG, LC_*, COLORTERM and NO_COLOR of a new
//	             terminal; other names are ignored
//	argv         array of strings: the program of a new terminal, instead of the
//	             host's choice. It fails with "exists" if the resource names a
//	             living terminal, and with "denied" if the host pinned a program.
//	             With an empty resource the host names the new terminal
//	resume       {"terminal": ID, "offset": N}: go on with exactly that terminal
//	             from that offset
//	hangup       true: a new terminal ends when the viewer it is made for leaves
//
// Without resume, "control" makes the terminal if there is none, and "view"
// fails with "not-found". With resume nothing is made. A terminal whose program
// has ended can be resumed, for the rest of its output and its status, until
// another takes its name.
//
// # Output
//
// A terminal's output is one sequence of bytes; an offset counts from its
// first. The host keeps the newest bytes in a ring of bounded size (1 MiB
// unless configured). Each viewer gets the bytes from its offset on, each
// once and in order, except where a GAP frame says which ones are missing
// because the ring has moved past them.
//
// A new viewer starts a little before the end, behind a line feed, so that it
// sees some context; a resuming one at its offset. After a gap or a late
// join the host makes the program redraw by changing the size for a moment.
//
// Of the output sent to a viewer at most 256 KiB (Window) are unacknowledged.
// The host stops reading from the program when every viewer that may type is
// that far behind the end, so that output is not lost on them; if only some
// are, those get a gap.
//
// # Frames
//
// After the header both sides send frames: a type byte, a big-endian uint32
// length of at most 65536 (MaxBody), and that many bytes of body. Integers are
// big-endian. JSON bodies are objects; unknown fields are ignored. A frame of
// unknown type is skipped; a known type with a wrong body, or from the wrong
// side, ends the stream with "invalid".
//
// From the host:
//
//	0x01 WELCOME  JSON, the first frame, once: terminal (ID, 32 hex digits), name,
//	              right ("view" or "control"), viewer (this viewer's number),
//	              offset (of the first output byte to come), live (what lies before
//	              it was printed before this viewer came), cols, rows, made (true if
//	              this request made the terminal)
//	0x02 OUTPUT   uint64 offset, 1 to 65528 bytes
//	0x03 GAP      uint64 from, uint64 to, from < to: these bytes will not come
//	0x04 SIZE     uint16 cols, uint16 rows: the terminal's size has changed
//	0x05 ROSTER   JSON: viewers, an array of {viewer, peer, name, right, cols, rows};
//	              answers, the number of the viewer whose terminal answers queries,
//	              0 for nobody. Sent at the start and after each change
//	0x06 TAKEN    uint64: how many bytes of input the program's terminal has taken
//	              from this viewer in all
//	0x07 EXIT     JSON, the last frame: code (0 to 255; 128+n for death by signal n),
//	              signal (its name, if so), reason (a sentence, if the host ended it)
//
// From the viewer:
//
//	0x41 INPUT    1 to 65536 bytes as if typed. At most 256 KiB (InputWindow) may be
//	              sent beyond what TAKEN has confirmed
//	0x42 RESIZE   uint16 cols, uint16 rows, each 1 to 1000
//	0x43 ACK      uint64 offset: all output before it has been dealt with. It never
//	              falls and is never beyond what was sent
//	0x44 END      nothing: no more input will come. The host types end-of-file (^D)
//	              whenever the program waits for more
//
// INPUT, RESIZE and END need the right "control"; from a viewer that only
// watches, each ends its stream with "denied", and has no effect.
//
// A viewer detaches by closing its stream. After EXIT the host closes its
// direction and the viewer closes the stream.
//
// # Size
//
// A terminal is as wide as its narrowest typing viewer and as high as its
// lowest; viewers without a size and viewers that only watch do not count.
//
// # Queries
//
// Programs ask the terminal things (its kind, the cursor's position, colours)
// and read the answer as input. Exactly one viewer lets queries through to
// the person's terminal: the one the roster names, the longest attached that
// types and has a size. Output before WELCOME's live is never answered.
//
// # What the viewer lets through
//
// Output comes from a machine that the viewer's person may not trust. Filter
// states which sequences never reach the person's terminal.
//
// # Limits
//
//	terminals on one host, ended ones included   32 (ended ones make room); of one peer, alive, 16
//	viewers of one terminal                      64; of one peer 16
//	argv                                         256 strings, 32 KiB in all
package terminal
