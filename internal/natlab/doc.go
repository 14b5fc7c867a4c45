// Package natlab builds small internets out of Linux network namespaces, for tests and benchmarks.
//
// Hosts, routers and NATs are real kernel network stacks; only the wide area between them is ours.
// A test draws its network and runs programs in it:
//
//	lab := natlab.New(t)
//	wan := lab.WAN(natlab.Link{Delay: 25 * time.Millisecond})
//	srv := wan.Host("server")
//	a := wan.NAT(natlab.Home).Host("alice")
//	b := wan.NAT(natlab.Symmetric).Host("bob")
//	server := srv.Command(ctx, bin, "server")
//	err := a.Run(ctx, func() error { … sockets made here belong to alice … })
//
// which is this network:
//
//	server 5.1.1.2          alice 192.168.2.2        bob 192.168.3.2
//	   eth0                      eth0                     eth0        namespace of the host
//	    │ veth                    │                        │
//	   lan  5.1.1.1              lan 192.168.2.1          lan         bridge in the namespace of
//	 router (Public)           router (Home)            router        the router; nft rules
//	   wan                       wan 5.1.2.1              wan 5.1.3.1 TUN device
//	    │                         │                        │
//	┌───┴─────────────────────────┴────────────────────────┴───┐
//	│ WAN: forwards between the TUN devices, in this process   │
//	└──────────────────────────────────────────────────────────┘
//
// # Addresses
//
// Site n of a WAN, counted from 1, owns 5.1.n.0/24 and 2a01:4f8:n::/48. They look global, so that
// code which treats private and reserved addresses differently behaves as it would outside; no
// packet ever leaves the lab, which has no route out. Behind a NAT a site uses 192.168.n.0/24, a
// carrier's customers 100.64.n.0/24. With [DualStack] or [IPv6Only] hosts get routed IPv6 addresses
// from the site's block. Packets to an address no site owns, or from one the sending site does not
// own, vanish. There is no DNS.
//
// # Links
//
// A packet from one site to another crosses three links in turn: the sender's access link upwards,
// the path between the two sites, and the receiver's access link downwards. Each direction of each
// has its own queue and its own random numbers. The [Link] given to [Lab.WAN] is the path's, so a
// packet meets it exactly once and the round trip between any two sites is twice its Delay. Access
// links are perfect unless a site is made with [Access]; they are where several paths share one
// rate. [NAT.Wire] and [WAN.Path] give handles to change, cut, measure and record a link while
// traffic flows.
//
// A link holds each packet until it is due by a kernel timer; packets come out at most about a
// millisecond late on an idle machine, never early, and in order. An idle link uses no CPU. Traffic
// within one LAN never comes here, the kernel's bridge carries it at full speed.
//
// # What can happen
//
// A host gets another address ([Host.Readdress]), goes to another network ([Host.Move]), loses its
// cable ([Host.Unplug]) or a protocol ([Host.Block], [NAT.Block]). A router gets another outer address
// ([NAT.Rebind]) or loses its mappings ([NAT.Forget], [UDPTimeout]). A link fails without anyone being
// told ([Wire.Cut]), between two sites only if it is that of [WAN.Path], or changes what it is
// ([Wire.SetLink]). [Wire.Stats], [Wire.Tap] and [Wire.Capture] tell what a link carried, and
// [Host.Counters] what an interface did.
//
// # Lifetime
//
// Namespaces are anonymous: they are held by a file descriptor of the test process and by the
// processes in them, so the kernel removes them, their interfaces and rules when the test process
// ends, however it ends, and any number of test processes run side by side. At the end of the test
// processes still running in the lab are killed. Programs orphaned by a test process that died
// carry its mark in their environment, and the next [New] ends them.
//
// # Needs
//
// TANDEM_LAB=1 in the environment, root, /dev/net/tun, and the programs ip, nft and nsenter. [New]
// skips the test when one is missing and says which; with TANDEM_LAB=required it fails the test
// instead.
// Everything but this comment is for Linux only, so a test file that imports the package needs a
// linux build constraint.
package natlab
