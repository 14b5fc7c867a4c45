// Package cast writes, reads and plays recordings of terminals.
//
// # What is written
//
// Version 2 of asciicast (https://docs.asciinema.org/manual/asciicast/v2/): lines
// of UTF-8 that end with a line feed. The first is the header, an object:
//
//	version    2
//	width      columns at the beginning
//	height     rows at the beginning
//	timestamp  Unix seconds of the beginning
//	title      text; left out if empty
//	env        object: TERM and SHELL, as far as known
//
// Every other line is an event: an array of the time since the beginning in
// seconds (six decimals, never falling), a code, and a string:
//
//	"o"      output of the program
//	"i"      input to it; only if asked for
//	"r"      "COLSxROWS": the new size
//	"m"      a marker: a sentence, such as how much output is missing here
//	"bytes"  our own: base64 (RFC 4648, section 4, padded) of exactly the bytes that
//	         the very next event, an "o" or "i", stands for
//
// A JSON string holds characters, and terminals carry bytes. A character whose
// bytes come in pieces waits for the last of them, which is at most three
// bytes held back. An event with bytes that belong to no character has U+FFFD
// for each of them, as a terminal would show it, and a "bytes" event in front
// that says what they were. Other players skip that one, as the format tells
// them to, and play the rest; the concatenation of the output is exact for
// text in UTF-8, and with "bytes" for everything. A reader believes "bytes" only
// if the next event is what these bytes look like.
//
// # The file
//
// Made anew, never overwritten, mode 0600. Lines are written whole, those of
// one moment together, and right when they happen, so that a killed program
// leaves a recording that is good up to its last event. They are forced to the
// disk every five seconds and at the end. A line that could be written in part
// only is cut off again.
//
// # What is read
//
// Versions 1, 2 and 3, plain or compressed by gzip. Recordings are not trusted:
// a line has at most 1 MiB, all of version 1 at most 16 MiB; times that fall, are negative or lie beyond ten
// years are brought into line; a last line without line feed may be torn
// and is then left out. Unknown events are skipped.
package cast
