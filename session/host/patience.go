package host

import (
	"cmp"
	"time"
)

// patience is how long a host waits for what.
type patience struct {
	// setup bounds the making of a link once both sides want it.
	setup time.Duration
	// post bounds the sending of one letter.
	post time.Duration
	// server is how long a letter waits at most for the server that the
	// conversation began at, before it goes through all as well.
	server time.Duration
	// resend is how long a guest waits for an answer before it sends its last
	// message again, which costs no attempt.
	resend time.Duration
	// answer bounds everything up to a host's proof of the code, and how long a
	// guest bears that its host has no mailbox open; approval may wait for a
	// person.
	answer time.Duration
	// proof is how long a counted attempt may take before it is reported as
	// failed.
	proof time.Duration
	// fresh is how old a guest's S1 may be when approval comes: younger than
	// its life of a minute by enough for the answer's way back.
	fresh time.Duration
	// absence is how long nothing may be heard from the other side while a
	// guest waits for approval, and sends its message again all the while.
	absence time.Duration
	// linger is how long a guest may take to begin its link anew.
	linger time.Duration
	// farewell is how long a host that closes tries to tell a waiting guest.
	farewell time.Duration
	// recovery is how much longer a session without a path may look for one
	// when a new session can't be made.
	recovery time.Duration
	// gone is how long the servers may say that a peer isn't there, while its
	// session has no path, before that has ended.
	gone time.Duration
}

// orUsual fills in what is zero.
func (p patience) orUsual() patience {
	return patience{
		setup:    cmp.Or(p.setup, 30*time.Second),
		post:     cmp.Or(p.post, 10*time.Second),
		server:   cmp.Or(p.server, time.Second),
		resend:   cmp.Or(p.resend, 3*time.Second),
		answer:   cmp.Or(p.answer, 15*time.Second),
		proof:    cmp.Or(p.proof, 10*time.Second),
		fresh:    cmp.Or(p.fresh, 30*time.Second),
		absence:  cmp.Or(p.absence, 30*time.Second),
		linger:   cmp.Or(p.linger, 30*time.Second),
		farewell: cmp.Or(p.farewell, time.Second),
		recovery: cmp.Or(p.recovery, 3*time.Second),
		gone:     cmp.Or(p.gone, 10*time.Second),
	}
}
