// Package host is one device's side of every meeting: it invites and joins,
// dials known peers and is dialled by them, asks the person in front of it
// for approval, and dispatches what peers ask for to services.
//
// # Letters
//
// Hosts meet through letters: opaque bodies that a Post carries between
// mailboxes. A Post is not trusted; it sees who writes to which mailbox and
// how long the letters are. The first byte of a letter says what it is:
//
//	'P'  one message of package pairing, to its end. The guest writes to the
//	     invite's nameplate first and to the mailbox that answered after that.
//	'S'  a sealed letter between peers that know each other: the HPKE output of
//	     identity's Seal over a JSON object
//	       conv  string, base64: 16 bytes, chosen at random by the caller; one
//	             per link
//	       from  string: the sender's peer ID, a claim until link has verified it
//	       new   bool: the caller has not heard back yet, so the letter may
//	             begin a conversation
//	       body  string, base64: an envelope of package link
//
// Letters longer than MaxLetter are dropped, and so is any letter that does
// not decrypt, does not decode or belongs to no conversation. Nothing is
// answered with an error: a letter's sender is unknown until a link verifies it.
//
// A caller writes to the mailbox it heard the peer from last, and to the one in
// the peer's contact if that one is not open or does not answer: a device may
// run a second node with a mailbox of its own. Answers go to the mailbox that
// was heard last in the conversation. A peer may have begun 16 conversations
// that still live, and all together 512.
//
// # Joining by code or link
//
// What follows pairing's m2 travels in its boxes: the contents of m3 and m4 and
// of the further messages of the same attempt are JSON objects.
//
//	m3    G→H  name, contact                  who asks
//	more  G→H  round 1, link                  link's S1, not waiting for approval
//	m4    H→G  name, contact, rights, round,  approved
//	           recorded
//	more  H→G  round 0                        not decided yet; answers a repeated m3
//	more  both round, link                    link's envelopes, for as long as the
//	                                          session lives: restarts use them too
//
// contact is identity's Contact, rights an array of grant's Right, recorded a word
// of at most 32 bytes for how the host records what the guest does (absent: it does
// not), link an envelope of package link in base64. A person may take minutes to approve,
// and an S1 lives for a minute. The approval names the round the host will
// answer: 1 if the first S1 is still fresh (30 s), otherwise 2, and the guest
// then starts a new link in round 2. A round ends the ones before it. There are
// at most eight, and the next begins at most 30 s after the last has failed.
//
// A guest knocks at every server it knows, and takes the first host that
// answers. If that one doesn't prove to hold the secret, another one may have the
// same nameplate at another server: the guest knocks at those, too, one after the
// other, but never again at a mailbox that has failed. Only the secret tells hosts
// apart, so each stranger has spent an attempt by then.
//
// A guest sends its last message again every 3 s until it is answered, and
// gives up when m2 has not come after 15 s, or when the host's mailbox has not
// been open for 15 s. While a person thinks, either side takes the other for
// gone that says so (pairing's decline) or of which nothing has come for 30 s.
//
// # Invites
//
// An invite is spent when it has been used or tried as often as it may be, or
// when its time is over; until then it answers, if only to refuse. Whoever came
// in time may still be let in. After that the invite is closed, as it is with
// the host, and its code is dead for good.
//
// # Sessions
//
// There may be several sessions with one peer: when both dial at the same time,
// or when a peer comes back before its old session is known to be dead. Each
// lives until one side closes it or link gives it up, or until the servers have said
// for 10 s that the peer isn't there while no path to it is left. Dial prefers the newest
// that has a path.
//
// # Authorisation
//
// Pairing says who a peer is and grants nothing. A request whose service or
// action is longer than 64 bytes or whose resource is longer than 512 is
// rejected as invalid. Each offer a peer makes is
// checked against the authorizer before its service sees it, and when the
// permit ends the stream is reset and the service's context with it.
//
// # The record
//
// With an Audit, each offer that is granted is recorded before its service sees
// it and once more when it has ended: with the bytes that passed, the exit code
// and the recording, as far as the service knows them. An offer that can't be
// recorded is rejected as unavailable. Refused offers are recorded too; of each
// peer five a second after the first hundred, and the others are counted.
package host
