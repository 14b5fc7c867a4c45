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
//	         but at 640 KiB/s and with 64 KiB at least, until there is a queue, or the
//	         rate has not grown by a quarter in three round trips, or in one in which a
//	         quarter of what was sent is lost
//	drain    sends at 0.35 times the rate until no more than the product is
//	         outstanding
//	cruise   sends at 1.02 times the rate while round trips show no queue, at 0.97
//	         times while they show one of more than 8 ms, less by a hundredth for each
//	         4 ms beyond that, down to 0.9, and else at the rate, with 1.25 times the
//	         product outstanding; every six round trips, and no more often than four
//	         times a second, it probes
//	up       sends at 1.25 times the rate for a round trip, with twice the product
//	         outstanding at most, but no longer than it takes to queue 12 ms; after six
//	         round trips without a queue until there is one of 12 ms, and if that finds
//	         nothing after twelve the next time, and so on up to 96
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
// # The end of the start
//
// Each round trip of the start doubles what is sent, so a path is overfull before the
// first word of it comes back: what counts is to notice then. So in the start the rate
// is measured at each acknowledgement, over the last round trip, and what
// acknowledgements tell of round trips is looked at four of them and 10 ms and an
// eighth of the least at a time: there is a queue when the least of a look is more than
// the least of all by an eighth of that, 8 to 30 ms, and by twice the spread, or as
// much as looks have lately fallen from one to the next. What then arrives in a quarter
// of a round trip is the rate of the path, as the queue feeds it. If more than that and
// a quarter comes in one of the two round trips after the drain, there was no queue, and
// the start goes on; if the queue is still there, measure asks whether it is one.
//
// # Rate and queue
//
// After three seconds in which nothing was sent, the rate is forgotten and the start
// follows (RFC 9002, section 7.8).
//
// The rate is what was acknowledged in a round trip, of at least 50 ms, and no more
// than the rate at which the same bytes were sent. The most of the last two turns
// counts; a turn lasts from one probe to another, and at least a second. When four
// round trips in a row took twice the least, or three in a cruise had a queue, then
// the most measured in those counts alone. What was measured while there was too
// little to send counts only where it is more. The queue is what the least round trip
// of those measured in the last one took beyond the least of all, less a sixteenth, or
// 6 ms if that is less, and less the spread where that is more than 15 ms and an eighth
// of the least. A cruise over more than 100 ms takes the lesser of the last two looks (as
// the start does) instead.
// The spread is by how much packets take longer, until they are acknowledged, than the
// least round trip of the same time, on average, less the 5 ms that acknowledgements may
// wait: by so much they differ by themselves.
//
// Beside the product, what the rate makes of the spread may be outstanding, and 4 ms of
// the rate and eight packets, or as much as acknowledgements have lately come in bursts,
// up to 100 ms and a quarter of the least round trip, unless there is a queue of more
// than 16 ms. A sender that was held up may make up for 20 ms at once.
package pace
