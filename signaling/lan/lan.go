package lan

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"tandem/signaling"
)

// ErrNotFound means that nobody on the network answered for a nameplate in
// time.
var ErrNotFound = errors.New("lan: nobody on this network has that nameplate")

const (
	lookAgain = 10 * time.Second       // how often a responder looks for new interfaces
	settle    = 150 * time.Millisecond // after the first answer, for those from other interfaces
	firstAsk  = 250 * time.Millisecond // until the question is repeated, then twice as long each time
	longAsk   = 4 * time.Second

	maxFailures = 64 // to read, in a row
)

// responder answers for one nameplate.
type responder struct {
	nameplate, instance string
	port                uint16
	families            []family
	limit               *rate.Limiter
	cancel              context.CancelFunc
	work                sync.WaitGroup

	mu  sync.Mutex
	net network
}

// Advertise answers on the local networks that a signaling server on this
// machine, speaking plain HTTP on TCP port, holds nameplate. It goes on until
// ctx ends or Close is called; Close returns when the work has ended and must be
// called in any case.
func Advertise(ctx context.Context, nameplate string, port uint16) (io.Closer, error) {
	if !signaling.ValidNumber(nameplate) {
		return nil, fmt.Errorf("lan: %.20q is not a nameplate", nameplate)
	}
	if port == 0 {
		return nil, errors.New("lan: there is no port 0")
	}
	n, err := survey()
	if err != nil {
		return nil, fmt.Errorf("lan: %w", err)
	}
	families, err := open(ctx, n)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &responder{
		nameplate: nameplate, instance: strings.ToLower(rand.Text()[:12]), port: port,
		families: families, limit: rate.NewLimiter(10, 10), cancel: cancel, net: n,
	}
	for _, f := range families {
		r.work.Go(func() { r.answer(f) })
	}
	r.work.Go(func() { r.watch(ctx) })
	return r, nil
}

// Close implements io.Closer.
func (r *responder) Close() error {
	r.cancel()
	r.work.Wait()
	return nil
}

// watch joins the groups on interfaces that come later, and closes the sockets when
// ctx ends.
func (r *responder) watch(ctx context.Context) {
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, f := range r.families {
				_ = f.Close()
			}
			return
		case <-ticker.C:
		}
		if n, err := survey(); err == nil {
			joinAll(r.families, n)
			r.mu.Lock()
			r.net = n
			r.mu.Unlock()
		}
	}
}

// answer answers questions until f is closed.
func (r *responder) answer(f family) {
	for p := range packets(f) {
		q, ok := parseQuestion(p.data, r.nameplate)
		if !ok || !r.limit.Allow() {
			continue
		}
		r.mu.Lock()
		n := r.net
		r.mu.Unlock()
		if !n.onLink(p.src.Addr()) {
			continue
		}
		i, ok := n.facing(p.index, p.src.Addr())
		if !ok {
			continue
		}
		legacy := p.src.Port() != port
		data, err := answer(r.nameplate, r.instance, r.port, i.reachable(), q, legacy)
		if err != nil {
			continue
		}
		var to netip.AddrPort // the group
		if legacy {
			to = p.src
		}
		_ = f.write(data, &i.Interface, to) // like any datagram it may get lost
	}
}

// Find asks the local networks for the servers that hold nameplate, until one
// has answered or ctx ends; then the error is ErrNotFound. The URLs are plain
// HTTP, in the order of the answers.
func Find(ctx context.Context, nameplate string) ([]string, error) {
	if !signaling.ValidNumber(nameplate) {
		return nil, fmt.Errorf("lan: %.20q is not a nameplate", nameplate)
	}
	data, err := question(nameplate)
	if err != nil {
		return nil, fmt.Errorf("lan: %w", err)
	}
	n, err := survey()
	if err != nil {
		return nil, fmt.Errorf("lan: %w", err)
	}
	families, err := open(ctx, n)
	if err != nil {
		return nil, err
	}
	answers := make(chan []netip.AddrPort)
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer func() {
		cancel()
		for _, f := range families {
			_ = f.Close()
		}
	}()
	for _, f := range families {
		work.Go(func() { collect(ctx, f, n, nameplate, answers) })
	}

	var found []string
	wait := firstAsk
	ask(families, n, data)
	again := time.NewTimer(wait)
	defer again.Stop()
	var settled <-chan time.Time
	for {
		select {
		case addrs := <-answers:
			for _, a := range addrs {
				u := (&url.URL{Scheme: "http", Host: a.String()}).String()
				if !slices.Contains(found, u) && len(found) < maxURLs {
					found = append(found, u)
				}
			}
			if settled == nil && len(found) > 0 {
				settled = time.After(settle)
			}
		case <-again.C:
			ask(families, n, data)
			wait = min(2*wait, longAsk)
			again.Reset(wait)
		case <-settled:
			return found, nil
		case <-ctx.Done():
			if len(found) > 0 {
				return found, nil
			}
			return nil, fmt.Errorf("%w: %w", ErrNotFound, ctx.Err())
		}
	}
}

// ask sends the question on every interface. Some cannot send, such as IPv6
// on a loopback interface without a route; that is for the others to make up.
func ask(families []family, n network, data []byte) {
	for _, f := range families {
		for _, i := range n.ifaces {
			_ = f.write(data, &i.Interface, netip.AddrPort{})
		}
	}
}

// collect passes on what f's answers say, until f is closed.
func collect(ctx context.Context, f family, n network, nameplate string, answers chan<- []netip.AddrPort) {
	for p := range packets(f) {
		addrs := believable(n, p.src.Addr(), parseAnswer(p.data, nameplate))
		if len(addrs) == 0 {
			continue
		}
		select {
		case answers <- addrs:
		case <-ctx.Done():
			return
		}
	}
}

// packets is what arrives at f until it is closed, or is beyond use. A packet
// is valid until the next.
func packets(f family) iter.Seq[packet] {
	return func(yield func(packet) bool) {
		buf := make([]byte, maxMessage)
		for failures := 0; failures < maxFailures; {
			p, err := f.read(buf)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil: // about a datagram of ours that did not get through, for one
				failures++
				continue
			}
			failures = 0
			if !yield(p) {
				return
			}
		}
	}
}

// believable is those addresses that src may send us to.
func believable(n network, src netip.Addr, addrs []netip.AddrPort) []netip.AddrPort {
	if !n.onLink(src) {
		return nil
	}
	return slices.DeleteFunc(addrs, func(a netip.AddrPort) bool {
		addr := a.Addr()
		if addr.IsUnspecified() || addr.IsMulticast() || addr.Is6() && addr.IsLinkLocalUnicast() {
			return true
		}
		if n.ours(addr) {
			return !n.ours(src)
		}
		return !n.onLink(addr)
	})
}
