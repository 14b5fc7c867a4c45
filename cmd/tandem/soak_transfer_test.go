//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"tandem/internal/natlab"
	"tandem/share/folder"
	"tandem/share/node"
)

const (
	// transferMost is what any process may hold while it copies, however large the file is.
	transferMost = 192 << 20
	// transferLost is what an interruption may cost beside the fiftieth of the file: what was
	// under way, and a session's beginning.
	transferLost = 8 << 20
	// outage is how long the link goes away, which a session outlives.
	outage = 5 * time.Second
)

// TestSoakTransfer copies a file of TANDEM_TRANSFER MiB between two home networks, there and
// back, and interrupts it ten times at random: the link goes away, either side changes its address or
// its network, and each of the three processes is killed. The file arrives as it was, its name is not
// there before, no more than a fiftieth of it is sent twice, and no process grows with it.
//
// What is sent is counted in packets at the sender's network, beside that of the same copy
// uninterrupted, so whatever the transport sends again counts too.
func TestSoakTransfer(t *testing.T) {
	if os.Getenv("TANDEM_TRANSFER") == "" {
		t.Skip("a soak: set TANDEM_TRANSFER to MiB, such as 5000")
	}
	size := scaled(t, "TANDEM_TRANSFER", 0) << 20
	content := randomFile(t, size)
	want := fileHash(t, content)
	for _, way := range []string{"get", "put"} {
		t.Run(way, func(t *testing.T) {
			l := newLab(t)
			s := l.newInterrupted(t, way, content, size)
			plain := s.copy(t, nil)
			again := s.copy(t, s.interruptions(10))
			for _, c := range []copied{plain, again} {
				if c.hash != want {
					t.Errorf("%s: it arrived as something else", c.name)
				}
			}
			twice := float64(again.sent-plain.sent) / float64(size)
			fmt.Printf("%s of %d MiB: %d interruptions, %d attempts, %.2f %% sent twice (packets are %.2f %% more than content without any); "+
				"%v instead of %v; most memory: sharing %d MB, joined %d MB, copying %d MB\n",
				way, size>>20, len(again.interrupted), again.attempts, 100*twice, 100*(float64(plain.sent)/float64(size)-1), again.took.Round(time.Second), plain.took.Round(time.Second),
				s.memory["sharing"]/1e3, s.memory["joined"]/1e3, s.memory["copying"]/1e3)
			for i, it := range again.interrupted {
				next := happened{arrived: size, sent: again.sent}
				if i+1 < len(again.interrupted) {
					next = again.interrupted[i+1]
				}
				over := float64(next.sent-it.sent) - float64(next.arrived-it.arrived)*float64(plain.sent)/float64(size)
				fmt.Printf("    at %3d %%: %-40s %5.1f MB sent twice\n", 100*it.arrived/size, it.name, over/1e6)
			}
			if again.sent-plain.sent > size/50+int64(len(again.interrupted))*transferLost {
				t.Errorf("%d of %d bytes were sent twice", again.sent-plain.sent, size)
			}
			for name, kib := range s.memory {
				if kib<<10 > transferMost {
					t.Errorf("the process that was %s held %d MiB", name, kib>>10)
				}
			}
		})
	}
}

// interrupted is two devices, each with two networks to be on, and three processes: one shares,
// one has joined, and one copies over the session of that.
type interrupted struct {
	way, content string
	size         int64
	host, guest  *device
	networks     map[*natlab.Host][]*natlab.NAT
	sharing      *program
	joined       *program
	copying      *program // nil between attempts
	peer, folder string
	memory       map[string]int64 // KiB, the most of each
}

func (l *lab) newInterrupted(t *testing.T, way, content string, size int64) *interrupted {
	t.Helper()
	wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
	server := l.server(t, wan.Host("server"), nil)
	s := &interrupted{way: way, content: content, size: size, networks: map[*natlab.Host][]*natlab.NAT{}, memory: map[string]int64{}}
	draw := func(name string) *device {
		first, second := wan.NAT(natlab.Home), wan.NAT(natlab.Home)
		host := first.Host(name)
		s.networks[host] = []*natlab.NAT{first, second}
		return l.device(t, host, name, "TANDEM_INSECURE=true", "TANDEM_SERVERS="+server.url)
	}
	s.host, s.guest = draw("host"), draw("guest")
	s.folder = filepath.Join(s.host.home, "shared")
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if way == "get" {
		if err := os.Link(content, filepath.Join(s.folder, "big")); err != nil {
			t.Fatal(err)
		}
	}
	s.share(t)
	s.join(t)
	return s
}

// share begins the share, the first time or again.
func (s *interrupted) share(t *testing.T) {
	t.Helper()
	s.sharing = s.host.start(t, "share", s.folder, "--write", "--approve", "always", "--uses", "20", "--expires", "4h", "--json")
}

// join joins it.
func (s *interrupted) join(t *testing.T) {
	t.Helper()
	s.joined = s.guest.start(t, "join", s.sharing.event(t, node.EventInvite).Code, "--json")
	s.peer = s.joined.event(t, node.EventJoined).Peer.ID.String()
}

// weigh looks at what each process holds.
func (s *interrupted) weigh() {
	for name, p := range map[string]*program{"sharing": s.sharing, "joined": s.joined, "copying": s.copying} {
		if p != nil {
			s.memory[name] = max(s.memory[name], peak(p.cmd.Process.Pid))
		}
	}
}

