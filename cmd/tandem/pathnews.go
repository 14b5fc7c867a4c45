package main

import (
	"context"
	"sync"

	"tandem/session"
	"tandem/share/node"
)

// pathNews tells what becomes of the path to a peer: whoever types at its terminal
// would like to know why nothing comes back. stop ends it.
func pathNews(ctx context.Context, b node.Backend, peer string) (news <-chan string, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan string, 4)
	var work sync.WaitGroup
	work.Go(func() {
		happened, err := b.Events(ctx)
		if err != nil {
			return // the terminal works without
		}
		now, err := b.Why(ctx, peer)
		if err != nil {
			return // and so does whoever says that there is no such peer
		}
		e := &events{paths: map[session.PeerID]session.Path{now.Peer.ID: now.Path}}
		for {
			select {
			case ev, ok := <-happened:
				if !ok {
					return
				}
				if ev.Peer == nil || ev.Path == nil || ev.Peer.ID != now.Peer.ID {
					continue
				}
				if line := e.line(ev); line != "" && ev.Event == node.EventPath {
					select {
					case lines <- line:
					default: // there are enough already
					}
				}
			case <-ctx.Done():
				return
			}
		}
	})
	return lines, func() { cancel(); work.Wait() }
}
