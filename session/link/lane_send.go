package link

import (
	"context"
	"slices"
	"time"

	"tandem/session"
	"tandem/session/link/pace"
	"tandem/session/link/stream"
)

const (
	// maxFresh is how many messages may wait until it is their turn, and maxBurst
	// how many packets leave before others get at what is shared.
	maxFresh = 256
	maxBurst = 32
	// maxRetained is how much may be sent and not acknowledged, of a whole session.
	maxRetained = 24 << 20
	// pumpIdle is how long pump sleeps when nothing is due.
	pumpIdle = time.Minute
)

// cargo is one message of a stripe, for a lane. A packet without one measures how
// long packets may be.
type cargo struct {
	st     *stripe
	number uint32
	frame  []byte
}

// messageSize is how long the frames of bulk data should be, or 0 if there is no
// lane.
func (ls *lanes) messageSize() int {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.tcp.live != nil {
		return stream.MaxFrame
	}
	size := 0
	for _, l := range ls.live {
		if size == 0 || l.size < size {
			size = l.size
		}
	}
	return max(size-dataHeader, 0)
}

// take has a message sent by a lane when it is its turn, and waits while many
// others do. It returns false if no lane can.
func (ls *lanes) take(p cargo) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.want(time.Now())
	if l := ls.tcp.live; l != nil {
		for ls.retained > maxRetained && !p.st.shutting() && ls.tcp.live != nil {
			ls.room.Wait()
		}
		ls.taken += int64(len(p.frame))
		ls.touch()
		ls.mu.Unlock()
		taken := l.take(p)
		ls.mu.Lock()
		if taken {
			return true
		}
	}
	for (len(ls.fresh) >= maxFresh || ls.retained > maxRetained) && len(ls.live) > 0 && !p.st.shutting() {
		ls.room.Wait()
	}
	if len(ls.live) == 0 || p.st.shutting() {
		return false
	}
	p.st.underWay.Add(1)
	ls.fresh = append(ls.fresh, p)
	ls.taken += int64(len(p.frame))
	ls.stirLocked()
	ls.touch()
	return true
}

// stir makes everyone look again: something has changed.
func (ls *lanes) stir() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.room.Broadcast()
	if l := ls.tcp.live; l != nil {
		l.look()
	}
	ls.stirLocked()
}

func (ls *lanes) stirLocked() {
	select {
	case ls.wake <- struct{}{}:
	default:
	}
}

