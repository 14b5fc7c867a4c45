package server

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxBuckets bounds each table of token buckets. The bucket used longest ago
// makes room, which gives its owner a full one.
const maxBuckets = 65_536

// buckets holds a token bucket for each key that was used lately.
type buckets[K comparable] struct {
	rate Rate
	max  int

	mu    sync.Mutex
	byKey map[K]*list.Element // of *bucket[K]
	used  list.List           // latest first
}

type bucket[K comparable] struct {
	key     K
	limiter *rate.Limiter
}

func newBuckets[K comparable](r Rate, most int) *buckets[K] {
	return &buckets[K]{rate: r, max: most, byKey: make(map[K]*list.Element)}
}

// allow takes n tokens from key's bucket, or none if there are too few. No
// n is more than the whole bucket.
func (b *buckets[K]) allow(key K, n int) bool {
	return b.get(key).AllowN(time.Now(), min(n, b.rate.Burst))
}

// left reports whether key's bucket has a token, and leaves it there.
func (b *buckets[K]) left(key K) bool { return b.get(key).Tokens() >= 1 }

func (b *buckets[K]) get(key K) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.byKey[key]; ok {
		b.used.MoveToFront(e)
		return e.Value.(*bucket[K]).limiter
	}
	if b.used.Len() >= b.max {
		oldest := b.used.Remove(b.used.Back()).(*bucket[K])
		delete(b.byKey, oldest.key)
	}
	fresh := &bucket[K]{key, rate.NewLimiter(b.rate.limit(), b.rate.Burst)}
	b.byKey[key] = b.used.PushFront(fresh)
	return fresh.limiter
}

// network is what counts as one IP: an IPv4 address, or an IPv6 /64, of which
// a single subscriber has at least one.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // an invalid address gives the zero prefix
	return prefix
}
