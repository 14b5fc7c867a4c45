//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tandem/internal/natlab"
)

// The benchmark of transfers fetches one file of random bytes, or a folder of many
// small ones, over a link, with tandem get, scp, rsync and croc, one after the other; the
// file also over one data channel of pion/webrtc, all by default.
// What is measured is the whole command: connecting, and for tandem and croc meeting
// through a server half way between the two, included; "joined" goes over a session
// that is there already. The goals are those of the whole command.
//
// The links are those of DESIGN, section 8; with TANDEM_BENCH=all every combination of
// the rates, round trips and losses of its issue, which takes hours. A file has 500 MB
// (TANDEM_BENCH_MB), a folder 10000 files of 4 KiB (TANDEM_BENCH_FILES), but no more than
// the link carries in 60 s, of all combinations in 10 s (TANDEM_BENCH_SECONDS). What is
// not there after twice the time it takes is stopped, and its rate is that of the part that has come.
//
//	copied   the content that has come; of how much, where the rest was not waited for
//	of the link  the rate as a share of the link's, which counts IP packets; of what
//	         plain TCP gets through where that is less, which the first rows say: the
//	         link is a forwarder in user space, beside both peers on the same machine
//	of scp   the rate over that of the faster scp
//	queue    median and 95th percentile of the round trips of packets of 64 bytes
//	         sent every 20 ms meanwhile, over the median of an idle link
//	CPU      of both sides, in seconds for each GB
//	MB       the most memory of the command or of what serves it, resident, without the children of either
//
// scp and rsync run over TCP CUBIC and, where the kernel has it, BBR; croc over CUBIC,
// with its relay beside the sender. It is left out where CROC does not name its program; see
// .ci/croc/build.
func TestBenchTransfer(t *testing.T) {
	l := newBench(t)
	r := &transferResults{carries: map[int64]float64{}}
	t.Run("links", func(t *testing.T) { r.links(t, l, transferLinks()) })
	t.Run("local", func(t *testing.T) { r.local(t, l) })
	fmt.Printf("\n%s\n%s\n", r.table(), strings.Join(r.goals(), "\n"))
}

// wholeGrid says whether every combination is asked for.
func wholeGrid() bool { return os.Getenv("TANDEM_BENCH") == "all" }

// scaled is what a variable of the environment says instead of usual.
func scaled(t *testing.T, name string, usual int64) int64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s", name, text)
	}
	return n
}

// transferLinks are those of DESIGN, section 8, or all.
func transferLinks() []natlab.Link {
	link := func(mbit int64, rtt time.Duration, loss float64) natlab.Link {
		return natlab.Link{Rate: mbit * 1e6, Delay: rtt / 2, Loss: loss}
	}
	const ms = time.Millisecond
	if !wholeGrid() {
		return []natlab.Link{
			link(100, 50*ms, 0), link(100, 50*ms, 0.001), link(100, 50*ms, 0.01), link(100, 50*ms, 0.03),
			link(10, 20*ms, 0), link(20, 300*ms, 0.01),
		}
	}
	var all []natlab.Link
	for _, mbit := range []int64{10, 100, 1000} {
		for _, rtt := range []time.Duration{0, 20 * ms, 50 * ms, 300 * ms} {
			for _, loss := range []float64{0, 0.001, 0.01, 0.03} {
				all = append(all, link(mbit, rtt, loss))
			}
		}
	}
	return all
}

// linkName is a link as a row begins with it.
func linkName(l natlab.Link) string {
	if l.Rate == 0 {
		return "one machine"
	}
	return fmt.Sprintf("%d Mbit/s, %d ms, %g %%", l.Rate/1e6, 2*l.Delay.Milliseconds(), 100*l.Loss)
}

// What is copied, by its name in the shared folder.
const (
	oneFile   = "file"
	manyFiles = "many"
)

// transferred is what came of one fetch.
type transferred struct {
	link          natlab.Link
	what, program string
	size, got     int64   // bytes of content
	rate          float64 // of it, in bits per second
	idle          time.Duration
	trips         sample        // while it went, where there is a link
	cpu           time.Duration // of both sides
	memory        int64         // KiB
}

func (x transferred) queue(q float64) time.Duration { return max(0, x.trips.quantile(q)-x.idle) }

