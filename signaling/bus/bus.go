// Package bus is the seam that lets several signaling server processes act as
// one. A server keeps the sockets; the bus knows which process holds which
// mailbox, who holds which nameplate, and who wants to hear about presence.
//
// Nothing on a bus outlives the processes that use it: mailboxes are
// subscriptions, nameplates are leases. [Local] serves a single process.
// Package bustest holds the conformance suite that every implementation passes.
package bus

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNobody means that no process holds the mailbox, or that no mailbox
	// holds the nameplate.
	ErrNobody = errors.New("bus: nobody is there")
	// ErrTaken means that another mailbox holds the nameplate.
	ErrTaken = errors.New("bus: the nameplate is taken")
	// ErrStale means that a newer epoch already holds the mailbox.
	ErrStale = errors.New("bus: a newer connection holds the mailbox")
	// ErrFull means that a queue or table is at its limit.
	ErrFull = errors.New("bus: full")
	// ErrClosed means that the bus has been closed.
	ErrClosed = errors.New("bus: closed")
)

// A Message is one opaque body on its way to a mailbox.
type Message struct {
	From string // the sender's mailbox
	Body []byte // not to be changed by whoever receives it
}

// A Mailbox receives what a subscription brings. Its methods are called with
// the bus's lock held: they return at once and never call the bus.
type Mailbox interface {
	// Deliver takes one message, or answers ErrFull or ErrNobody.
	Deliver(Message) error
	// Replaced says that a newer epoch has taken the mailbox over. Nothing is
	// delivered any more.
	Replaced()
}

// A Watcher hears whether mailboxes are held. Its method is called with the
// bus's lock held: it returns at once and never calls the bus.
type Watcher interface {
	Presence(mailbox string, online bool)
}

// A Bus connects the server processes. All methods may be called at once from
// several goroutines.
type Bus interface {
	// Subscribe makes m the holder of mailbox. The highest epoch wins: a holder
	// with a lower one is told Replaced, and ErrStale is the answer if the
	// present holder's is not lower.
	Subscribe(ctx context.Context, mailbox string, epoch uint64, m Mailbox) error
	// Unsubscribe ends the subscription with that epoch, if it still holds.
	Unsubscribe(mailbox string, epoch uint64)
	// Publish hands a message to the holder of mailbox. It answers ErrNobody
	// or what the holder's Deliver answered.
	Publish(ctx context.Context, mailbox string, m Message) error
	// Held reports whether somebody holds mailbox.
	Held(ctx context.Context, mailbox string) (bool, error)

	// Watch reports to w whether mailbox is held, first as it is now and then
	// at each change. A takeover is not a change.
	Watch(ctx context.Context, mailbox string, w Watcher) error
	// Unwatch ends what Watch began. After it returns w hears no more.
	Unwatch(mailbox string, w Watcher)

	// Claim leases a nameplate to mailbox for ttl, or extends the lease if
	// mailbox holds it already, or answers ErrTaken or ErrFull.
	Claim(ctx context.Context, number, mailbox string, ttl time.Duration) error
	// Release ends mailbox's lease of number, if it has one.
	Release(ctx context.Context, number, mailbox string) error
	// Lookup finds who holds a nameplate, or answers ErrNobody.
	Lookup(ctx context.Context, number string) (mailbox string, err error)
	// Claimed counts the nameplates of so many digits that are leased now. The
	// count may be about a second old.
	Claimed(ctx context.Context, digits int) (int, error)

	// Close ends all subscriptions, watches and leases.
	Close() error
}
