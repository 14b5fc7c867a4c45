// Package bustest is the conformance suite for implementations of bus.Bus.
package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tandem/signaling/bus"
)

// Run checks a bus against the contract of bus.Bus. Open returns a fresh bus
// seen from two processes; for a bus of one process both are the same. It is
// called within a synctest bubble, so it may use no real network.
func Run(t *testing.T, open func(t *testing.T) (a, b bus.Bus)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, a, b bus.Bus)
	}{
		{"Publish", publish},
		{"NewestWins", newestWins},
		{"Presence", presence},
		{"Nameplates", nameplates},
		{"Leases", leases},
		{"OneOfMany", oneOfMany},
		{"Close", closes},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := open(t)
				c.test(t, a, b)
				if err := errors.Join(a.Close(), b.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// box is a Mailbox and a Watcher that remembers.
type box struct {
	mu       sync.Mutex
	got      []string
	replaced int
	seen     []string
	refuse   error
}

func (b *box) Deliver(m bus.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.got = append(b.got, m.From+":"+string(m.Body))
	return nil
}

func (b *box) Replaced() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.replaced++
}

func (b *box) Presence(mailbox string, online bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, fmt.Sprint(mailbox, "=", online))
}

// state is what happened so far, once everything in flight has arrived.
func (b *box) state() string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprint(b.got, b.replaced, b.seen)
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func publish(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	one := &box{}
	wantErr(t, "nobody", a.Publish(ctx, "one", bus.Message{}), bus.ErrNobody)
	wantErr(t, "subscribe", a.Subscribe(ctx, "one", 1, one), nil)
	held, err := b.Held(ctx, "one")
	want(t, "held", fmt.Sprintf("%v %v", held, err), "true <nil>")
	wantErr(t, "publish", b.Publish(ctx, "one", bus.Message{From: "two", Body: []byte("1")}), nil)
	wantErr(t, "publish", a.Publish(ctx, "one", bus.Message{From: "two", Body: []byte("2")}), nil)
	want(t, "in order", one.state(), "[two:1 two:2] 0 []")
	one.refuse = bus.ErrFull
	wantErr(t, "the holder's answer", b.Publish(ctx, "one", bus.Message{}), bus.ErrFull)
	a.Unsubscribe("one", 1)
	wantErr(t, "gone", b.Publish(ctx, "one", bus.Message{}), bus.ErrNobody)
	held, err = b.Held(ctx, "one")
	want(t, "held", fmt.Sprintf("%v %v", held, err), "false <nil>")
}

func newestWins(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	older, newer, late := &box{}, &box{}, &box{}
	wantErr(t, "first", a.Subscribe(ctx, "m", 5, older), nil)
	wantErr(t, "takeover", b.Subscribe(ctx, "m", 7, newer), nil)
	want(t, "old one", older.state(), "[] 1 []")
	wantErr(t, "late", a.Subscribe(ctx, "m", 6, late), bus.ErrStale)
	wantErr(t, "same epoch", a.Subscribe(ctx, "m", 7, late), bus.ErrStale)
	a.Unsubscribe("m", 5) // the old one's farewell changes nothing
	wantErr(t, "publish", a.Publish(ctx, "m", bus.Message{From: "x", Body: []byte("y")}), nil)
	want(t, "new one", newer.state(), "[x:y] 0 []")
	want(t, "late one", late.state(), "[] 0 []")
}

func presence(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	w, m := &box{}, &box{}
	wantErr(t, "watch", b.Watch(ctx, "m", w), nil)
	w.state()
	wantErr(t, "subscribe", a.Subscribe(ctx, "m", 1, m), nil)
	w.state()
	wantErr(t, "takeover", b.Subscribe(ctx, "m", 2, m), nil)
	a.Unsubscribe("m", 1)
	w.state()
	b.Unsubscribe("m", 2)
	want(t, "changes", w.state(), "[] 0 [m=false m=true m=false]")
	b.Unwatch("m", w)
	wantErr(t, "subscribe", a.Subscribe(ctx, "m", 3, m), nil)
	want(t, "after Unwatch", w.state(), "[] 0 [m=false m=true m=false]")
	again := &box{}
	wantErr(t, "watch", b.Watch(ctx, "m", again), nil)
	want(t, "as it is now", again.state(), "[] 0 [m=true]")
}

