// Package terminal shares terminals: programs on pseudo-terminals that live on
// the host under a name, seen and driven by several viewers at once. A viewer
// may come and go; the terminal stays until its program ends or the host
// closes it.
//
// Service is the host's half. Attach and Run are the viewer's: they put a
// person's terminal in raw mode, keep it honest, and restore it whatever
// happens. Client is the protocol alone, for other kinds of viewer, and Screen
// what it shows, for those that draw by themselves. A host's own window is a
// viewer like any other, over a stream inside the process.
//
// # The stream
//
// A viewer opens one stream per attachment: service "terminal/1", resource the
// terminal's name, action "view" or "control", and these params, all optional:
//
//	name         which one, if the resource is empty: see below; "main" if empty too
//	cols, rows   the viewer's size in cells, 1 to 1000; both 0: it has none
//	term         value for TERM of a new terminal: letters, digits and "+._-", at most 64
//	env          object: values for LANG, LC_*, COLORTERM and NO_COLOR of a new
//	             terminal; other names are ignored
//	argv         array of strings: the program of a new terminal, instead of the
//	             host's choice. It fails with "exists" if the resource names a
//	             living terminal, and with "denied" if the host pinned a program.
//	             Without any name the host names the new terminal
//	resume       {"terminal": ID, "offset": N}: go on with exactly that terminal
//	             from that offset
//	screen       true: the viewer shows a screen, and gets a SNAPSHOT where output
//	             would make no sense by itself; see Screens
//	history      with screen: how many lines of history come with the first SNAPSHOT
//	             of an attachment without resume, 0 to 5000 (MaxHistory)
//	hangup       true: a new terminal ends when the viewer it is made for leaves
//	record       true: the viewer keeps a recording; everybody gets to see that
//	list         true: attach to nothing; the answer is an INFO frame for each living
//	             terminal that the resource stands for, and the end of the stream
//
// The empty resource stands for the terminals of the share: "main" and whatever
// its guests make. Any other resource is the terminal of that name only, and one
// made under it (or by the host's own person, in its own windows) is not the
// share's: who asks for its name with the empty resource is "denied". Where the
// host has pinned a program, that is what "main" runs, and guests make no other.
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
// Who makes the terminal gets all of its output, and a resuming viewer all from
// its offset on. Others start at the end, with a SNAPSHOT. Viewers without
// screen, such as a pipe, start a little before the end instead, behind a line
// feed, so that they get some context; for those the host makes the program
// redraw, after a late join or a gap, by changing the size for a moment.
//
// Of the output sent to a viewer at most 256 KiB (Window) are unacknowledged.
// The host stops reading from the program when every viewer that may type is
// that far behind the end, so that output is not lost on them; if only some
// are, those get a gap.
//
// # Screens
//
// The host follows the output as a terminal would (see internal/screen), aside
// from the path that it takes to viewers. A SNAPSHOT is a sequence of bytes that
// brings a freshly reset terminal of the given size to where that is before the
// output at its offset, even within an escape sequence or a character: both
// screens, attributes, the cursor, modes, title. Output goes on at that offset. It
// is sent to viewers with screen when they come late, and behind the GAP when
// they were too slow; at most 16 MiB (MaxSnapshot), in pieces. A terminal that
// prints faster than the host can follow is followed again from near the end,
// and its program is made to redraw.
//
// Lines that leave the main screen at its top become history, of which the host
// keeps the newest 5000 or 256 Ki cells. They are numbered in that order. A viewer
// gets some when it comes late, before the SNAPSHOT, and can ask for more. When the
// width changes the main screen's text is wrapped anew, for which lines come back
// from history or go there: the newest then have other numbers.
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
//	              it was printed before this viewer came), cols, rows, locale (the
//	              program's, if that is not UTF-8), made (true if this request made
//	              the terminal)
//	0x02 OUTPUT   uint64 offset, 1 to 65528 bytes
//	0x03 GAP      uint64 from, uint64 to, from < to: these bytes will not come
//	0x04 SIZE     uint16 cols, uint16 rows: the terminal's size has changed
//	0x05 ROSTER   JSON: viewers, an array of {viewer, peer, name, right, cols, rows,
//	              host (true for the host's own person), asks (while it asks to
//	              type, the number of that request), rtt (the last round trip of a
//	              PING, ns), typed (how long ago it last typed, ns, 0 for never),
//	              records (true if it said so)}; answers, the number of the viewer whose terminal answers queries;
//	              typist, that of who typed last, each 0 for nobody; pinned (true: the
//	              host has fixed the size); recorded (true while the host records). Sent at the start and after each change;
//	              of rtt, after notable ones; of typed and typist, see TYPING
//	0x06 TAKEN    uint64: how many bytes of input the program's terminal has taken
//	              from this viewer in all, those dropped for want of the right included.
//	              Sent 50 ms after it has, behind the output until then: what the program
//	              answers at once comes before. Sent without delay beyond 64 KiB
//	0x07 EXIT     JSON, the last frame: code (0 to 255; 128+n for death by signal n),
//	              signal (its name, if so), reason (a sentence, if the host ended it)
//	0x08 SNAPSHOT uint64 offset, uint16 cols, uint16 rows, uint32 left, bytes. The top
//	              bit of left is set in the first piece, the others are how many bytes
//	              are still to come. All pieces agree about the rest. Until the last no
//	              OUTPUT or GAP comes. The offset is at least that of the output before
//	0x09 HISTORY  uint64 start (the oldest line the host has), uint64 first (the first
//	              line here), uint64 end (the next line to leave), and for each line a
//	              byte of flags (1: it goes on in the next line), uint16 length, at most
//	              16 KiB, and as many bytes: text and attributes, from default ones and
//	              back to them. Comes before a SNAPSHOT, and answers PAGE
//	0x0c INFO     JSON, only in answer to list and "manage": id, name, owner, size
//	              {cols, rows}, made and used (RFC 3339), idle (how long nothing was typed
//	              or printed, ns), output (bytes), viewers and typist as in ROSTER,
//	              program (what runs in front), shared, pinned, recorded, kept_out (an array of
//	              {id, name}), exit
//	0x0d PING     uint64, one more than the last: the viewer answers at once. Sent at the
//	              start and every 5 s, once the last is answered
//	0x0e TYPING   uint64: this viewer types now, and somebody else did before, or nobody
//	              for 2 s
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
//	0x45 PAGE     uint64 before, uint16 lines, 1 to 5000: asks for HISTORY, the newest
//	              lines before that number, as many of them as fit a frame. One that
//	              comes before the last was answered replaces it
//	0x49 ASK      nothing: asks the host's person for the right to type. The roster
//	              shows it until they have decided
//	0x4a PONG     uint64: answers the PING of that number
//	0x4b REDRAW   nothing: something else was shown on the viewer's screen. With screen
//	              it gets a SNAPSHOT; otherwise, if it may type, the program is made to
//	              redraw. About one a second has an effect
//
// INPUT, RESIZE and END need the right "control"; from a viewer that only
// watches, each ends its stream with "denied", and has no effect. From one that
// had the right and lost it they have no effect either, but may have been under
// way: its stream goes on.
//
// A viewer detaches by closing its stream. After EXIT the host closes its
// direction and the viewer closes the stream.
//
// # Rights
//
// A viewer begins with the right that is its request's action, which its grant
// allows. The host's own person can change it at any time, for everybody to see
// in the roster: "control" for this one attachment, beyond the grant if they
// wish; "view" for all attachments of the peer to this terminal, those to come
// included, until they change it back. They can make a peer leave and keep it
// out; its streams end with "denied". All this concerns one terminal and ends
// with it. What a peer may do at all is its grants' matter, and when those are
// taken back its streams and the terminals it has made end at once.
//
// They do so with requests whose action is "manage", answered only in the
// host's own windows, never to a peer, whatever its grants: resource the
// terminal's name, params what and
//
//	"right"     viewer, right: as above; "view" also answers an ASK with no
//	"kick"      viewer
//	"let-back"  peer: an ID; ends keeping it out
//	"pin"       cols, rows: the terminal's size from now on; both 0: by its viewers
//	"end"       ends the program
//
// The answer is one INFO frame and the end of the stream.
//
// # Size
//
// A terminal is as wide as its narrowest typing viewer and as high as its
// lowest; viewers without a size and viewers that only watch do not count. A
// pinned size depends on nobody.
//
// # Queries
//
// Programs ask the terminal things (its kind, the cursor's position, colours)
// and read the answer as input. Exactly one viewer lets queries through to
// the person's terminal: the one the roster names, the longest attached that
// types and has a size. Output before WELCOME's live is never answered.
//
// # Recordings
//
// The host may record terminals, and so may every viewer, each in a file of its
// own in the format that internal/cast specifies: what the program prints and
// the sizes, and what is typed only if that is asked for. Everybody attached is
// told. The host's recordings have every byte of output in order; if its disk
// is too slow for that or full, the recording says what is missing or ends,
// and nobody waits. A recording that is required is the other way round: output
// is written before anybody sees it, and if it can't be, the terminal ends.
//
// # Prediction
//
// A viewer may show what is typed before it is echoed: where and how is the
// business of its package predict. It learns from TAKEN that a key had its
// chance to be echoed, and from ROSTER and TAKEN how far away the host is.
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
//	peers kept out of or from typing at one      32
//	argv                                         256 strings, 32 KiB in all
package terminal
