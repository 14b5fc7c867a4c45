package bus

import (
	"context"
	"maps"
	"sync"
	"time"
)

// MaxNameplates bounds a Local bus's table of nameplates.
const MaxNameplates = 500_000

// countAge is how old the counts behind Claimed may be.
const countAge = time.Second

// Local is the bus of a single process. Its zero value is not usable; see
// NewLocal.
type Local struct {
	mu        sync.Mutex
	closed    bool
	mailboxes map[string]holder
	watchers  map[string]map[Watcher]struct{}
	plates    map[string]lease
	counts    map[int]int // leased nameplates by number of digits
	swept     time.Time   // when expired leases were last removed
}

type holder struct {
	epoch uint64
	box   Mailbox
}

type lease struct {
	mailbox string
	until   time.Time
}

var _ Bus = (*Local)(nil)

// NewLocal makes an empty bus.
func NewLocal() *Local {
	return &Local{
		mailboxes: make(map[string]holder),
		watchers:  make(map[string]map[Watcher]struct{}),
		plates:    make(map[string]lease),
		counts:    make(map[int]int),
	}
}

// Subscribe implements Bus.
func (l *Local) Subscribe(_ context.Context, mailbox string, epoch uint64, m Mailbox) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	old, held := l.mailboxes[mailbox]
	if held && old.epoch >= epoch {
		return ErrStale
	}
	l.mailboxes[mailbox] = holder{epoch, m}
	if held {
		old.box.Replaced()
	} else {
		l.tell(mailbox, true)
	}
	return nil
}

// Unsubscribe implements Bus.
func (l *Local) Unsubscribe(mailbox string, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, held := l.mailboxes[mailbox]; held && h.epoch == epoch {
		delete(l.mailboxes, mailbox)
		l.tell(mailbox, false)
	}
}

// Publish implements Bus.
func (l *Local) Publish(_ context.Context, mailbox string, m Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	h, held := l.mailboxes[mailbox]
	if !held {
		return ErrNobody
	}
	return h.box.Deliver(m)
}

// Held implements Bus.
func (l *Local) Held(_ context.Context, mailbox string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, ErrClosed
	}
	_, held := l.mailboxes[mailbox]
	return held, nil
}

// Watch implements Bus.
func (l *Local) Watch(_ context.Context, mailbox string, w Watcher) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	set := l.watchers[mailbox]
	if set == nil {
		set = make(map[Watcher]struct{}, 1)
		l.watchers[mailbox] = set
	}
	set[w] = struct{}{}
	_, held := l.mailboxes[mailbox]
	w.Presence(mailbox, held)
	return nil
}

// Unwatch implements Bus.
func (l *Local) Unwatch(mailbox string, w Watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers[mailbox], w)
	if len(l.watchers[mailbox]) == 0 {
		delete(l.watchers, mailbox)
	}
}

func (l *Local) tell(mailbox string, online bool) {
	for w := range l.watchers[mailbox] {
		w.Presence(mailbox, online)
	}
}

// Claim implements Bus.
func (l *Local) Claim(_ context.Context, number, mailbox string, ttl time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	now := time.Now()
	old, known := l.plates[number]
	if known && old.mailbox != mailbox && now.Before(old.until) {
		return ErrTaken
	}
	if !known {
		if l.sweep(now); len(l.plates) >= MaxNameplates {
			return ErrFull
		}
		l.counts[len(number)]++
	}
	l.plates[number] = lease{mailbox, now.Add(ttl)}
	return nil
}

// Release implements Bus.
func (l *Local) Release(_ context.Context, number, mailbox string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if p, known := l.plates[number]; known && p.mailbox == mailbox {
		delete(l.plates, number)
		l.counts[len(number)]--
	}
	return nil
}

// Lookup implements Bus.
func (l *Local) Lookup(_ context.Context, number string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", ErrClosed
	}
	p, known := l.plates[number]
	if !known || !time.Now().Before(p.until) {
		return "", ErrNobody
	}
	return p.mailbox, nil
}

// Claimed implements Bus.
func (l *Local) Claimed(_ context.Context, digits int) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, ErrClosed
	}
	l.sweep(time.Now())
	return l.counts[digits], nil
}

// sweep removes expired leases, at most once in countAge: it visits them all.
func (l *Local) sweep(now time.Time) {
	if now.Sub(l.swept) < countAge {
		return
	}
	l.swept = now
	maps.DeleteFunc(l.plates, func(number string, p lease) bool {
		expired := !now.Before(p.until)
		if expired {
			l.counts[len(number)]--
		}
		return expired
	})
}

// Close implements Bus.
func (l *Local) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	clear(l.mailboxes)
	clear(l.watchers)
	clear(l.plates)
	clear(l.counts)
	return nil
}
