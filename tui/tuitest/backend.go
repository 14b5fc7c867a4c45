// Package tuitest is what tests of pages share: a scripted Backend, golden
// renders, and flows through a real bubbletea program.
package tuitest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"tandem/session"
	"tandem/share/node"
)

// Now is the time in goldens.
func Now() time.Time { return time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC) }

// Backend is a scripted page.Backend: it answers with what Has says, notes what
// it was asked to change, and emits events when told. Once it is in use, Has is
// changed by Script.
type Backend struct {
	mu    sync.Mutex
	Has   Answers
	calls []string
	subs  []chan node.Event
}

// Answers are what a Backend answers with.
type Answers struct {
	Self     node.Self
	Peers    []node.PeerStatus
	Shares   []node.ShareStatus
	Requests []node.Request
	// Activity answers Activity, the newest entry first.
	Activity []node.AuditEntry
	// Joined answers Join; Invite is the share that StartShare makes.
	Joined node.Joined
	Invite node.ShareStatus
	// Open answers Open; nil refuses.
	Open func(ctx context.Context, peer string, h session.Header) (session.Stream, error)
	// Err fails everything; Fail fails the methods it names.
	Err  error
	Fail map[string]error
	// Hang makes everything wait for its context.
	Hang bool
	// Wait makes Join wait until it is closed.
	Wait chan struct{}
}

// New is a backend whose device has a name and nobody around.
func New() *Backend {
	return &Backend{Has: Answers{Self: node.Self{
		Peer: session.Peer{ID: ID(0), Name: "laptop"}, Words: node.Words(ID(0)), Home: "/home/ada/.local/state/tandem", Version: "1.0",
		Servers: []node.ServerStatus{{URL: "https://tandem.example", Connected: true}},
	}}}
}

// Busy is a backend with a session, two connected peers and two more.
func Busy() *Backend {
	b := New()
	b.Has.Peers = []node.PeerStatus{Peer(1, "anna", true), Peer(2, "build-server", true), Peer(3, "carlos", false), Peer(4, "dora", false)}
	b.Has.Peers[1].Path = session.Path{
		Kind: session.Relayed, Remote: session.Endpoint{Type: "relay", Protocol: "udp"}, RTT: 84 * time.Millisecond,
		WhyNotDirect: "both sides are behind symmetric NATs",
	}
	b.Has.Shares = []node.ShareStatus{Share("s1", "project", Guest(1, "anna"))}
	return b
}

// ID is the ID of the nth peer.
func ID(n int) session.PeerID {
	return session.PeerID{byte(n), byte(n >> 8), byte(n >> 16)}
}

// Peer is the nth peer, connected directly or not at all.
func Peer(n int, alias string, connected bool) node.PeerStatus {
	p := node.PeerStatus{Peer: session.Peer{ID: ID(n), Name: alias}, Alias: alias, Words: node.Words(ID(n)), Path: session.Path{Kind: session.NoPath}}
	if connected {
		p.Connected = true
		p.Path = session.Path{Kind: session.Direct, Remote: session.Endpoint{Type: "host", Protocol: "udp"}, RTT: 12 * time.Millisecond, Since: Now()}
	}
	return p
}

// Peers are so many peers, the first few of them connected.
func Peers(n, connected int) []node.PeerStatus {
	peers := make([]node.PeerStatus, n)
	for i := range peers {
		peers[i] = Peer(i+1, fmt.Sprintf("peer-%05d", i+1), i < connected)
	}
	return peers
}

// Guest is the nth peer as a connected guest.
func Guest(n int, alias string) node.GuestStatus {
	p := Peer(n, alias, true)
	return node.GuestStatus{Peer: p.Peer, Words: p.Words, Rights: Rights(), Connected: true, Path: p.Path, Since: Now()}
}

// Rights are those of a session with a terminal and a folder.
func Rights() []node.Right {
	return []node.Right{
		{Service: "terminal/1", Actions: []string{"view", "control"}},
		{Service: "folder/1", Resource: "project", Actions: []string{"read", "write"}},
	}
}

// Share is a live session.
func Share(id, name string, guests ...node.GuestStatus) node.ShareStatus {
	return node.ShareStatus{
		ID: id, Name: name, Started: Now().Add(-time.Minute), Guests: guests,
		Shared: node.Shared{
			Code: "4821-wolf-paper-lunar", Link: "https://tandem.example/j#4821.3q2-7wAAAAAAAAAAAAAAAA.q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s",
			Server: "https://tandem.example", Expires: Now().Add(9 * time.Minute), Offers: Rights(), Here: true,
		},
	}
}

// Request is a guest who waits to be let into a share.
func Request(id string, n int, name, share string) node.Request {
	return node.Request{
		ID: id, Kind: node.RequestJoin, Share: share, Since: Now(),
		Guest: node.Guest{Peer: session.Peer{ID: ID(n), Name: name}, Words: node.Words(ID(n)), Offers: Rights()},
	}
}

// Script changes what the backend answers.
func (b *Backend) Script(change func(*Answers)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.Has)
}

// Emit sends events to whoever listens; a slow reader loses them.
func (b *Backend) Emit(events ...node.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.subs {
		for _, e := range events {
			select {
			case c <- e:
			default:
			}
		}
	}
}

// Listeners is how many listen to events.
func (b *Backend) Listeners() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.subs)
}

// Drop ends the streams of events, as a node does that ends.
func (b *Backend) Drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.subs {
		close(c)
	}
	b.subs = nil
}

// Calls are the calls that change something, in order.
func (b *Backend) Calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// begin notes a call, if there is something to note, and says how it goes.
func (b *Backend) begin(ctx context.Context, method, call string) (Answers, error) {
	b.mu.Lock()
	has := b.Has
	if call != "" {
		b.calls = append(b.calls, call)
	}
	b.mu.Unlock()
	if has.Hang {
		<-ctx.Done()
		return has, ctx.Err()
	}
	if err := has.Fail[method]; err != nil {
		return has, err
	}
	return has, has.Err
}

