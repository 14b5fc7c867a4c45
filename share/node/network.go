package node

import (
	"context"
	"net"
	"slices"
	"time"
)

const (
	// networkPoll is how often this machine's addresses are compared.
	networkPoll = 250 * time.Millisecond
	// clockJump is by how much the wall clock may leave the monotonic clock
	// behind, which stops while a machine sleeps.
	clockJump = 10 * time.Second
)

// watchNetwork tells changed when this machine's addresses have changed or it
// has slept, until ctx ends.
func watchNetwork(ctx context.Context, addresses func() ([]net.Addr, error), changed func(why string)) {
	ticker := time.NewTicker(networkPoll)
	defer ticker.Stop()
	known, _ := usableAddresses(addresses)
	wall := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		jump := now.Round(0).Sub(wall.Round(0)) - now.Sub(wall)
		wall = now
		switch current, err := usableAddresses(addresses); {
		case err == nil && !slices.Equal(current, known):
			known = current
			changed("our addresses have changed")
		case jump.Abs() > clockJump:
			changed("the clock has jumped")
		}
	}
}

// usableAddresses are those that lead to other machines, sorted. Link-local
// ones come and go with every container.
func usableAddresses(addresses func() ([]net.Addr, error)) (usable []string, err error) {
	all, err := addresses()
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			usable = append(usable, n.String())
		}
	}
	slices.Sort(usable)
	return usable, nil
}
