// Package pace decides when a sender of bulk data may send, after the model of
// BBR (draft-ietf-ccwg-bbr; Cardwell et al., ACM Queue 14, 2016): a path is
// known by the most it has delivered lately and the least its round trip took
// lately. Their product is what it holds. A sender that keeps little more than
// that outstanding, and sends at that rate, fills the path and not the queues in
// front of it. Loss by itself means nothing.
//
// Controller is pure: it is told the time, what was sent, what is outstanding
// and how long round trips take, and has no clock, goroutine or lock. What it
// is told may belong to several connections over one path at once: it sees their
// sums.
//
// # Phases
//
//	start    sends at 2.77 times the rate measured, with twice the product
//	         outstanding, until the rate has not grown by a quarter in three round
//	         trips, or two round trips in a row took twice the least one
//	drain    sends at 0.35 times the rate until no more than the product is
//	         outstanding
//	cruise   sends at 1.02 times the rate while round trips show no queue, at 0.97
//	         times while they show one of more than 8 ms, and else at the rate, with
//	         1.25 times the product outstanding; every six round trips, and no more
//	         often than four times a second, it probes
//	up       sends at 1.25 times the rate for a round trip, with twice the product
//	         outstanding at most, but no longer than it takes to queue 15 ms
//	down     sends at 0.75 times the rate for a round trip, or until no more than
//	         the product is outstanding; if the probe found a tenth more, the next
//	         one follows soon
//	measure  if no round trip came near the least one for ten seconds: half the
//	         product outstanding for a round trip and 100 ms, so that the queue
//	         drains and a new least one is seen
//
// Delivery is what was sent less what is outstanding. Its rate is measured over a
// round trip, but over 20 ms at least and 100 ms at most, and is no more than the
// rate at which the same bytes were sent. The most of the last two turns counts; a
// turn lasts from one probe to another, and at least a second. When four round trips
// in a row took twice the least, the path has become slower, and what was measured
// last counts alone. What was measured while there was too little to send counts
// only where it is more.
package pace
