//go:build linux

package natlab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Node is a place in the lab: a *Host or a *NAT.
type Node interface {
	fmt.Stringer
	site() *site // nil if it is on no WAN
}

// node is what hosts and routers have in common: a network stack of their own.
type node struct {
	lab *Lab
	ns  *namespace
}

// String is the node's name.
func (n *node) String() string { return n.ns.name }

// Run calls fn on an operating system thread inside the node's network. Sockets that fn itself
// opens belong to the node for good and may be used anywhere; goroutines that fn starts do not run
// there, nor do those that packages like net/http start for it. Run returns what fn returns, or
// ctx's error without calling fn if ctx is done already.
func (n *node) Run(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return n.ns.run(fn)
}

// Command prepares a program to run in the node's network; ending ctx kills it. It becomes the
// program by way of nsenter, under one process id. Environment is to be added to cmd.Env, which is
// set, not put in its place. Wait gives up on a descendant that keeps the output open 10 s after the
// program has ended.
func (n *node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path, err := exec.LookPath(name)
	cmd := exec.CommandContext(ctx, n.lab.tools.nsenter,
		append([]string{"--net=" + n.ns.path(), "--", path}, args...)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), ownerVar+"="+owner())
	return cmd
}

// DialContext connects from the node; it fits http.Transport. Names are looked up outside the lab.
func (n *node) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := n.Run(ctx, func() (err error) {
		// Without a fallback the dialer stays on this goroutine.
		conn, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens for connections to the node.
func (n *node) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	var l net.Listener
	err := n.Run(ctx, func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a packet socket on the node.
func (n *node) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := n.Run(ctx, func() (err error) {
		c, err = (&net.ListenConfig{}).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Block makes the node drop the given protocols, and no others: everything it sends, receives or
// forwards, except to itself. Connections under way stall. Block() lifts it.
func (n *node) Block(protocols ...Protocol) {
	n.lab.t.Helper()
	var match []string
	for _, p := range protocols {
		switch p {
		case UDP, TCP:
			match = append(match, fmt.Sprintf("meta l4proto %d drop", p))
		case ICMP:
			match = append(match, "ip protocol icmp drop",
				"icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem, echo-request, echo-reply } drop")
		default:
			n.lab.t.Fatalf("natlab: block protocol %d: only UDP, TCP and ICMP", p)
		}
	}
	var b strings.Builder
	b.WriteString("table inet natlab_block\ndelete table inet natlab_block\n")
	if len(match) > 0 {
		b.WriteString("table inet natlab_block {\n")
		for _, hook := range []string{"input", "output", "forward"} {
			fmt.Fprintf(&b, "chain at_%s {\ntype filter hook %s priority -350\n", hook, hook)
			if hook != "forward" {
				fmt.Fprintf(&b, "%s lo accept\n", map[string]string{"input": "iifname", "output": "oifname"}[hook])
			}
			b.WriteString(strings.Join(match, "\n") + "\n}\n")
		}
		b.WriteString("}\n")
	}
	n.lab.must(n.ns.nft(b.String()))
}
