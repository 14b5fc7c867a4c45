package relay

import (
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// origin is what limits per address apply to: an IPv4 address or an IPv6 /64,
// which is the least that one customer has.
func origin(addr netip.Addr) netip.Addr {
	addr = addr.Unmap()
	if addr.Is4() {
		return addr
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.Addr()
}

// newLimiter allows perSecond in the long run and a quarter of it, but at least
// least, at once. It is nil, and allows everything, if perSecond is negative.
func newLimiter(perSecond, least int) *rate.Limiter {
	if perSecond < 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(perSecond/4, least))
}

// answerLimit bounds the answers to each origin that hasn't authenticated. It
// remembers two generations of origins, so its memory is bounded; a flood from
// more origins than that has no victim.
type answerLimit struct {
	perSecond int

	mu       sync.Mutex
	young    map[netip.Addr]*rate.Limiter
	old      map[netip.Addr]*rate.Limiter
	capacity int
}

func newAnswerLimit(perSecond int) *answerLimit {
	return &answerLimit{perSecond: perSecond, young: make(map[netip.Addr]*rate.Limiter), capacity: 1 << 15}
}

func (l *answerLimit) allow(addr netip.Addr) bool {
	key := origin(addr)
	l.mu.Lock()
	limiter := l.young[key]
	if limiter == nil {
		if limiter = l.old[key]; limiter == nil {
			limiter = rate.NewLimiter(rate.Limit(l.perSecond), 4*l.perSecond)
		}
		if len(l.young) >= l.capacity {
			l.young, l.old = make(map[netip.Addr]*rate.Limiter), l.young
		}
		l.young[key] = limiter
	}
	l.mu.Unlock()
	return limiter.Allow()
}

// connLimit bounds connections, all together and by origin.
type connLimit struct {
	total, each int

	mu    sync.Mutex
	count int
	by    map[netip.Addr]int
}

func newConnLimit(total, each int) *connLimit {
	return &connLimit{total: total, each: each, by: make(map[netip.Addr]int)}
}

func (l *connLimit) enter(addr netip.Addr) bool {
	key := origin(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count >= l.total || l.by[key] >= l.each {
		return false
	}
	l.count++
	l.by[key]++
	return true
}

func (l *connLimit) leave(addr netip.Addr) {
	key := origin(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	if l.by[key]--; l.by[key] == 0 {
		delete(l.by, key)
	}
}

func (l *connLimit) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