// transferResults is what has been measured.
type transferResults struct {
	carries map[int64]float64 // bits per second of IP packets in plain TCP, by the link's rate
	rows    []transferred
	echoes  []keyEchoes
}

// keyEchoes is how long the echo of a key took.
type keyEchoes struct {
	link       natlab.Link
	idle, busy sample
}

// links measures over links.
func (r *transferResults) links(t *testing.T, l *lab, links []natlab.Link) {
	wan := l.WAN(natlab.Link{})
	near, far := wan.Host("near"), wan.Host("far")
	b := l.transfers(t, wan, near, far)
	b.announce(links)
	for _, link := range links {
		if _, ok := r.carries[link.Rate]; !ok {
			plain := b.plainTCP(t, link.Rate)
			r.carries[link.Rate] = min(float64(link.Rate), plain.packets)
			row := transferred{link: natlab.Link{Rate: link.Rate}, what: "memory", program: "plain TCP", size: plain.got, got: plain.got, rate: plain.rate}
			r.rows = append(r.rows, row)
			t.Log(strings.Join(r.cells(row), "  "))
		}
	}
	t.Run("keys", func(t *testing.T) { r.keys(t, b) })
	b.leave(t)
	for _, link := range links {
		t.Run(linkName(link), func(t *testing.T) {
			b.fill(t, min(b.mb*1e6, b.worth(link)))
			r.each(t, b, oneFile, link)
			if wholeGrid() || link == links[0] {
				b.scatter(t, min(b.files, b.worth(link)/fileSize))
				r.each(t, b, manyFiles, link)
			}
		})
	}
}

// local measures between two processes of one host: nothing but the machine limits
// them.
func (r *transferResults) local(t *testing.T, l *lab) {
	wan := l.WAN(natlab.Link{})
	host := wan.Host("host")
	b := l.transfers(t, wan, host, host)
	b.leave(t)
	b.programs = slices.DeleteFunc(b.programs, func(x fetcher) bool { return x.congestion == "bbr" }) // nothing is congested
	b.fill(t, b.mb*1e6)
	r.each(t, b, oneFile, natlab.Link{})
	b.scatter(t, b.files)
	r.each(t, b, manyFiles, natlab.Link{})
}

// each fetches something with every program that can.
func (r *transferResults) each(t *testing.T, b *transfers, what string, link natlab.Link) {
	t.Helper()
	for _, x := range b.programs {
		if what == manyFiles && x.single {
			continue
		}
		t.Run(x.name+" "+what, func(t *testing.T) {
			got := b.measure(t, x, what, link)
			r.rows = append(r.rows, got)
			t.Log(strings.Join(r.cells(got), "  "))
		})
	}
}

// keys types while a transfer fills the link, in the session that it goes over.
func (r *transferResults) keys(t *testing.T, b *transfers) {
	for _, link := range []natlab.Link{
		{Rate: 100e6, Delay: 25 * time.Millisecond},
		{Rate: 100e6, Delay: 25 * time.Millisecond, Loss: 0.01},
		{Rate: 20e6, Delay: 150 * time.Millisecond},
	} {
		b.setLink(link)
		s := show(t, "tandem", b.getter.command(t.Context(), "shell", "--predict", "never", b.peer, "--", "/bin/sh", "-c", echoing))
		s.await(t, "ready")
		time.Sleep(time.Second) // until nobody draws any more
		x := keyEchoes{link: link, idle: typeAll(t, []*screen{s}, (*screen).typeKeys)[0]}
		b.fill(t, int64(float64(link.Rate)/8*60))
		ctx, stop := context.WithCancel(t.Context())
		cmd := b.getter.command(ctx, "get", b.shared(oneFile), t.TempDir())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		x.busy = typeAll(t, []*screen{s}, (*screen).typeKeys)[0]
		stop()
		_ = cmd.Wait() // it was killed
		s.kill()
		r.echoes = append(r.echoes, x)
	}
}

// best is the rate of the fastest program beside a row whose name begins so, 0 if there
// is none.
func (r *transferResults) best(row transferred, program string) (rate float64) {
	for _, x := range r.rows {
		if x.link == row.link && x.what == row.what && strings.HasPrefix(x.program, program) {
			rate = max(rate, x.rate)
		}
	}
	return rate
}

