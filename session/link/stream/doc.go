// Package stream makes a session.Stream of one message channel: a WebRTC data
// channel, a framed socket, or a pipe inside a process. It adds what those
// lack: a header that says what the stream is for, credit in both directions,
// half-close, and resets that carry a reason.
//
// # Channel
//
// Below a stream lies a Channel that moves whole messages, reliably and in
// order, and ends when either side closes it. One channel carries one stream.
// Every message is one frame.
//
// # Frames
//
// The first byte is the type. Integers are big-endian. A frame of another type
// or another length than given here is a violation.
//
//	type  name     body                                         who
//	   1  HEADER   JSON of session.Header, 1 to 65535 bytes     opener, first frame, once
//	   2  DATA     1 to 16384 bytes                             both, within their credit
//	   3  WINDOW   uint64 limit                                 both
//	   4  BLOCKED  nothing                                      both
//	   5  EOF      nothing                                      both, once
//	   6  STOP     nothing                                      both, once
//	   7  RESET    uint8 n, n bytes of kind, text               both, last frame
//
// HEADER is the first frame of the opener, and only that. The acceptor sends
// no header. The opener may send DATA right behind it, without an answer.
//
// DATA is the next bytes of the sender's direction.
//
// WINDOW sets the limit of the peer's direction: how many bytes of DATA it may
// send in total since the stream began. The limit never falls, and is at most
// 2^62. Both directions begin with a limit of 262144 (InitialWindow). A
// receiver raises it as its application reads.
//
// BLOCKED says that the sender has more to send and its limit is reached; it
// is sent at most once for each limit. It is a hint: a receiver whose
// application keeps up doubles its window, up to a bound of its own.
//
// EOF ends the sender's direction: no DATA, BLOCKED or second EOF follows it.
//
// STOP says that the sender reads no more. The peer drops what it has not sent
// yet, fails further writes of its application, and sends EOF if it has not.
//
// RESET abandons both directions at once. The kind is one of session.Kind (at
// most 64 bytes), the text at most session.MaxErrorText bytes of UTF-8, fit to
// be shown to people. An offer is refused by a RESET. Nothing follows it.
//
// A side that has sent EOF and received EOF, or that has sent or received
// RESET, closes the channel. A channel that ends earlier is a failure.
//
// # Violations
//
// A frame that breaks these rules (an unknown type, a wrong length, DATA beyond
// the limit or after EOF, a second HEADER, EOF or STOP, a limit that falls)
// is answered by RESET with the kind "invalid". It ends this stream and no
// other.
//
// # Memory
//
// A stream holds at most 64 KiB (sendBuffer) of what its application wrote,
// and of what the peer sent at most twice its window, because short frames
// share buffers and long ones keep theirs. The window is InitialWindow until
// the application has accepted the offer and read.
package stream
