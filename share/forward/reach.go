package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"tandem/session"
)

const (
	resolveTimeout = 10 * time.Second
	dialTimeout    = 20 * time.Second
	// leastTimeout is what each of several addresses gets at least.
	leastTimeout = 2 * time.Second
	// maxAddresses is how many addresses of a name are looked at.
	maxAddresses = 32
)

// granted is a right's resource and what it means.
type granted struct {
	resource string
	Target
}

// door is an address that is allowed, and for how long.
type door struct {
	address Address
	permit  session.Permit
}

// targets are those of a guest's rights that make sense.
func (s *Service) targets(peer session.PeerID, action string) []granted {
	var all []granted
	for _, resource := range s.config.Grants.Targets(peer, action) {
		t, err := ParseTarget(resource)
		switch {
		case err == nil:
			all = append(all, granted{resource, t})
		case resource != "": // which stands for the service itself
			s.log.Warn("a right to forward makes no sense", "resource", resource)
		}
	}
	return all
}

// permit asks whether one of the targets that admit is a right at this moment.
func (s *Service) permit(ctx context.Context, peer session.PeerID, action string, targets []granted, admits func(Target) bool) (session.Permit, bool) {
	for _, t := range targets {
		if !admits(t.Target) {
			continue
		}
		permit, err := s.config.Grants.Allow(ctx, session.Request{
			Peer: peer, Service: ServiceName, Resource: t.resource, Action: action,
		})
		if err == nil {
			return permit, true
		}
	}
	return session.Permit{}, false
}

// doors are the addresses behind a that a guest may connect to, in the order in
// which to try them. There is at least one, or an error.
func (s *Service) doors(ctx context.Context, peer session.PeerID, a Address) ([]door, error) {
	targets := s.targets(peer, Connect)
	if a.Network == Unix {
		permit, ok := s.permit(ctx, peer, Connect, targets, func(t Target) bool { return t.path == a.Address })
		if !ok {
			return nil, notGranted(Connect, a)
		}
		return []door{{a, permit}}, nil
	}
	host, port, err := a.split()
	if err != nil {
		return nil, err
	}
	name, addr, err := parseHost(host)
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{addr}
	if name != "" {
		if !slices.ContainsFunc(targets, func(t granted) bool { return t.worthResolving(name, port) }) {
			return nil, notGranted(Connect, a)
		}
		if addrs, err = s.resolve(ctx, name); err != nil {
			return nil, failed(Connect, a, err)
		}
	}
	var doors []door
	for _, addr := range addrs {
		permit, ok := s.permit(ctx, peer, Connect, targets, func(t Target) bool { return t.admits(name, addr, port) })
		if ok {
			doors = append(doors, door{TCPAddress(addr.String(), port), permit})
		}
	}
	if len(doors) == 0 {
		return nil, notGranted(Connect, a)
	}
	return doors, nil
}

// resolve looks a name up, once: what is dialled is what was checked.
func (s *Service) resolve(ctx context.Context, name string) ([]netip.Addr, error) {
	if name == localhost {
		return loopback, nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := s.config.Resolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, addr := range found[:min(len(found), maxAddresses)] {
		if addr = addr.Unmap(); addr.IsValid() && !slices.Contains(addrs, addr) {
			addrs = append(addrs, addr)
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: name, IsNotFound: true}
	}
	return addrs, nil
}

// reach connects to where a guest wants to, or to nowhere for a probe.
func (s *Service) reach(ctx context.Context, peer session.PeerID, g *guest, p params) (net.Conn, door, error) {
	if p.IsZero() {
		if len(s.targets(peer, Connect)) == 0 {
			return nil, door{}, notGranted(Connect, p.Address)
		}
		return nil, door{}, nil
	}
	ctx, cancel := s.during(ctx, session.Permit{})
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, dialTimeout)
	defer stop()
	select {
	case g.dialling <- struct{}{}:
		defer func() { <-g.dialling }()
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, door{}, session.Errorf(Connect, session.Busy, "too many connections are being made")
		}
		return nil, door{}, context.Cause(ctx)
	}
	doors, err := s.doors(ctx, peer, p.Address)
	if err != nil || p.Probe {
		return nil, append(doors, door{})[0], err
	}
	deadline, _ := ctx.Deadline()
	var refused error
	for i, d := range doors {
		conn, err := s.dial(ctx, d.address, max(time.Until(deadline)/time.Duration(len(doors)-i), leastTimeout))
		if err == nil {
			return conn, d, nil
		}
		// That nothing listens says more than that IPv6 leads nowhere.
		if err = failed(Connect, p.Address, err); refused == nil || ReasonOf(err) == Refused {
			refused = err
		}
	}
	return nil, door{}, refused
}

func (s *Service) dial(ctx context.Context, a Address, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.config.Dialer.DialContext(ctx, a.Network, a.Address)
}
