// Package background is what the terminal UI does that lasts longer than a key: an
// attachment to a peer's terminal, copies of files, forwards, programs on peers,
// folders being looked at.
// It uses the services' client halves, over streams that somebody opens for it,
// as the verbs do.
//
// Whatever waits or does I/O has a context and is called inside a Cmd. What a
// page calls from Update only leaves a note, or takes what is there.
package background
