// Package command runs programs for a peer without a terminal: an array of
// arguments, never shell text; standard input, output and error apart; signals;
// and the exit status.
//
// Service is the host's half. Client is the peer's.
//
// # The stream
//
// A peer opens one stream per program: service "command/1", action "run", and
// as resource "" for a program of its choice, or the name of a command whose
// program and arguments the host has pinned (Service.Pin): rights to the two are
// apart. The params, all optional but argv:
//
//	argv     array of 1 to 1024 strings without NUL, 48 KiB in all: the program, by
//	         its path or its name on the host's PATH, and its arguments. With a
//	         pinned command it must be missing
//	dir      where the program starts; relative to the host's choice, which is also
//	         the default. At most 4096 bytes; not with a pinned command
//	env      object of at most 64 members, 16 KiB in all: LANG, LC_*, COLORTERM and
//	         NO_COLOR, and what else the host's configuration lists. Any other name
//	         is refused with "denied"; a program like env(1) can set it
//	timeout  how long the program may take, in milliseconds, up to 2^31−1; 0: forever
//
// A request that is wrong is refused with "invalid", a folder that isn't there
// with "not-found", a pinned command that isn't there with "not-found", one
// program too many with "busy".
//
// A program that is missing does run, as far as the peer can tell: it prints why
// on standard error and exits with 127, or 126 if it can't be executed.
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
//	0x01 STDOUT  1 to 65536 bytes of the program's standard output
//	0x02 STDERR  1 to 65536 bytes of its standard error
//	0x03 TAKEN   uint64: how many bytes of input the program has taken in all. It
//	             never falls. Input that the program will never read counts as taken
//	0x04 EXIT    JSON, the last frame: code (0 to 255; 128+n for death by signal n),
//	             signal (its name, such as "SIGTERM", if so), reason (a sentence, if
//	             the host ended it). The host closes its direction behind it,
//	             and the peer the stream
//
// From the peer:
//
//	0x41 STDIN   1 to 65536 bytes of standard input. At most 1 MiB (InputWindow) may
//	             be sent beyond what TAKEN has confirmed. Not after END
//	0x42 END     nothing: standard input ends here. Once
//	0x43 SIGNAL  the name of a signal in ASCII, without SIG: ABRT ALRM CONT HUP INT
//	             KILL QUIT STOP TERM USR1 USR2. It goes to the program's process
//	             group, and to nobody once the program has ended
//
// Output keeps its order within STDOUT and within STDERR; between the two it is
// as the host happened to read it. The host reads output only as fast as the
// peer takes it: one that never reads stalls its own program and nothing else.
//
// # The end
//
// The program has ended when its first process has. What else holds its output
// open may go on writing: the output ends when nobody holds it any more, or has
// been silent for a second (Linger). Then EXIT is sent, and every process still in
// the program's session is ended. A process that is meant to stay must begin a
// session of its own (setsid(1)), or be started by the host's service manager.
//
// If the peer closes or resets the stream before EXIT, if the session or the
// permission ends, or the timeout passes, all processes of the program's session
// get SIGTERM, and after 400 ms SIGKILL.
//
// # Limits
//
//	programs on one host  128; of one peer 32
package command