// share is a row's rate as a share of what its link really carries.
func (r *transferResults) share(x transferred) float64 {
	carries := float64(x.link.Rate)
	if real, ok := r.carries[x.link.Rate]; ok && real < 0.95*carries && x.program != "plain TCP" {
		carries = real
	}
	return x.rate / carries
}

// cells are those of a row, whose ratio to scp is known once scp's row is.
func (r *transferResults) cells(x transferred) []string {
	per := func(f float64, unit string) string { return fmt.Sprintf("%.1f%s", f, unit) }
	copied := megabytes(x.got) + " MB"
	if x.got < x.size {
		copied = megabytes(x.got) + " of " + megabytes(x.size) + " MB"
	}
	what := x.what
	if what == manyFiles {
		what = fmt.Sprintf("%d files of 4 KiB", x.size/fileSize)
	}
	row := []string{linkName(x.link), what, x.program, copied, per(x.rate/1e6, ""), "", "", "", "", "", ""}
	if x.link.Rate != 0 {
		row[5] = per(100*r.share(x), " %")
	}
	if scp := r.best(x, "scp"); scp > 0 {
		row[6] = fmt.Sprintf("%.2f", x.rate/scp)
	}
	if x.link.Rate != 0 && x.what != "memory" {
		row[7], row[8] = ms(x.queue(0.5)), ms(x.queue(0.95))
	}
	if x.what != "memory" && x.got > 0 {
		row[9], row[10] = per(x.cpu.Seconds()/float64(x.got)*1e9, ""), fmt.Sprintf("%.0f", float64(x.memory)/1e3)
	}
	return row
}

func megabytes(n int64) string {
	if n < 10e6 {
		return fmt.Sprintf("%.1f", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f", float64(n)/1e6)
}

// table is all of it, as Markdown.
func (r *transferResults) table() string {
	rows := [][]string{{"link", "what", "program", "copied", "Mbit/s", "of the link", "of scp", "queue p50, ms", "p95", "CPU s/GB", "MB"}}
	for _, x := range r.rows {
		rows = append(rows, r.cells(x))
	}
	return table(rows)
}

// goals says which are met, one a line.
func (r *transferResults) goals() (lines []string) {
	say := func(met bool, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("- %s: %s", verdict(met), fmt.Sprintf(format, args...)))
	}
	for _, x := range r.rows {
		if x.program != "tandem get" {
			continue
		}
		name, rtt := linkName(x.link), 2*x.link.Delay
		switch {
		case x.link.Rate == 0 && x.what == oneFile:
			if scp := r.best(x, "scp"); scp > 0 {
				say(x.rate >= scp, "%s, %s: %.2f of scp; goal 1.0", name, x.what, x.rate/scp)
			}
			if croc := r.best(x, "croc"); croc > 0 {
				say(x.rate >= 2*croc, "%s, %s: %.2f of croc; goal 2.0", name, x.what, x.rate/croc)
			}
		case x.link.Rate == 100e6 && rtt == 50*time.Millisecond && x.what == oneFile:
			say(r.share(x) >= 0.88, "%s: %.1f %% of the link; goal 88 %%", name, 100*r.share(x))
		case x.link.Rate == 100e6 && rtt == 50*time.Millisecond && x.link.Loss == 0:
			if rsync := r.best(x, "rsync"); rsync > 0 {
				say(x.rate >= rsync, "%s, %d small files: %.2f of the faster rsync; goal 1.0", name, x.size/fileSize, x.rate/rsync)
			}
		case x.link.Rate <= 20e6 && x.link.Rate > 0 && x.what == oneFile:
			say(r.share(x) >= 0.85 && x.queue(0.95) <= rtt, "%s: %.1f %% of the link, queue p50 %s and p95 %s ms; goal 85 %% and at most a round trip",
				name, 100*r.share(x), ms(x.queue(0.5)), ms(x.queue(0.95)))
		}
	}
	for _, x := range r.echoes {
		idle, busy := x.idle.quantile(0.99), x.busy.quantile(0.99)
		say(busy <= idle+30*time.Millisecond, "%s: echo of a key beside a transfer p50 %s and p99 %s ms, idle %s and %s; goal p99 30 ms more, of %d",
			linkName(x.link), ms(x.busy.median()), ms(busy), ms(x.idle.median()), ms(idle), keystrokes)
	}
	return lines
}