// pump sends what waits, until the session ends.
func (ls *lanes) pump(ctx context.Context) {
	timer := time.NewTimer(pumpIdle)
	defer timer.Stop()
	for {
		wait := pumpIdle
		for {
			ready, stray, next := ls.due(time.Now())
			for _, d := range ready {
				ls.write(d)
			}
			for _, p := range stray {
				_ = p.st.byTrunk(p.number, p.frame) // fails only with the stream
				p.st.unlist(p.number)               // after that, as it may end the stream
				p.st.underWay.Add(-1)
			}
			if len(ready) == 0 {
				wait = next
				break
			}
		}
		timer.Reset(wait)
		select {
		case <-ls.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// departure is a packet that is to leave on a lane.
type departure struct {
	lane   *lane
	packet []byte
}

func (ls *lanes) write(d departure) {
	if _, err := d.lane.conn.dtls.Write(d.packet); err != nil {
		d.lane.conn.fail(peerGone(err))
		ls.drop(d.lane)
		return
	}
	ls.link.sent.Add(uint64(len(d.packet)))
	d.lane.count.sent.Add(uint64(len(d.packet)))
	d.lane.conn.carrier.use()
}

// due takes what may leave now, which of it the trunk must carry, and says how long
// to wait if nothing may.
func (ls *lanes) due(now time.Time) (ready []departure, stray []cargo, wait time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	wait = pumpIdle
	until := func(t time.Time) {
		if !t.IsZero() {
			wait = min(wait, max(t.Sub(now), 0))
		}
	}
	for _, l := range ls.live {
		until(ls.settle(l, now))
		if b := l.probe(now); b != nil {
			ls.control.Sent(len(b), now)
			ready = append(ready, departure{l, b})
		}
		until(l.probeAt)
	}
	for len(ready) < maxBurst {
		list := &ls.again
		if len(*list) == 0 {
			list = &ls.fresh
		}
		if len(*list) == 0 {
			break
		}
		p := (*list)[0]
		n := dataHeader + len(p.frame)
		l := ls.choose(n)
		switch {
		case p.st.shutting():
			p.st.underWay.Add(-1)
		case l == nil:
			stray = append(stray, p)
		case l.silent() && l.flight.Bytes()+n > silentPackets*mostPacket:
			return ready, stray, wait
		default:
			if pause := ls.control.Wait(n, now); pause > 0 {
				until(now.Add(pause))
				return ready, stray, wait
			}
			ready = append(ready, departure{l, appendData(make([]byte, 0, n), l.flight.Next(), p.st.id, p.number, p.frame)})
			l.flight.Send(p, n, now)
			ls.control.Sent(n, now)
		}
		(*list)[0] = cargo{}
		*list = (*list)[1:]
		if len(*list) == 0 {
			*list = nil
		}
		ls.room.Broadcast()
	}
	return ready, stray, wait
}

// settle takes what is lost on a lane by now, and says when to look again; ls.mu is
// held.
func (ls *lanes) settle(l *lane, now time.Time) (next time.Time) {
	if l.conn == nil {
		return time.Time{} // not yet in use
	}
	if l.flight.Next() > lastNumber {
		l.conn.fail(&session.Error{Op: "lane", Kind: session.Unavailable, Text: "the lane has used all its numbers"})
	}
	if paths := l.conn.governor.changes(); paths != l.paths {
		l.paths = paths
		l.shrink(now)
		l.flight.Revive()
		ls.control.Forget(now)
	}
	next = l.flight.Lost(now, ls.lost)
	if l.silent() && slices.ContainsFunc(ls.live, func(other *lane) bool { return !other.silent() }) {
		l.flight.Abandon(ls.lost)
	}
	if l.flight.Silences() >= blackSilences && l.size > leastPacket {
		l.shrink(now)
		l.flight.Abandon(ls.lost)
	}
	return next
}

// lost has a packet's content sent again; ls.mu is held.
func (ls *lanes) lost(p pace.Packet[cargo]) {
	ls.control.Lost(p.Size)
	if p.Item.st != nil {
		ls.again = append(ls.again, p.Item)
	}
}

// choose is the lane for a packet of n bytes, nil if there is none; ls.mu is held.
func (ls *lanes) choose(n int) (best *lane) {
	for _, l := range ls.live {
		if n > l.size {
			continue
		}
		if best == nil || best.silent() && !l.silent() || best.silent() == l.silent() && l.flight.Bytes() < best.flight.Bytes() {
			best = l
		}
	}
	return best
}

// acknowledged takes an acknowledgement of what was sent on a lane.
func (ls *lanes) acknowledged(l *lane, a *pace.Ack, now time.Time) (ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	bytes := 0
	rtt, ok := l.flight.Acknowledge(a, now, func(p pace.Packet[cargo]) {
		bytes += p.Size
		ls.control.Took(p.Age(now))
		if p.Item.st != nil {
			p.Item.st.underWay.Add(-1)
		} else {
			l.grow()
		}
	})
	ls.control.RoundTrip(rtt, now)
	ls.settle(l, now)
	ls.control.Acked(bytes, now)
	ls.stirLocked()
	return ok
}

func (ls *lanes) add(l *lane, c *conn) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	now := time.Now()
	l.conn, l.paths, l.probeAt, l.count.since = c, c.governor.changes(), now, now
	if len(ls.live) == 0 { // for some time, in which much may have changed
		ls.control.Forget(now)
		ls.control.Expect(2 * ls.trunk.governor.halfRTT())
	}
	ls.live = append(ls.live, l)
	ls.stirLocked()
}

// drop takes a lane out of use. What it may not have delivered goes another way.
func (ls *lanes) drop(l *lane) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	i := slices.Index(ls.live, l)
	if i < 0 {
		return
	}
	ls.live = slices.Delete(ls.live, i, i+1)
	l.flight.Abandon(ls.lost)
	ls.room.Broadcast()
	ls.stirLocked()
}

func (ls *lanes) retain(n int) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.retained += n
	if n < 0 {
		ls.room.Broadcast()
	}
}

// keep counts n bytes that wait out of order, and reports whether that is more
// than an honest peer has under way.
func (ls *lanes) keep(n int) (ok bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.kept += n
	return ls.kept <= maxKept
}