// interruption is something that happens to a copy.
type interruption struct {
	name string
	do   func(t *testing.T, s *interrupted)
}

// interruptions are n of them, each kind at least once where there are enough, in a random order.
func (s *interrupted) interruptions(n int) []interruption {
	move := func(d *device) func(t *testing.T, s *interrupted) {
		return func(_ *testing.T, s *interrupted) {
			networks := s.networks[d.host]
			to := networks[0]
			if d.host.NAT() == to {
				to = networks[1]
			}
			d.host.Move(to)
		}
	}
	kinds := []interruption{
		{"the guest's link goes away", func(_ *testing.T, s *interrupted) {
			wire := s.guest.host.Wire()
			wire.Cut(true)
			time.Sleep(outage)
			wire.Cut(false)
		}},
		{"the host's link goes away", func(_ *testing.T, s *interrupted) {
			wire := s.host.host.Wire()
			wire.Cut(true)
			time.Sleep(outage)
			wire.Cut(false)
		}},
		{"the guest has another address", func(*testing.T, *interrupted) { s.guest.host.Readdress() }},
		{"the host has another address", func(*testing.T, *interrupted) { s.host.host.Readdress() }},
		{"the guest goes to another network", move(s.guest)},
		{"the host goes to another network", move(s.host)},
		{"the copying process is killed", func(_ *testing.T, s *interrupted) { s.copying.kill() }},
		{"the guest's node is killed", func(t *testing.T, s *interrupted) {
			s.joined.kill()
			s.copying.stop(t)
			s.join(t)
		}},
		{"the host's node is killed", func(t *testing.T, s *interrupted) {
			s.sharing.kill()
			s.copying.stop(t) // its guest would look for it for a minute
			s.joined.kill()
			s.share(t)
			s.join(t)
		}},
	}
	for len(kinds) < n {
		kinds = append(kinds, kinds[rand.N(len(kinds))])
	}
	rand.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds[:n]
}

// copied is what came of a copy.
type copied struct {
	name        string
	hash        string
	sent        int64 // bytes of IP packets, by the side that has the file
	took        time.Duration
	attempts    int
	interrupted []happened
}

// happened is an interruption, and how far it was then.
type happened struct {
	name          string
	arrived, sent int64
}

// copy copies the file, and lets what is given happen to it at random places.
func (s *interrupted) copy(t *testing.T, happens []interruption) (c copied) {
	t.Helper()
	from, here := []string{s.peer + ":shared/big", s.guest.home}, filepath.Join(s.guest.home, "big")
	sender := s.host.host
	if s.way == "put" {
		from, here, sender = []string{s.content, s.peer + ":shared/big"}, filepath.Join(s.folder, "big"), s.guest.host
	}
	places := make([]int64, len(happens))
	for i := range places {
		places[i] = rand.N(s.size)
	}
	slices.Sort(places)
	before, began, most := s.sent(sender), time.Now(), 2*len(happens)+1
	c.name = fmt.Sprintf("%s with %d interruptions", s.way, len(happens))
	for done := false; !done; {
		c.attempts++
		if c.attempts > most {
			t.Fatalf("%s does not end", c.name)
		}
		s.copying = s.guest.start(t, append([]string{s.way, "--json"}, from...)...)
		for ended := false; !ended; {
			select {
			case <-s.copying.ended:
				ended, done = true, s.copying.err == nil
				continue
			case <-time.After(20 * time.Millisecond):
			}
			s.weigh()
			arrived := partial(filepath.Dir(here))
			if len(places) == 0 || arrived < places[0] {
				continue
			}
			if _, err := os.Lstat(here); !errors.Is(err, os.ErrNotExist) {
				continue // it has just become whole
			}
			c.interrupted = append(c.interrupted, happened{happens[0].name, arrived, s.sent(sender) - before})
			happens[0].do(t, s)
			places, happens = places[1:], happens[1:]
		}
		if !done {
			t.Logf("attempt %d: %v: %s", c.attempts, s.copying.err, lastLines(s.copying.log.String(), 3))
		}
	}
	s.resumed(t)
	c.sent, c.took, c.hash = s.sent(sender)-before, time.Since(began), fileHash(t, here)
	s.copying = nil
	if err := os.Remove(here); err != nil {
		t.Fatal(err)
	}
	if left := partial(filepath.Dir(here)); left != 0 {
		t.Errorf("%s left %d bytes unfinished", c.name, left)
	}
	return c
}

// resumed logs what the last attempt says of itself.
func (s *interrupted) resumed(t *testing.T) {
	t.Helper()
	var sum folder.Summary
	for _, text := range s.copying.texts() {
		if err := json.Unmarshal([]byte(text), &sum); err == nil {
			t.Logf("%d bytes of %d had arrived before the last attempt", sum.Resumed, sum.Bytes)
		}
	}
}

// partial is how much of a file under way is in a folder.
func partial(dir string) (bytes int64) {
	all, _ := filepath.Glob(filepath.Join(dir, ".tandem-partial", "*")) // a good pattern
	for _, path := range all {
		if info, err := os.Lstat(path); err == nil {
			bytes = max(bytes, info.Size())
		}
	}
	return bytes
}

// sent is what a host's networks have sent, with what a link that was away should have
// carried, in bytes.
func (s *interrupted) sent(host *natlab.Host) (bytes int64) {
	for _, n := range s.networks[host] {
		up, _ := n.Wire().Stats()
		bytes += up.Bytes + 1200*up.Cut
	}
	return bytes
}
