package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tandem/relay/probe"
	"tandem/session"
	"tandem/share/node"
	"tandem/signaling"
)

const (
	// doctorTimeout bounds each of the doctor's checks.
	doctorTimeout = 5 * time.Second
	// maxServerNames bounds what one server may make the doctor look at.
	maxServerNames = 16
)

func newDoctor(io stdio, f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this network allows, and what to do about what it doesn't",
		Long: strings.TrimSpace(`
Say what this network allows: which address families it has, what its NAT does
(RFC 5780), whether UDP gets out, how each transport of the relay is reached,
how fast the signaling server answers. It asks the configured servers, or those
given with --server, and nobody else.`),
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd.Context(), io, f) },
	}
}

// finding is one thing the doctor has looked at.
type finding struct {
	Check   string  `json:"check"` // "ipv4", "ipv6", "signaling", "clock", "nat", "relay"
	Subject string  `json:"subject,omitempty"`
	OK      bool    `json:"ok"`
	Millis  float64 `json:"ms,omitempty"`
	Found   string  `json:"found"`
	Advice  string  `json:"advice,omitempty"`
}

// doctor tells findings as they come and remembers what they add up to.
type doctor struct {
	tell  func(finding) error
	trust *tls.Config

	nats         []probe.NAT
	udpSilent    bool // a STUN server was asked and none answered
	relays       int
	relaysOpen   int
	haveIPv6     bool
	signalingOK  bool
	serversAsked int
}

func (d *doctor) report(f finding) error {
	f.Subject, f.Found = session.Printable(f.Subject), session.Printable(f.Found)
	return d.tell(f)
}

// printFinding shows one to people, or to scripts.
func printFinding(io stdio, asJSON bool, f finding) error {
	if asJSON {
		return json.NewEncoder(io.out).Encode(f)
	}
	mark := "ok"
	if !f.OK {
		mark = "!!"
	}
	line := fmt.Sprintf("%s  %-10s %s", mark, f.Check, f.Found)
	if f.Subject != "" {
		line = fmt.Sprintf("%s  %-10s %s: %s", mark, f.Check, f.Subject, f.Found)
	}
	if f.Millis > 0 {
		line += fmt.Sprintf(" (%s)", roundTrip(time.Duration(f.Millis*float64(time.Millisecond))))
	}
	if _, err := fmt.Fprintln(io.out, line); err != nil {
		return err
	}
	if f.Advice != "" {
		_, err := fmt.Fprintf(io.out, "                → %s\n", f.Advice)
		return err
	}
	return nil
}

func millis(t time.Duration) float64 { return float64(t.Microseconds()) / 1000 }

func runDoctor(ctx context.Context, io stdio, f *flags) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	ok, err := examine(ctx, cfg, func(found finding) error { return printFinding(io, f.json, found) })
	if err != nil || ok {
		return err
	}
	return exitError(exitUnreachable)
}

// examine looks at the network, and says whether peers can be met.
func examine(ctx context.Context, cfg node.Config, tell func(finding) error) (ok bool, err error) {
	d := &doctor{tell: tell, trust: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12}}
	if err := d.families(); err != nil {
		return false, err
	}
	for _, s := range cfg.Servers {
		d.serversAsked++
		if err := d.server(ctx, s, cfg.Insecure); err != nil {
			return false, err
		}
	}
	return d.conclude(ctx)
}

// families looks at this machine's own addresses.
func (d *doctor) families() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return &session.Error{Op: "list this machine's addresses", Err: err}
	}
	var v4, v6 []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr().Unmap()
		switch {
		case addr.IsLoopback() || addr.IsLinkLocalUnicast():
		case addr.Is4():
			v4 = append(v4, addr.String())
		case !addr.IsPrivate():
			v6 = append(v6, addr.String())
		}
	}
	if err := d.report(finding{Check: "ipv4", OK: len(v4) > 0, Found: orNone(v4)}); err != nil {
		return err
	}
	d.haveIPv6 = len(v6) > 0
	f := finding{Check: "ipv6", OK: d.haveIPv6, Found: orNone(v6)}
	if !d.haveIPv6 {
		f.Advice = "With IPv6 on both sides no NAT is in the way."
	}
	return d.report(f)
}

func orNone(addrs []string) string {
	if len(addrs) == 0 {
		return "no address"
	}
	return strings.Join(addrs, ", ")
}

// server asks one signaling server, and then the STUN and TURN servers it names.
func (d *doctor) server(ctx context.Context, name string, insecure bool) error {
	checkCtx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	probed, err := signaling.Probe(checkCtx, signaling.Config{AllowInsecure: insecure, TLS: d.trust}, name)
	if err != nil {
		f := finding{Check: "signaling", Subject: name, Found: err.Error()}
		var se *signaling.Error
		if errors.As(err, &se) {
			f.Advice = se.Hint
		}
		return d.report(f)
	}
	d.signalingOK = true
	if err := d.report(finding{Check: "signaling", Subject: name, OK: true, Found: "answers", Millis: millis(probed.RTT)}); err != nil {
		return err
	}
	if warning := signaling.ClockWarning(probed.ClockSkew); warning != "" {
		err := d.report(finding{Check: "clock", Found: warning, Advice: "Set the clock: offers are refused a minute after they were made."})
		if err != nil {
			return err
		}
	}
	if err := d.nat(ctx, probed.STUN); err != nil {
		return err
	}
	return d.checkRelays(ctx, name, insecure)
}

