// Package pace decides when a sender of bulk data may send, and what of it is lost,
// after the models of BBR (draft-ietf-ccwg-bbr; Cardwell et al., ACM Queue 14, 2016)
// and RACK (RFC 8985): a path is known by the most it has delivered lately and the
// least its round trip took lately. Their product is what it holds. A sender that
// keeps little more than that outstanding, and sends at that rate, fills the path and
// not the queues in front of it. Loss by itself means nothing.
//
// Controller, Flight and Receipts are pure: they are told the time and have no clock,
// goroutine or lock. A Flight is what is under way on one connection, Receipts what
// has arrived at its other end. A Controller belongs to all connections over one path
// together: it sees their sums.
//
// # Phases
//
//	start    sends at 2.77 times the rate measured with twice the product outstanding,
//	         but at 640 KiB/s and with 64 KiB at least, until the rate has not grown by
//	         a quarter in three round trips, or in one that has a queue
//	drain    sends at 0.35 times the rate until no more than the product is
//	         outstanding
//	cruise   sends at 1.02 times the rate while round trips show no queue, at 0.97
//	         times while they show one of more than 8 ms, less by a hundredth for each
//	         4 ms beyond that, down to 0.9, and else at the rate, with 1.25 times the
//	         product outstanding; every six round trips, and no more often than four
//	         times a second, it probes
//	up       sends at 1.25 times the rate for a round trip, with twice the product
//	         outstanding at most, but no longer than it takes to queue 12 ms
//	down     sends at 0.75 times the rate for a round trip, or until no more than
//	         the product is outstanding; if the probe found a twentieth more, the next
//	         one follows soon
//	measure  if no round trip came near the least one for ten seconds, or for one, and
//	         the rate has since fallen to half: half the product outstanding until no more than that
//	         is, for three seconds at most, and then for a round trip and 100 ms, so that
//	         the queue empties; the least then counts, also if it is
//	         more, and if it is half as much again, the start follows: what was taken
//	         for a queue was the path
//
// # Rate and queue
//
// The rate is what was acknowledged in a round trip, of at least 50 ms, and no more
// than the rate at which the same bytes were sent. The most of the last two turns
// counts; a turn lasts from one probe to another, and at least a second. When four
// round trips in a row took twice the least, or three in a cruise had a queue, then
// the most measured in those counts alone. What was measured while there was too
// little to send counts only where it is more. The queue is what the least round trip
// of those measured in the last one took beyond the least of all, less a sixteenth.
//
// Beside the product, 4 ms of the rate and eight packets may be outstanding, or as
// much as acknowledgements have lately come in bursts, up to 100 ms and a quarter of
// the least round trip, unless there is a queue of more than 16 ms. A sender that was
// held up may make up for 20 ms at once.
package pace
