package host

import (
	"context"
	"sync"
	"time"
)

// A letter waits for its server for slowAfter times as long as that took the last
// time, at least leastWait.
const (
	slowAfter = 3
	leastWait = 100 * time.Millisecond
)

// send posts a letter through server. If that has not taken it when it usually
// has, or another one was faster the last time, the letter goes through all
// servers as well. The first that takes it will do; it may arrive twice.
func (h *Host) send(ctx context.Context, server, mailbox string, body []byte) error {
	if server == "" {
		return h.cfg.Post.Send(ctx, "", mailbox, body)
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	through := func(server string) <-chan error {
		result := make(chan error, 1)
		sending.Go(func() { result <- h.cfg.Post.Send(ctx, server, mailbox, body) })
		return result
	}
	began := time.Now()
	named := through(server)
	var all <-chan error
	late := time.After(h.wait(server))
	var failed error
	for pending := 1; pending > 0; {
		ask := false
		select {
		case err := <-named:
			if err == nil {
				h.confirmed(server, time.Since(began))
				return nil
			}
			failed = err
			pending--
			ask = all == nil
		case err := <-all:
			if err == nil {
				h.confirmed(server, 0)
				return nil
			}
			failed = err
			pending--
		case <-late:
			ask = all == nil
		}
		if ask && ctx.Err() == nil {
			all = through("")
			pending++
		}
	}
	return failed
}

// wait is how long a letter waits for a server before it goes through others.
func (h *Host) wait(server string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := h.cfg.patience.server
	switch took, known := h.servers[server]; {
	case !known:
		return most
	case took == 0:
		return 0
	default:
		return min(max(leastWait, slowAfter*took), most)
	}
}

// confirmed notes how long a server took, or 0 if another one was faster.
func (h *Host) confirmed(server string, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers[server] = took
}