// nat finds out what translates our addresses, by each STUN server of each
// family.
func (d *doctor) nat(ctx context.Context, stunURLs []string) error {
	if len(stunURLs) == 0 {
		return d.report(finding{Check: "nat", Found: "the server names no STUN server, so the NAT can't be examined"})
	}
	byFamily := map[string][]netip.AddrPort{}
	for _, u := range stunURLs[:min(len(stunURLs), maxServerNames)] {
		for _, a := range resolveSTUN(ctx, u) {
			family := "udp4"
			if a.Addr().Is6() {
				family = "udp6"
			}
			byFamily[family] = append(byFamily[family], a)
		}
	}
	for _, family := range []string{"udp4", "udp6"} {
		servers := byFamily[family]
		if len(servers) == 0 {
			continue
		}
		conn, err := net.ListenUDP(family, nil)
		if err != nil {
			continue // the family isn't there, as said above
		}
		checkCtx, cancel := context.WithTimeout(ctx, doctorTimeout)
		nat, err := probe.Discover(checkCtx, conn, servers[0], servers[1:]...)
		cancel()
		_ = conn.Close()
		if err != nil {
			d.udpSilent = true
			err = d.report(finding{
				Check: "nat", Subject: family, Found: "no STUN server answers over UDP",
				Advice: "UDP seems to be blocked here: sessions go through the relay, over TCP or TLS.",
			})
		} else {
			d.nats = append(d.nats, nat)
			err = d.report(describeNAT(family, nat))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func describeNAT(family string, nat probe.NAT) finding {
	f := finding{Check: "nat", Subject: family, OK: true, Millis: millis(nat.RTT)}
	if !nat.Translated() {
		f.Found = fmt.Sprintf("none: the outside sees %s as it is", nat.Mapped)
		return f
	}
	f.Found = fmt.Sprintf("the outside sees %s; mapping %s, filtering %s", nat.Mapped, nat.Mapping, nat.Filtering)
	if nat.Mapping == probe.ByAddress || nat.Mapping == probe.ByAddressAndPort {
		f.OK = false
		f.Advice = "This NAT uses another port for each destination: peers behind a strict NAT are reached through the relay. IPv6 or a port mapping on the router would help."
	}
	return f
}

// resolveSTUN is where a "stun:" URI (RFC 7064) leads.
func resolveSTUN(ctx context.Context, uri string) []netip.AddrPort {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "stun" {
		return nil
	}
	host, port, err := net.SplitHostPort(u.Opaque)
	if err != nil {
		host, port = strings.Trim(u.Opaque, "[]"), "3478"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	var found []netip.AddrPort
	for _, a := range addrs {
		found = append(found, netip.AddrPortFrom(a.Unmap(), uint16(n)))
	}
	return found
}

// checkRelays tries every transport of every relay the server hands out.
func (d *doctor) checkRelays(ctx context.Context, server string, insecure bool) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	client, err := signaling.New(signaling.Config{Servers: []string{server}, Key: key, AllowInsecure: insecure, TLS: d.trust})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // its mailbox ends here
	checkCtx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	relays, err := client.Relays(checkCtx)
	if err != nil {
		return d.report(finding{Check: "relay", Found: "no credentials: " + err.Error()})
	}
	var accesses []probe.Access
	for _, r := range relays {
		for _, u := range r.URLs {
			if strings.HasPrefix(u, "turn") && len(accesses) < maxServerNames {
				accesses = append(accesses, probe.Access{URL: u, Username: r.Username, Password: r.Password, TLS: d.trust})
			}
		}
	}
	if len(accesses) == 0 {
		return d.report(finding{
			Check: "relay", Found: "the server has none",
			Advice: "Peers behind strict NATs will not meet. `tandem server --public-ip …` runs one.",
		})
	}
	relayCtx, cancelRelays := context.WithTimeout(ctx, doctorTimeout)
	defer cancelRelays()
	for _, r := range probe.CheckRelays(relayCtx, accesses...) {
		d.relays++
		f := finding{Check: "relay", Subject: r.Access.URL, OK: r.Step == probe.Done}
		if f.OK {
			d.relaysOpen++
			f.Found, f.Millis = "open", millis(r.Allocated)
		} else {
			f.Found = fmt.Sprintf("fails at %s: %v", r.Step, r.Err)
		}
		if err := d.report(f); err != nil {
			return err
		}
	}
	return nil
}

// conclude says in a sentence what to expect.
func (d *doctor) conclude(ctx context.Context) (ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	strict := false
	for _, nat := range d.nats {
		strict = strict || nat.Translated() && (nat.Mapping == probe.ByAddress || nat.Mapping == probe.ByAddressAndPort)
	}
	f := finding{Check: "verdict", OK: true}
	switch {
	case d.serversAsked == 0:
		f.Found = "no server is configured; tandem works on the local network and with links"
		f.Advice = "Name a server with --server, or in the configuration, to meet across the Internet."
	case !d.signalingOK:
		f.OK, f.Found = false, "no signaling server answers: nobody can be met except on the local network"
	case len(d.nats) == 0 && d.relaysOpen == 0:
		f.OK, f.Found = false, "UDP gets no answer and no relay is open: only peers on the local network can be reached"
	case len(d.nats) == 0:
		f.Found = "sessions will go through the relay"
	case strict && d.relaysOpen == 0:
		f.OK, f.Found = false, "peers behind easy NATs can be reached directly, others not at all"
	case strict:
		f.Found = "direct to peers without a NAT or with an easy one, through the relay to others"
	case d.relaysOpen == 0:
		f.Found = "direct paths should work to most peers; there is no relay for the rest"
	default:
		f.Found = "direct paths should work to most peers; the relay is there for the rest"
	}
	return f.OK, d.report(f)
}
