package link

import "time"

// The timing of the vigil.
const (
	// vigilQuiet is how long nothing may arrive before the peer is asked whether
	// it is there, or a round trip if that is more; vigilCalm is the same where
	// no stream was used for vigilIdle, and a gap would harm nobody.
	vigilQuiet = 250 * time.Millisecond
	vigilCalm  = time.Second
	vigilIdle  = 10 * time.Second
	// vigilProbes are sent vigilEvery apart. If no answer to any of them has come
	// two round trips and vigilMargin after the last, the path is dead.
	vigilProbes = 6
	vigilEvery  = 50 * time.Millisecond
	vigilMargin = 50 * time.Millisecond
	// vigilLater is between further probes of a path that is dead.
	vigilLater = 500 * time.Millisecond
	// vigilRTT is the round trip of a path where none was measured.
	vigilRTT = 500 * time.Millisecond
	// After a false alarm the vigil waits vigilPatience longer, after the next
	// one twice that, and so on to vigilMost: where paths pause and go on, there
	// is little to gain by leaving them early.
	vigilPatience = 300 * time.Millisecond
	vigilMost     = 2 * time.Second
)

// vigil tells a dead path from a quiet one and from one that loses packets. It
// asks a peer of which nothing has come for a moment to answer, several times: on
// a path that loses one packet in twenty, each way, all six probes or their
// answers vanish once in a million times. It counts probes and not time alone,
// because a process that did not run has not listened.
type vigil struct {
	probes   int       // since something came
	sent     time.Time // when the last probe left
	enough   time.Time // when vigilProbes had left
	patience time.Duration
}

// look says whether to send a probe now, whether the path is dead, and when to
// look again. Silence is for how long nothing has come, rtt the round trip or 0,
// used whether streams were used lately.
func (v *vigil) look(now time.Time, silence, rtt time.Duration, used bool) (probe, dead bool, next time.Duration) {
	if rtt == 0 {
		rtt = vigilRTT
	}
	quiet := max(vigilQuiet, rtt)
	if !used {
		quiet = max(quiet, vigilCalm)
	}
	if silence < quiet {
		v.probes = 0
		return false, false, min(quiet-silence, vigilQuiet)
	}
	next = vigilEvery
	if v.probes >= vigilProbes {
		next = vigilLater
	}
	if v.probes == 0 || now.Sub(v.sent) >= next {
		v.probes++
		v.sent, probe = now, true
		if v.probes == vigilProbes {
			v.enough = now
		}
	}
	dead = v.probes >= vigilProbes && now.Sub(v.enough) >= 2*rtt+vigilMargin+v.patience
	return probe, dead, vigilEvery
}

// falseAlarm says that something has come by the path that was called dead.
func (v *vigil) falseAlarm() {
	v.patience = min(max(vigilPatience, 2*v.patience), vigilMost)
}

// listen looks whether the current path is alive, if anybody uses it, and says
// when to look again; 0 is at the next tick.
func (r *roamer) listen(now time.Time) time.Duration {
	if !r.up || !r.conn.config.active() {
		r.vigil.probes = 0
		return 0
	}
	carrier := r.conn.carrier
	if r.suspect != nil && r.suspect.heard.Load() > r.suspected {
		r.suspect = nil
		r.vigil.falseAlarm()
	}
	rtt := max(r.ping.rtt, time.Duration(r.conn.sctp.SRTT()*float64(time.Millisecond)))
	used := carrier.clock()-time.Duration(carrier.used.Load()) < vigilIdle
	silence := min(carrier.silence(), now.Sub(r.switched))
	probe, dead, next := r.vigil.look(now, silence, rtt, used)
	if probe {
		r.conn.sctp.ActiveHeartbeat()
	}
	if dead && r.wanted == "" && (r.next == nil || r.planned) {
		if r.suspect == nil {
			r.suspect, r.suspected = r.current, int64(carrier.clock())
		}
		r.wanted = pathSilent
	}
	return next
}