// Self answers with Has.Self.
func (b *Backend) Self(ctx context.Context) (node.Self, error) {
	has, err := b.begin(ctx, "Self", "")
	return has.Self, err
}

// Peers answers with Has.Peers.
func (b *Backend) Peers(ctx context.Context) ([]node.PeerStatus, error) {
	has, err := b.begin(ctx, "Peers", "")
	return slices.Clone(has.Peers), err
}

// Shares answers with Has.Shares.
func (b *Backend) Shares(ctx context.Context) ([]node.ShareStatus, error) {
	has, err := b.begin(ctx, "Shares", "")
	return slices.Clone(has.Shares), err
}

// Requests answers with Has.Requests.
func (b *Backend) Requests(ctx context.Context) ([]node.Request, error) {
	has, err := b.begin(ctx, "Requests", "")
	return slices.Clone(has.Requests), err
}

// Activity answers with the page of Has.Activity that is asked for.
func (b *Backend) Activity(ctx context.Context, q node.ActivityQuery) ([]node.AuditEntry, error) {
	has, err := b.begin(ctx, "Activity", "")
	page := slices.DeleteFunc(slices.Clone(has.Activity), func(e node.AuditEntry) bool {
		return q.Before > 0 && e.Seq >= q.Before || q.Peer != "" && e.Name != q.Peer && e.Peer.String() != q.Peer
	})
	if q.Limit > 0 && len(page) > q.Limit {
		page = page[:q.Limit]
	}
	return page, err
}

// Events gives what Emit emits.
func (b *Backend) Events(ctx context.Context) (<-chan node.Event, error) {
	if _, err := b.begin(ctx, "Events", ""); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan node.Event, 1024)
	b.subs = append(b.subs, c)
	return c, nil
}

// StartShare answers with Has.Invite, which is live then.
func (b *Backend) StartShare(ctx context.Context, s node.Share) (node.ShareStatus, error) {
	var folders []string
	for _, f := range s.Folders {
		folders = append(folders, fmt.Sprintf("%s write=%v executables=%v", f.Dir, f.Write, f.Executables))
	}
	has, err := b.begin(ctx, "StartShare", fmt.Sprintf("start folders=%q terminal=%v view=%v command=%q forward=%q record=%q uses=%d expires=%v",
		folders, s.Terminal, s.ViewOnly, s.Command, s.Forward, s.Record, s.Uses, s.Expires))
	if err != nil {
		return node.ShareStatus{}, err
	}
	b.Script(func(a *Answers) { a.Shares = append(slices.Clone(a.Shares), has.Invite) })
	return has.Invite, nil
}

// EndShare ends the share.
func (b *Backend) EndShare(ctx context.Context, id string) error {
	_, err := b.begin(ctx, "EndShare", "end "+id)
	b.Script(func(a *Answers) {
		a.Shares = slices.DeleteFunc(slices.Clone(a.Shares), func(s node.ShareStatus) bool { return s.ID == id })
	})
	return err
}

// Answer settles a request.
func (b *Backend) Answer(ctx context.Context, request string, a node.Answer) error {
	_, err := b.begin(ctx, "Answer", fmt.Sprintf("answer %s allow=%v once=%v", request, a.Allow, a.Once))
	b.Script(func(has *Answers) {
		has.Requests = slices.DeleteFunc(slices.Clone(has.Requests), func(r node.Request) bool { return r.ID == request })
	})
	return err
}

// Join answers with Has.Joined.
func (b *Backend) Join(ctx context.Context, invite string, servers []string) (node.Joined, error) {
	has, err := b.begin(ctx, "Join", fmt.Sprintf("join %s %v", invite, servers))
	if has.Wait != nil {
		select {
		case <-has.Wait:
		case <-ctx.Done():
			return node.Joined{}, ctx.Err()
		}
	}
	return has.Joined, err
}

// Open answers with Has.Open.
func (b *Backend) Open(ctx context.Context, peer string, h session.Header) (session.Stream, error) {
	has, err := b.begin(ctx, "Open", fmt.Sprintf("open %s %s %s %s", peer, h.Service, h.Resource, h.Action))
	switch {
	case err != nil:
		return nil, err
	case has.Open == nil:
		return nil, session.Errorf("open", session.Denied, "you have not been granted %q", h.Action)
	}
	return has.Open(ctx, peer, h)
}

// Why answers with the peer of that ID or alias.
func (b *Backend) Why(ctx context.Context, peer string) (node.PeerStatus, error) {
	has, err := b.begin(ctx, "Why", "")
	if err != nil {
		return node.PeerStatus{}, err
	}
	for _, p := range has.Peers {
		if p.Alias == peer || p.Peer.ID.String() == peer {
			return p, nil
		}
	}
	return node.PeerStatus{}, session.Errorf("why", session.NotFound, "no peer %s", peer)
}

// Ended waits for the context.
func (b *Backend) Ended(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// Dismiss notes it.
func (b *Backend) Dismiss(ctx context.Context, peer string) error {
	_, err := b.begin(ctx, "Dismiss", "dismiss "+peer)
	return err
}

// Forget notes it.
func (b *Backend) Forget(ctx context.Context, peer string) error {
	_, err := b.begin(ctx, "Forget", "forget "+peer)
	return err
}

// Rename notes it.
func (b *Backend) Rename(ctx context.Context, peer, alias string) error {
	_, err := b.begin(ctx, "Rename", "rename "+peer+" "+alias)
	return err
}

// Close does nothing.
func (b *Backend) Close() error { return nil }