func nameplates(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	_, err := a.Lookup(ctx, "4821")
	wantErr(t, "unknown", err, bus.ErrNobody)
	wantErr(t, "claim", a.Claim(ctx, "4821", "m", time.Minute), nil)
	got, err := b.Lookup(ctx, "4821")
	want(t, "lookup", fmt.Sprintf("%v %v", got, err), "m <nil>")
	wantErr(t, "other", b.Claim(ctx, "4821", "n", time.Minute), bus.ErrTaken)
	wantErr(t, "again", b.Claim(ctx, "4821", "m", time.Minute), nil)
	wantErr(t, "another's release", b.Release(ctx, "4821", "n"), nil)
	got, _ = b.Lookup(ctx, "4821")
	want(t, "still held", got, "m")
	wantErr(t, "release", b.Release(ctx, "4821", "m"), nil)
	_, err = a.Lookup(ctx, "4821")
	wantErr(t, "released", err, bus.ErrNobody)
}

func leases(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	wantErr(t, "claim", a.Claim(ctx, "111", "m", 10*time.Second), nil)
	wantErr(t, "claim", a.Claim(ctx, "222", "m", 40*time.Second), nil)
	wantErr(t, "claim", a.Claim(ctx, "3333", "m", 40*time.Second), nil)
	time.Sleep(2 * time.Second)
	n, err := b.Claimed(ctx, 3)
	want(t, "three digits", fmt.Sprintf("%v %v", n, err), "2 <nil>")
	n, err = b.Claimed(ctx, 4)
	want(t, "four digits", fmt.Sprintf("%v %v", n, err), "1 <nil>")
	time.Sleep(10 * time.Second)
	_, err = b.Lookup(ctx, "111")
	wantErr(t, "ran out", err, bus.ErrNobody)
	n, err = b.Claimed(ctx, 3)
	want(t, "after one ran out", fmt.Sprintf("%v %v", n, err), "1 <nil>")
	wantErr(t, "free for others", b.Claim(ctx, "111", "n", time.Minute), nil)
	wantErr(t, "extend", a.Claim(ctx, "222", "m", time.Minute), nil)
	time.Sleep(40 * time.Second)
	got, err := b.Lookup(ctx, "222")
	want(t, "extended", fmt.Sprintf("%v %v", got, err), "m <nil>")
}

// oneOfMany has a hundred mailboxes claim one nameplate at once.
func oneOfMany(t *testing.T, a, b bus.Bus) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winners []string
	for i := range 100 {
		on, mailbox := a, fmt.Sprint("m", i)
		if i%2 == 1 {
			on = b
		}
		wg.Go(func() {
			if on.Claim(context.Background(), "999", mailbox, time.Minute) == nil {
				mu.Lock()
				winners = append(winners, mailbox)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	got, err := a.Lookup(t.Context(), "999")
	if len(winners) != 1 || err != nil || winners[0] != got {
		t.Errorf("winners %v, holder %q, %v", winners, got, err)
	}
}

func closes(t *testing.T, a, b bus.Bus) {
	ctx := t.Context()
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "subscribe", a.Subscribe(ctx, "m", 1, &box{}), bus.ErrClosed)
	wantErr(t, "publish", a.Publish(ctx, "m", bus.Message{}), bus.ErrClosed)
	wantErr(t, "watch", a.Watch(ctx, "m", &box{}), bus.ErrClosed)
	wantErr(t, "claim", a.Claim(ctx, "123", "m", time.Minute), bus.ErrClosed)
	_, err := a.Lookup(ctx, "123")
	wantErr(t, "lookup", err, bus.ErrClosed)
	_, err = a.Claimed(ctx, 3)
	wantErr(t, "claimed", err, bus.ErrClosed)
	_, err = a.Held(ctx, "m")
	wantErr(t, "held", err, bus.ErrClosed)
	wantErr(t, "release", a.Release(ctx, "123", "m"), bus.ErrClosed)
}
