//go:build linux

package main

import (
	"fmt"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/session"
	"tandem/share/node"
)

// The benchmark of connecting measures what a person waits for: from the start
// of a program to the first prompt of a login shell on the other side. The
// server is half-way between the peers.
//
//	join         tandem join CODE, with a new key; approval is given at once
//	shell        tandem shell PEER, with no node running here
//	shell, node  the same beside a running node that has no session yet
//	shell, warm  the same beside a running node that has one
//	ssh          ssh -tt HOST, with an Ed25519 key and no shared connection
//
// Direct is between two home routers, relayed between two symmetric NATs; ssh
// goes from behind a home router to a public host.
const connectRuns = 7

// connectGoals are the longest medians at a round trip of 50 ms.
var connectGoals = map[string]time.Duration{
	"join": 800 * time.Millisecond, "shell": 500 * time.Millisecond,
	"shell, node": 500 * time.Millisecond, "shell, warm": 500 * time.Millisecond,
}

func TestBenchConnect(t *testing.T) {
	l := newBench(t)
	wan := l.WAN(natlab.Link{})
	ca := newAuthority(t)
	trust := "SSL_CERT_FILE=" + ca.file
	overHTTP, overTLS := wan.Host("http"), wan.Host("tls")
	servers := map[string]*labServer{"http": l.server(t, overHTTP, nil), "tls": l.server(t, overTLS, ca)}
	homes := [2]*natlab.Host{wan.NAT(natlab.Home).Host("home-1"), wan.NAT(natlab.Home).Host("home-2")}
	symmetric := [2]*natlab.Host{wan.NAT(natlab.Symmetric).Host("symmetric-1"), wan.NAT(natlab.Symmetric).Host("symmetric-2")}
	rival := wan.Host("ssh")
	sshd := l.sshd(t, rival)

	rows := [][]string{{"round trip", "path", "server", "join", "shell", "shell, node", "shell, warm", "ssh", "join/ssh", "shell/ssh"}}
	for _, rtt := range []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond} {
		t.Run(rtt.String(), func(t *testing.T) {
			wan.SetLink(natlab.Link{Delay: rtt / 2})
			for _, server := range []*natlab.Host{overHTTP, overTLS} {
				for _, peer := range append(homes[:], symmetric[:]...) {
					wan.Path(server, peer).SetDelay(rtt / 4)
				}
			}
			secureShell := func() time.Duration { return firstPrompt(t, "ssh", sshd.command(t, homes[1])) }
			for _, c := range []struct {
				kind   session.PathKind
				server string
				hosts  [2]*natlab.Host
			}{
				{session.Direct, "http", homes},
				{session.Direct, "tls", homes},
				{session.Relayed, "http", symmetric},
			} {
				took := l.connecting(t, c.hosts, servers[c.server], c.kind, trust, secureShell)
				row := []string{fmt.Sprintf("%d ms", rtt.Milliseconds()), string(c.kind), c.server}
				for _, what := range []string{"join", "shell", "shell, node", "shell, warm", "ssh"} {
					median := took[what].median()
					row = append(row, ms(median))
					if goal, ok := connectGoals[what]; ok && rtt == 50*time.Millisecond {
						t.Logf("%s %s %s: %v, goal %v: %v", c.kind, c.server, what, median.Round(time.Millisecond), goal, verdict(median <= goal))
					}
				}
				for _, what := range []string{"join", "shell"} {
					row = append(row, fmt.Sprintf("%.2f", took[what].median().Seconds()/took["ssh"].median().Seconds()))
				}
				rows = append(rows, row)
			}
		})
	}
	fmt.Printf("\nTo the first prompt, in ms, median of %d:\n\n%s\n", connectRuns, table(rows))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "missed"
}

// connecting measures everything over one server and pair of networks, in
// turns, so that whatever disturbs the machine disturbs all alike.
func (l *lab) connecting(t *testing.T, hosts [2]*natlab.Host, s *labServer, want session.PathKind, trust string, ssh func() time.Duration) map[string]sample {
	t.Helper()
	at := "TANDEM_SERVERS=" + s.url
	host := l.device(t, hosts[0], "sharing", trust, at, "TANDEM_INSECURE=true")
	guest := l.device(t, hosts[1], "joining", trust, at, "TANDEM_INSECURE=true")
	sharing := host.start(t, "share", "--terminal", "--approve", "always", "--uses", "100", "--json")
	defer sharing.stop(t)
	code := sharing.event(t, node.EventInvite).Code
	took := map[string]sample{}
	note := func(what string, d time.Duration) { took[what] = append(took[what], d) }

	joining := guest.start(t, "join", code, "--json")
	peer := joining.event(t, node.EventJoined).Peer.ID.String()
	joining.stop(t)
	for run := range connectRuns {
		newcomer := l.device(t, hosts[1], "newcomer", trust, at, "TANDEM_INSECURE=true")
		note("join", firstPrompt(t, "join", newcomer.command(t.Context(), "join", code)))
		note("ssh", ssh())
		note("shell", firstPrompt(t, "shell", guest.command(t.Context(), "shell", peer)))

		own := guest.start(t, "share", "--terminal", "--approve", "always", "--json")
		own.event(t, node.EventInvite)
		time.Sleep(500 * time.Millisecond) // it asks for relays when it has nothing else to do
		note("shell, node", firstPrompt(t, "shell, node", guest.command(t.Context(), "shell", peer)))
		note("shell, warm", firstPrompt(t, "shell, warm", guest.command(t.Context(), "shell", peer)))
		if path := guest.why(t, peer).Path; run == 0 && path.Kind != want {
			t.Errorf("the path is %+v, want %s", path, want)
		}
		own.stop(t)
	}
	return took
}
